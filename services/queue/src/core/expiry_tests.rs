//! Leases that all end at once, at a size that no store could be brought to in a test.

use std::time::Duration;

use super::{
    Core, TICK,
    model::{limits, task},
};
use crate::{mark::Mark, record::LeaseRequest, task::Micros};

const NOW: Micros = 1_700_000_000_000_000;
const MINUTE: Micros = 60 * 1_000_000;
const LEASES: usize = 100_000;

/// A core all of whose tasks are leased for a minute.
fn leased() -> Core {
    let limits = super::Limits { tasks: LEASES, events: 10_000_000, ..limits() };
    let mut core = Core::new(limits, 1);
    for _ in 0..LEASES / 1_000 {
        let tasks = (0..1_000).map(|_| task(None, false, "")).collect();
        core.enqueue(tasks, NOW).unwrap();
        core.take_batch(NOW);
    }
    let request = LeaseRequest {
        namespace: "default".into(),
        queues: vec!["q".into()],
        worker: "w".into(),
        max: 1_000,
        duration: Duration::from_secs(60),
        wait: Duration::ZERO,
        stream: 0,
        mark: Mark::of("w"),
    };
    let given: usize = std::iter::repeat_with(|| {
        let given = core.lease(&request, NOW).len();
        core.take_batch(NOW);
        given
    })
    .take_while(|given| *given > 0)
    .sum();
    assert_eq!(given, LEASES);
    core
}

#[test]
fn leases_that_end_at_once_are_taken_back_in_steps_that_do_not_grow_with_them() {
    let mut core = leased();
    let end = NOW + MINUTE;
    assert_eq!(core.next_tick(), Some(end), "not before, and at that time");
    let (mut steps, mut taken_back) = (0, 0);
    while core.next_tick().is_some_and(|at| at <= end) {
        core.tick(end);
        let changes = core.take_batch(end).changes.len();
        assert!(changes <= TICK, "{changes} in one step");
        (steps, taken_back) = (steps + 1, taken_back + changes);
    }
    assert_eq!((steps, taken_back), (LEASES.div_ceil(TICK), LEASES));
}
