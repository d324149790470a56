//! A client that only looks.

use std::{rc::Rc, time::Duration};

use nova_chaos::seed::Seed;
use tokio::time::sleep;

use super::{front::Way, mesh::Mesh};

pub(super) async fn read(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut way = Way::new(mesh, client, seed.fork());
    while !way.mesh.stopping.get() {
        sleep(Duration::from_millis(seed.between(50, 400))).await;
        if let Some((id, _)) = way.mesh.any_task(&mut seed) {
            way.read(id).await;
        }
    }
}
