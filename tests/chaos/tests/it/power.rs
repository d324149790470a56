//! Power goes while the queue writes to its file: whatever was not synced is kept, torn or gone, as chance has it.
//!
//! A daemon runs under `strace`, which sees each write and each sync. For many moments the test builds the files as
//! a disk may hold them at that moment: all that was synced, and of each later write all, some sectors, or nothing.
//! A daemon that starts on them must have everything that clients had been told by then. This shows that the queue
//! answers only after a sync of what it answers for, and recovers from what SQLite may find; it does not show that a
//! disk that claims to have synced has done so, and takes the names of files to be durable once they were made.

use std::{collections::BTreeMap, path::Path};

use nova_chaos::{
    checker::{Rules, Violation, check},
    history::{Answer, History},
    seed::Seed,
};
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::TestServer;
use nova_types::{Clock as _, SystemClock};
use tempfile::TempDir;

use crate::{
    caller::client,
    daemon::Daemon,
    load::{Load, longer, rules},
    rest,
    strace::{self, Act, Step},
};

/// Unit in which disks write.
const SECTOR: usize = 512;

/// Calls that are answered under the eyes of `strace`.
const CALLS: usize = 700;

/// Moments at which power goes.
const CUTS: usize = 8;

/// A file on a disk that has a cache.
#[derive(Debug, Default)]
struct DiskFile {
    synced: Vec<u8>,
    pending: Vec<Act>,
}

impl DiskFile {
    fn take(&mut self, act: &Act) {
        if *act != Act::Sync {
            return self.pending.push(act.clone());
        }
        for act in std::mem::take(&mut self.pending) {
            apply(&mut self.synced, &act, |_| true);
        }
    }

    /// What is left when power goes now.
    fn left(&self, seed: &mut Seed) -> Vec<u8> {
        let mut left = self.synced.clone();
        for act in &self.pending {
            match seed.below(3) {
                0 => {}
                1 => apply(&mut left, act, |_| true),
                _ => apply(&mut left, act, |_| seed.chance(50)),
            }
        }
        left
    }
}

fn apply(bytes: &mut Vec<u8>, act: &Act, mut keeps: impl FnMut(usize) -> bool) {
    match act {
        Act::Write(place, data) => {
            bytes.resize(bytes.len().max(place + data.len()), 0);
            for (number, sector) in data.chunks(SECTOR).enumerate().filter(|(number, _)| keeps(*number)) {
                let from = place + number * SECTOR;
                bytes[from..from + sector.len()].copy_from_slice(sector);
            }
        }
        Act::Truncate(length) => bytes.truncate(*length),
        Act::Sync => {}
    }
}

/// The history as it was known at a time: what was answered later is open.
fn until(history: &History, at: i64) -> History {
    let mut known = history.clone();
    known.operations.retain(|operation| operation.begin.at < at);
    for operation in &mut known.operations {
        if operation.end.is_none_or(|end| end.at >= at) {
            operation.end = None;
            operation.answer = Answer::Unknown;
        }
    }
    known
}

/// Whether the disk syncs when it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Honesty {
    Honest,
    /// It said so for the last time long ago.
    Lying,
}

/// Writes the files as they are left when power goes after these steps.
fn cut(steps: &[Step], honesty: Honesty, seed: &mut Seed, folder: &Path) {
    let mut files: BTreeMap<&str, DiskFile> = BTreeMap::new();
    let honest = if honesty == Honesty::Honest { steps.len() } else { steps.len() / 2 };
    for step in &steps[..honest] {
        files.entry(&step.file).or_default().take(&step.act);
    }
    for (name, file) in files {
        std::fs::write(folder.join(name), file.left(seed)).unwrap();
    }
}

/// What was done, and what was told, while nothing was wrong.
struct Run {
    history: History,
    steps: Vec<Step>,
    /// What the wall clock is ahead of the history's.
    ahead: i64,
}

impl Run {
    async fn record(seed: u64) -> Self {
        let (folder, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let log = logs.path().join("log");
        let mut daemon =
            Daemon::start_under(folder.path(), "sqlite", &strace::wrapper(log.to_str().unwrap()));
        let load = Load::start(seed, [daemon.address()]);
        let ahead = SystemClock.now().micros() - load.recorder.now().at;
        load.get_on(CALLS).await;
        daemon.kill();
        let history = load.recorder.history();
        Self { history, steps: strace::steps(logs.path(), &["queue.db", "queue.db-wal"]), ahead }
    }

    /// What is wrong after power went before a step.
    async fn found(&self, at: usize, honesty: Honesty, seed: &mut Seed) -> Vec<Violation> {
        let known = until(&self.history, self.steps[at].at - self.ahead);
        let image = TempDir::new().unwrap();
        cut(&self.steps[..at], honesty, seed, image.path());
        let server = TestServer::builder(image.path()).start::<QueueDaemon>(Config::default()).await.unwrap();
        let rest = rest::as_it_is(&mut client(&server.address.to_string())).await.unwrap();
        server.stop().await;
        check(&known, &rest, &Rules { drained: false, ..rules() })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_that_goes_at_any_moment_takes_nothing_that_was_acknowledged() {
    if !strace::works() {
        eprintln!(
            "SKIPPED power_that_goes_at_any_moment_takes_nothing_that_was_acknowledged: strace cannot watch processes here (`apt-get install -y strace`)"
        );
        return;
    }
    let mut seed = Seed::new(8);
    for _ in 0..longer() {
        power_goes_at_some_moments(&mut seed).await;
    }
}

async fn power_goes_at_some_moments(seed: &mut Seed) {
    let run = Run::record(seed.number()).await;
    let steps = run.steps.len();
    assert!(steps > CALLS, "only {steps} writes and syncs were seen");
    for _ in 0..CUTS {
        let at = usize::try_from(seed.between(steps as u64 / 8, steps as u64 - 1)).unwrap();
        let found = run.found(at, Honesty::Honest, seed).await;
        assert!(found.is_empty(), "power went before step {at} of {steps}: {found:#?}");
    }
    let found = run.found(steps - 1, Honesty::Lying, seed).await;
    assert!(found.iter().any(|found| found.invariant == 1), "a disk that lies is found out");
}
