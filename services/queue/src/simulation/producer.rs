//! Producers: tasks with and without keys, delayed, in batches, bound to others; whatever is not answered is asked again.

use std::{rc::Rc, sync::Arc, time::Duration};

use nova_chaos::{history::Job, seed::Seed};
use tokio::time::sleep;
use uuid::Uuid;

use super::{broken::Broken, front::Way, mesh::Mesh, words::namespace};
use crate::{
    core::body_hash,
    record::{NewTask, Spec},
    task::{Retry, span},
    terms::Terms,
};

/// Kind, and group, of tasks that no worker can complete.
pub(super) const POISON: &str = "poison";

/// How often a producer asks before it gives up.
const TRIES: usize = 4;

pub(super) async fn produce(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut way = Way::new(mesh, client, seed.fork());
    let mut keys = 0;
    while !way.mesh.stopping.get() {
        let count = seed.between(1, 3);
        let jobs: Vec<Job> = (0..count).map(|_| job(&way, &mut keys, &mut seed)).collect();
        let keyed = jobs.iter().all(|job| !job.key.is_empty());
        for _ in 0..if keyed { TRIES } else { 1 } {
            let tasks = jobs.iter().map(|job| broken(&way, task(job))).collect();
            if way.enqueue(&jobs, tasks).await {
                break;
            }
        }
        sleep(Duration::from_millis(seed.between(100, 1_500))).await;
    }
}

/// A job; one with a key follows from the key alone, and keys come again.
fn job(way: &Way, keys: &mut u64, seed: &mut Seed) -> Job {
    match seed.below(100) {
        0..40 => bound(way, random_job(String::new(), seed), seed),
        40..50 => unique_job(seed.below(3)),
        _ => {
            *keys += u64::from(seed.chance(70));
            let number = u64::from(way.client) << 32 | *keys;
            random_job(format!("{}-{keys}", way.client), &mut Seed::new(number))
        }
    }
}

fn random_job(key: String, seed: &mut Seed) -> Job {
    let delay = if seed.chance(20) { i64::try_from(seed.below(5_000_000)).unwrap() } else { 0 };
    let group = match seed.below(10) {
        0 => POISON,
        1 | 2 => "a",
        3 | 4 => "b",
        _ => "",
    };
    Job {
        queue: "q".into(),
        key,
        delay,
        max_attempts: u32::try_from(seed.between(1, 4)).unwrap(),
        priority: u8::try_from(seed.below(10)).unwrap(),
        group: group.into(),
        ..Job::default()
    }
}

/// A job that keeps others like it away while it waits; it follows from its key alone.
fn unique_job(key: u64) -> Job {
    Job { unique: format!("u{key}"), delay: 6_000_000, ..random_job(String::new(), &mut Seed::new(key)) }
}

/// A job that may follow others, and may have to be done by a time. One that waits for others ends whatever they do.
fn bound(way: &Way, job: Job, seed: &mut Seed) -> Job {
    let some = if seed.chance(30) { seed.between(1, 2) } else { 0 };
    let parents = (0..some).filter_map(|_| way.mesh.any_task(seed)).map(|(id, _)| id.to_string());
    let parents: Vec<String> = parents.collect();
    let after_failure = seed.chance(40);
    let must_end = !parents.is_empty() && !after_failure || seed.chance(10);
    let deadline = must_end.then(|| i64::try_from(seed.between(2_000_000, 20_000_000)).unwrap());
    Job { parents, after_failure, deadline, ..job }
}

/// A task as a broken queue takes it.
fn broken(way: &Way, mut task: NewTask) -> NewTask {
    if way.is(Broken::RunsChildrenFirst) {
        task.spec.terms.iter_mut().for_each(|terms| terms.after.clear());
    }
    if way.is(Broken::RetriesForEver) {
        task.spec.retry.max_attempts += 2;
    }
    task
}

pub(super) fn task(job: &Job) -> NewTask {
    let spec = Spec {
        namespace: namespace(),
        queue: job.queue.as_str().into(),
        kind: if job.group == POISON { POISON.into() } else { "k".into() },
        metadata: Vec::new(),
        request_id: job.key.as_str().into(),
        body_hash: 0,
        priority: job.priority,
        retry: Retry { max_attempts: job.max_attempts, ..Retry::default() },
        attempt_timeout: None,
        traceparent: "".into(),
        terms: terms(job),
        group: job.group.as_str().into(),
    };
    let payload: Arc<[u8]> = Arc::from(&b"a payload of which memory holds few"[..]);
    let mut task = NewTask { spec, payload, delay: span(job.delay), after_index: Vec::new() };
    if !job.key.is_empty() {
        task.spec.body_hash = body_hash(&task);
    }
    task
}

fn terms(job: &Job) -> Option<Box<Terms>> {
    let mut after: Vec<Uuid> = job.parents.iter().map(|id| id.parse().unwrap()).collect();
    after.sort_unstable();
    after.dedup();
    let terms = Terms {
        deadline: job.deadline.map(span),
        unique_key: job.unique.as_str().into(),
        unique_for: None,
        after,
        run_after_failure: job.after_failure && !job.parents.is_empty(),
    };
    (!terms.is_empty()).then(|| Box::new(terms))
}
