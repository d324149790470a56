//! How long and how big a run is.

use crate::mesh::{MAX_TASKS, Settings};

/// Tasks beside a backlog.
const ON_TOP: u64 = 2_000_000;

/// Sizes of everything that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often a mesh is brought up.
    pub(crate) starts: usize,
    /// How long a load lasts, before what is left of it is worked off.
    pub(crate) seconds: f64,
    /// How long the same load runs before it is measured.
    pub(crate) warm_up: f64,
    /// Lives a second that are traced, and that are not.
    pub(crate) pace: f64,
    /// Jobs of each of bullmq-bench's scenarios, and those before that are not counted.
    pub(crate) jobs: u64,
    pub(crate) warm_up_jobs: u64,
    /// Tasks that stand while a task's cost is measured, from few to many.
    pub(crate) backlogs: Vec<u64>,
    /// Tasks that are enqueued, then completed, over and over, while the backlog stands.
    pub(crate) round: u64,
    /// Callers of a flood, each with one call, and how many calls may wait.
    pub(crate) flood_callers: usize,
    pub(crate) flood_waits: u64,
    /// Dead letters that are purged.
    pub(crate) dead: u64,
}

impl Plan {
    /// What figures are published of.
    pub(crate) fn full(seconds: u64, big: bool) -> Self {
        let mut backlogs = vec![1_000, 1_000_000];
        backlogs.extend(big.then_some(10_000_000));
        Self {
            starts: 7,
            seconds: seconds as f64,
            warm_up: 1.0,
            pace: 10_000.0,
            jobs: 10_000,
            warm_up_jobs: 1_000,
            backlogs,
            round: 1_000,
            flood_callers: 1_024,
            flood_waits: 256,
            dead: 1_000_000,
        }
    }

    /// Every part of a run, as small as it goes: shows that all of it works, and says nothing about speed.
    pub(crate) fn short() -> Self {
        Self {
            starts: 1,
            seconds: 0.3,
            warm_up: 0.1,
            pace: 200.0,
            jobs: 100,
            warm_up_jobs: 10,
            backlogs: vec![100, 1_000],
            round: 50,
            flood_callers: 32,
            flood_waits: 4,
            dead: 2_000,
        }
    }

    /// What the queue must hold: the largest backlog, and what is enqueued on top of it.
    pub(crate) fn settings(&self) -> Settings {
        let backlog = self.backlogs.iter().max().copied().unwrap_or_default();
        vec![(MAX_TASKS, backlog + ON_TOP)]
    }
}
