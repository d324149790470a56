//! What a standing task takes: the core alone, in one process, without a ledger.
//!
//! `cargo run --release -p nova-queue --example standing -- [tasks]…` prints for each number of tasks the bytes that
//! each takes, what a life on top of them costs, and the longest that one commit of 64 takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nova_queue::{
    Config,
    core::{Core, Limits},
    mark::Mark,
    record::{LeaseRequest, NewTask, Outcome, Settlement, Spec},
    task::{Micros, Retry},
};

/// Tasks of one commit.
const BATCH: u64 = 64;
/// Lives on top of what stands.
const LIVES: u64 = 100_000;
/// Tasks that stand, unless others are named.
const STANDING: [u64; 3] = [1_000, 1_000_000, 10_000_000];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut run = Run::new();
    let empty = resident()?;
    for standing in if named.is_empty() { STANDING.to_vec() } else { named } {
        run.fill(standing);
        let bytes = resident()?.saturating_sub(empty) / standing.max(1);
        let (filling, life) = (run.longest, run.lives());
        tell(&format!(
            "{standing} tasks: {bytes} B each, {life:?} a life, longest commit {filling:?} while they came, {:?} then",
            run.longest
        ));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn tell(line: &str) {
    println!("{line}");
}

/// A core, its clock, and the longest of its commits.
struct Run {
    core: Core,
    now: Micros,
    standing: u64,
    longest: Duration,
}

impl Run {
    fn new() -> Self {
        let limits = Limits { tasks: usize::MAX, bytes: usize::MAX, ..Config::default().limits() };
        Self { core: Core::new(limits, 1), now: 1_700_000_000_000_000, standing: 0, longest: Duration::ZERO }
    }

    fn fill(&mut self, standing: u64) {
        self.longest = Duration::ZERO;
        while self.standing < standing {
            let batch = BATCH.min(standing - self.standing);
            self.commit(|core, now| drop(core.enqueue(tasks(batch), now)));
            self.standing += batch;
        }
    }

    /// What a life takes.
    fn lives(&mut self) -> Duration {
        self.longest = Duration::ZERO;
        let start = Instant::now();
        for _ in 0..LIVES / BATCH {
            self.commit(|core, now| drop(core.enqueue(tasks(BATCH), now)));
            let leases = self.commit(|core, now| core.lease(&request(), now));
            self.commit(|core, now| {
                for lease in leases {
                    let outcome = Outcome::Completed(Arc::from([]));
                    core.settle("default", &Settlement { lease: lease.refer(), outcome }, now);
                }
            });
        }
        start.elapsed().div_f64(LIVES as f64)
    }

    fn commit<T>(&mut self, change: impl FnOnce(&mut Core, Micros) -> T) -> T {
        self.now += 100;
        let start = Instant::now();
        self.core.tick(self.now);
        let changed = change(&mut self.core, self.now);
        drop(self.core.take_batch(self.now));
        self.core.take_touched();
        self.longest = self.longest.max(start.elapsed());
        changed
    }
}

fn request() -> LeaseRequest {
    LeaseRequest {
        namespace: "default".into(),
        queues: vec!["bench".into()],
        worker: "w".into(),
        max: BATCH as usize,
        duration: Duration::from_secs(30),
        wait: Duration::ZERO,
        stream: 0,
        mark: Mark::default(),
    }
}

fn tasks(count: u64) -> Vec<NewTask> {
    let task = || NewTask {
        spec: Spec {
            namespace: "default".into(),
            queue: "bench".into(),
            kind: "bench".into(),
            metadata: Vec::new(),
            request_id: "".into(),
            body_hash: 0,
            priority: 5,
            retry: Retry::default(),
            attempt_timeout: None,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".into(),
            group: "".into(),
            terms: None,
        },
        payload: Arc::from([7; 256]),
        delay: Duration::ZERO,
        after_index: Vec::new(),
    };
    (0..count).map(|_| task()).collect()
}

/// Bytes of memory that this process takes.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1_024)
}
