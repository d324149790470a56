//! Leases that nobody extends: how long after their time they are taken back, whatever else stands.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nova_proto::queue::v1 as pb;
use nova_types::{Clock as _, SystemClock, Timestamp};

use super::producers::request;
use super::{LOOK, NovaSystem};

/// Leases that run out together.
const LEASES: u32 = 1_000;
/// How long they last: as short as a lease may be.
const LASTS: Duration = Duration::from_secs(1);
/// Longest that they may be held.
const LIMIT: Duration = Duration::from_secs(60);

impl NovaSystem {
    /// Takes leases and lets them run out; answers by how many seconds after its time the last of them ended.
    pub(super) async fn run_out(&self) -> anyhow::Result<f64> {
        let queue = "expired";
        let mut tasks = request(&self.aside, LEASES as usize, Instant::now());
        tasks.tasks.iter_mut().for_each(|task| queue.clone_into(&mut task.queue));
        self.producing[0].clone().enqueue(tasks).await?;
        let lease = pb::LeaseRequest {
            queues: vec![queue.to_owned()],
            worker: "gone".to_owned(),
            max_tasks: LEASES,
            lease_duration: Some(LASTS.try_into()?),
            ..Default::default()
        };
        let given = self.working[0].clone().lease(lease).await?.into_inner().leases;
        let ends = given.iter().filter_map(|lease| Some(Timestamp::from_wire(lease.expire_time.as_ref()?)));
        let last = ends.max().context("a lease has an end")?;
        let began = Instant::now();
        ensure!(given.len() == LEASES as usize, "{} leases of {LEASES}", given.len());
        while self.stats(queue).await?.leased > 0 {
            ensure!(began.elapsed() < LIMIT, "leases of {LASTS:?} are held after {LIMIT:?}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(SystemClock.now().since(last).as_secs_f64())
    }
}
