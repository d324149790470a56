//! What it takes to come back: the queue daemon is killed on top of all that it holds.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::NovaSystem;
use super::producers::Calls;

/// Rest before a daemon that does not answer is called again.
const REST: Duration = Duration::from_millis(2);
/// Longest that it may take.
const LIMIT: Duration = Duration::from_secs(300);

impl NovaSystem {
    /// Kills the queue daemon; answers the seconds until the one that the mesh starts in its place has stored a task.
    pub(super) async fn come_back(&self) -> anyhow::Result<f64> {
        let daemon =
            Pid::from_raw(i32::try_from(self.queue_process())?).context("the queue daemon's process")?;
        let began = Instant::now();
        kill_process(daemon, Signal::KILL)?;
        let stored = async {
            while Calls::of(1, 1, 1).run(&self.producing, &self.tally).await.is_err() {
                sleep(REST).await;
            }
        };
        timeout(LIMIT, stored).await.context("the queue did not come back")?;
        Ok(began.elapsed().as_secs_f64())
    }
}
