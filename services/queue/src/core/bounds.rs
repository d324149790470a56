//! What memory holds is bounded by what lives and what is kept, whatever has been before.

use std::{sync::Arc, time::Duration};

use super::{
    Core, Keep, Limits,
    batch::Batch,
    model::{limits, task},
};
use crate::{
    error::Error,
    mark::Mark,
    record::{LeaseRequest, NewTask, Outcome, QueueSettings, Settlement},
    task::{Failure, Micros},
    terms::Terms,
};

const NOW: Micros = 1_700_000_000_000_000;

/// Tasks of one commit.
const BATCH: usize = 100;

/// Ended tasks that may be there beside those that are kept: they go in steps.
const SLACK: usize = 8_192;

struct Bench {
    core: Core,
    now: Micros,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits { tasks: 1_000_000, ..limits() };
        limits.finished = Keep { most: 1_000, span: Duration::from_secs(86_400) };
        limits.dead = Keep { most: 1_000_000, span: Duration::from_secs(2_592_000) };
        change(&mut limits);
        Self { core: Core::new(limits, 1), now: NOW }
    }

    fn commit(&mut self) -> Batch {
        self.now += 100;
        self.core.tick(self.now);
        self.core.take_touched();
        self.core.take_batch(self.now)
    }

    /// Lets tasks of a queue live and end.
    fn lives(&mut self, queue: &str, count: usize, outcome: &Outcome) {
        self.core.enqueue(vec![of(queue); count], self.now).unwrap();
        let request = LeaseRequest {
            namespace: "default".into(),
            queues: vec![queue.into()],
            worker: "w".into(),
            max: count,
            duration: Duration::from_secs(10),
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::default(),
        };
        for lease in self.core.lease(&request, self.now) {
            let settlement = Settlement { lease: lease.refer(), outcome: outcome.clone() };
            self.core.settle("default", &settlement, self.now);
        }
        self.commit();
    }

    fn completions(&mut self, queue: &str, count: usize) {
        (0..count / BATCH).for_each(|_| self.lives(queue, BATCH, &completed()));
    }

    /// Ended tasks that a queue remembers.
    fn remembered(&mut self, queue: &str) -> usize {
        let index = self.core.intern(&"default".into(), &queue.into()).unwrap();
        self.core.queues.at(index).ended.len()
    }
}

fn of(queue: &str) -> NewTask {
    let mut task = task(None, false, "");
    task.spec.queue = queue.into();
    task
}

fn completed() -> Outcome {
    Outcome::Completed(Arc::from(&b"r"[..]))
}

fn failed() -> Outcome {
    Outcome::Failed { error: Failure::expired(), permanent: true, retry_after: None }
}

#[test]
fn a_dead_letter_leaves_no_trace_of_the_completions_after_it() {
    let mut bench = Bench::new(|_| {});
    bench.lives("q", 1, &failed());
    bench.completions("q", 50_000);
    let remembered = bench.remembered("q");
    assert!(remembered <= 1_001 + SLACK, "{remembered} of them");
}

#[test]
fn a_queue_that_keeps_nothing_leaves_no_trace_after_one_that_does() {
    let mut bench = Bench::new(|_| {});
    let briefly = |settings: &mut QueueSettings| settings.keep_for = Some(Duration::ZERO);
    bench.core.configure(&"default".into(), &"hot".into(), briefly, NOW).unwrap();
    bench.lives("q", 1, &completed());
    bench.completions("hot", 50_000);
    let shelved = bench.core.retention.shelved();
    assert!(shelved <= 1 + 2 * BATCH, "{shelved} of them");
}

#[test]
fn no_table_of_keys_ever_grows_as_a_whole() {
    let mut bench = Bench::new(|_| {});
    for number in 0..20_000 {
        let mut task = of("q");
        task.spec.request_id = number.to_string().into();
        let unique_key = number.to_string().into();
        task.spec.terms = Some(Box::new(Terms { unique_key, ..Terms::default() }));
        bench.core.enqueue(vec![task], NOW).unwrap();
    }
    let largest = [bench.core.keys.largest(), bench.core.locks.largest()];
    assert!(largest.iter().all(|keys| *keys < 100), "parts of {largest:?} keys");
}

#[test]
fn what_a_queue_counted_outlives_it() {
    let mut bench = Bench::new(|limits| limits.queues = 8);
    for number in 0..100 {
        let receipts = bench.core.enqueue(vec![of(&format!("q-{number}"))], bench.now).unwrap();
        assert_eq!(bench.core.purge("default", &[receipts[0].id], &[], bench.now), 1);
        bench.commit();
    }
    let told = bench.core.figures(3);
    assert_eq!(told.iter().map(|figures| figures.counts.enqueued).sum::<u64>(), 100);
    assert!(bench.core.stats("default", "", 100).len() <= 8);
}

#[test]
fn a_queue_is_deleted_in_bounded_steps() {
    let mut bench = Bench::new(|limits| limits.finished.most = 10_000);
    bench.lives("q", 1, &failed());
    bench.completions("q", 5_000);
    let (namespace, name) = ("default".into(), "q".into());
    let refused = bench.core.delete_queue(&namespace, &name, false, bench.now);
    assert!(matches!(refused, Err(Error::QueueNotEmpty { live: 0, dead: 1, .. })), "{refused:?}");
    let mut forgotten = Vec::new();
    while !bench.core.delete_queue(&namespace, &name, true, bench.now).unwrap() {
        forgotten.push(bench.commit().forgotten.len());
    }
    forgotten.push(bench.commit().forgotten.len());
    assert_eq!(forgotten.iter().sum::<usize>(), 5_001);
    assert!(forgotten.iter().all(|count| *count <= 2_048), "{forgotten:?}");
    assert!(bench.core.queue("default", "q").is_none());
}
