//! ListWorkers, and the register of who works: instances that leased or held a stream.
//!
//! In memory, of this daemon: where several share a store, every call reaches the one that leads, so that its
//! register is whole. How many leases a worker holds is counted where leases are (the core).

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nova_proto::queue::v1 as pb;
use nova_rpc::Caller;
use nova_types::{Clock, Violations, wire as check};
use tonic::Status;

use crate::{
    core::Holding,
    record::LeaseRequest,
    service::{QueueService, lists, parse, unary::refused, wire},
    task::{Micros, after},
};

/// Most workers that are known; beyond, those that were seen longest ago go.
const MOST: usize = 10_000;

/// Most queues that are told of one worker.
const QUEUES: usize = 64;

/// How long ago a worker was seen that still counts as one.
const LATELY: Duration = Duration::from_secs(60);

/// Who works.
#[derive(Debug)]
pub(super) struct Workers {
    seen: Mutex<HashMap<u64, Worker>>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
}

/// An instance that works.
#[derive(Debug, Clone)]
struct Worker {
    namespace: Arc<str>,
    name: Arc<str>,
    identity: String,
    queues: Vec<Arc<str>>,
    streams: u32,
    first: Micros,
    last: Micros,
}

impl Worker {
    fn works_on(&mut self, queues: &[Arc<str>]) {
        for queue in queues {
            if self.queues.len() < QUEUES && !self.queues.contains(queue) {
                self.queues.push(Arc::clone(queue));
            }
        }
    }

    /// When it was seen last; one with a stream is seen all the time.
    fn last(&self, now: Micros) -> Micros {
        if self.streams > 0 { now } else { self.last }
    }

    /// Whoever extends its leases works, though it asks for no more.
    fn beat(&mut self, at: Micros) {
        self.last = self.last.max(at);
    }
}

/// A worker's open stream; it is noted as closed when dropped.
#[derive(Debug)]
pub(super) struct Presence {
    workers: Arc<Workers>,
    key: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let now = self.workers.clock.now().micros();
        if let Some(worker) = self.workers.seen().get_mut(&self.key) {
            worker.streams = worker.streams.saturating_sub(1);
            worker.last = now;
        }
    }
}

impl Workers {
    /// Nobody yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { seen: Mutex::default(), hasher: RandomState::new(), clock }
    }

    /// A worker asks for leases.
    pub(super) fn asked(&self, caller: &Caller, request: &LeaseRequest) {
        self.see(caller, request, 0);
    }

    /// A worker opened a stream.
    pub(super) fn opened(self: &Arc<Self>, caller: &Caller, request: &LeaseRequest) -> Presence {
        Presence { key: self.see(caller, request, 1), workers: Arc::clone(self) }
    }

    fn see(&self, caller: &Caller, request: &LeaseRequest, streams: u32) -> u64 {
        let now = self.clock.now().micros();
        let key = self.hasher.hash_one((&request.namespace, &request.worker, &caller.spiffe_id));
        let mut seen = self.seen();
        if seen.len() >= MOST && !seen.contains_key(&key) {
            let_go(&mut seen, now);
        }
        let worker = seen.entry(key).or_insert_with(|| Worker {
            namespace: Arc::clone(&request.namespace),
            name: Arc::clone(&request.worker),
            identity: caller.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            queues: Vec::new(),
            streams: 0,
            first: now,
            last: now,
        });
        worker.last = now;
        worker.streams += streams;
        worker.works_on(&request.queues);
        key
    }

    fn of(&self, namespace: &str, queue: Option<&str>) -> Vec<Worker> {
        let on = |worker: &&Worker| queue.is_none_or(|queue| worker.queues.iter().any(|on| **on == *queue));
        let seen = self.seen();
        seen.values().filter(|worker| *worker.namespace == *namespace).filter(on).cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<u64, Worker>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the tenth go that was seen longest ago, so that the work of it is spread over as many newcomers.
fn let_go(seen: &mut HashMap<u64, Worker>, now: Micros) {
    let mut ages: Vec<(Micros, u64)> = seen.iter().map(|(key, worker)| (worker.last(now), *key)).collect();
    ages.select_nth_unstable(MOST / 10);
    for (_, key) in &ages[..MOST / 10] {
        seen.remove(key);
    }
}

/// Reads a page of who works.
pub(super) async fn list(
    service: &QueueService,
    request: pb::ListWorkersRequest,
) -> Result<pb::ListWorkersResponse, Status> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace)).unwrap_or_default();
    let queue = violations.take(lists::queue(&request.queue)).flatten();
    let limit = violations.take(check::page_size("page_size", request.page_size, 100, 1_000)).unwrap_or(100);
    let before = violations.take(check::parse_page_token_text("page_token", &request.page_token)).flatten();
    violations.finish().map_err(refused)?;
    let mut workers = service.workers.of(&namespace, queue.as_deref());
    workers.retain(|worker| before.as_ref().is_none_or(|last| place(&worker.name, &worker.identity) > *last));
    workers.sort_by_cached_key(|worker| place(&worker.name, &worker.identity));
    let names = workers.iter().map(|worker| Arc::clone(&worker.name)).collect();
    let held = service.store.held_by(&namespace, names).await?;
    let now = service.runtime.clock().now().micros();
    workers.iter_mut().zip(&held).for_each(|(worker, held)| worker.beat(held.beat));
    let here = |(worker, held): &(Worker, Holding)| held.leases > 0 || after(worker.last(now), LATELY) > now;
    let shown =
        workers.into_iter().zip(held).filter(here).map(|(worker, held)| shown(worker, held.leases, now));
    let (workers, more) = lists::fill(shown, limit);
    let last = workers.last().filter(|_| more).map(|last| place(&last.name, &last.identity));
    let next_page_token = last.map(|last| check::page_token(last.as_bytes())).unwrap_or_default();
    Ok(pb::ListWorkersResponse { workers, next_page_token })
}

/// Where a worker stands in the list: by its name, and then by its identity.
fn place(name: &str, identity: &str) -> String {
    format!("{name}\0{identity}")
}

fn shown(mut worker: Worker, leases: u32, now: Micros) -> pb::Worker {
    worker.queues.sort_unstable();
    pb::Worker {
        leases,
        streaming: worker.streams > 0,
        first_seen_time: wire::time(worker.first),
        last_seen_time: wire::time(worker.last(now)),
        name: worker.name.to_string(),
        identity: worker.identity,
        queues: worker.queues.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use nova_types::{HeldClock, Timestamp};

    use super::*;
    use crate::mark::Mark;

    fn workers() -> (Arc<Workers>, Arc<HeldClock>) {
        let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
        (Arc::new(Workers::new(Arc::clone(&clock) as Arc<dyn Clock>)), clock)
    }

    fn ask(worker: &str, queue: &str) -> LeaseRequest {
        LeaseRequest {
            namespace: "default".into(),
            queues: vec![queue.into()],
            worker: worker.into(),
            max: 1,
            duration: LATELY,
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::default(),
        }
    }

    #[test]
    fn a_worker_has_one_row_with_all_its_queues() {
        let (workers, _) = workers();
        let caller = Caller::default();
        workers.asked(&caller, &ask("w", "a"));
        workers.asked(&caller, &ask("w", "b"));
        assert_eq!(workers.of("default", None).len(), 1);
        assert_eq!(workers.of("default", Some("b"))[0].queues.len(), 2);
        assert!(workers.of("default", Some("c")).is_empty());
        assert!(workers.of("other", None).is_empty());
    }

    #[test]
    fn a_stream_counts_until_it_is_dropped() {
        let (workers, _) = workers();
        let presence = workers.opened(&Caller::default(), &ask("w", "a"));
        assert_eq!(workers.of("default", None)[0].streams, 1);
        drop(presence);
        assert_eq!(workers.of("default", None)[0].streams, 0);
    }

    #[test]
    fn those_seen_longest_ago_go_first() {
        let (workers, clock) = workers();
        let caller = Caller::default();
        let streaming = workers.opened(&caller, &ask("streaming", "a"));
        for number in 0..=MOST {
            clock.advance(Duration::from_millis(1));
            workers.asked(&caller, &ask(&format!("w-{number}"), "a"));
        }
        let known = workers.of("default", None);
        assert!(known.len() <= MOST);
        let knows = |name: &str| known.iter().any(|worker| &*worker.name == name);
        assert!(knows("streaming") && knows(&format!("w-{MOST}")) && !knows("w-0"));
        drop(streaming);
    }
}
