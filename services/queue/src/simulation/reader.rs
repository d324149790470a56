//! A client that only looks.

use std::{rc::Rc, time::Duration};

use nova_chaos::seed::Seed;
use tokio::time::sleep;

use super::{front::Way, mesh::Mesh};

pub(super) async fn read(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut way = Way { mesh, client, seed: seed.fork() };
    while !way.mesh.stopping.get() {
        sleep(Duration::from_millis(seed.between(50, 400))).await;
        let picked = {
            let told = way.mesh.told.borrow();
            let at = usize::try_from(seed.below(told.len() as u64)).unwrap();
            told.get(at).copied()
        };
        if let Some(id) = picked {
            way.read(id).await;
        }
    }
}
