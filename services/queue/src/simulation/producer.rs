//! Producers: tasks with and without keys, delayed, in batches; whatever is not answered is asked again.

use std::{rc::Rc, sync::Arc, time::Duration};

use nova_chaos::{
    history::{Call, Job},
    seed::Seed,
};
use tokio::time::sleep;

use super::{front::Way, mesh::Mesh};
use crate::{
    core::body_hash,
    record::{NewTask, Spec},
    task::Retry,
};

/// Kind of tasks that no worker can complete.
pub(super) const POISON: &str = "poison";

/// How often a producer asks before it gives up.
const TRIES: usize = 4;

pub(super) async fn produce(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut way = Way { mesh, client, seed: seed.fork() };
    let mut keys = 0;
    while !way.mesh.stopping.get() {
        let count = seed.between(1, 3);
        let jobs: Vec<Job> = (0..count).map(|_| job(client, &mut keys, &mut seed)).collect();
        let tasks: Vec<NewTask> = jobs.iter().map(task).collect();
        let keyed = jobs.iter().all(|job| !job.key.is_empty());
        for _ in 0..if keyed { TRIES } else { 1 } {
            if way.enqueue(Call::Enqueue(jobs.clone()), tasks.clone()).await {
                break;
            }
        }
        sleep(Duration::from_millis(seed.between(100, 1_500))).await;
    }
}

/// A job; one with a key follows from the key alone, and keys come again.
fn job(client: u32, keys: &mut u64, seed: &mut Seed) -> Job {
    if seed.chance(40) {
        return random_job(String::new(), seed);
    }
    *keys += u64::from(seed.chance(70));
    random_job(format!("{client}-{keys}"), &mut Seed::new(u64::from(client) << 32 | *keys))
}

fn random_job(key: String, seed: &mut Seed) -> Job {
    let delay = if seed.chance(20) { i64::try_from(seed.below(5_000_000)).unwrap() } else { 0 };
    Job {
        queue: "q".into(),
        key,
        delay,
        max_attempts: u32::try_from(seed.between(1, 4)).unwrap(),
        priority: u8::try_from(seed.below(10)).unwrap(),
        group: if seed.chance(10) { POISON.into() } else { String::new() },
        ..Job::default()
    }
}

fn task(job: &Job) -> NewTask {
    let spec = Spec {
        namespace: super::front::namespace(),
        queue: job.queue.as_str().into(),
        kind: if job.group.is_empty() { "k".into() } else { POISON.into() },
        metadata: Vec::new(),
        request_id: job.key.as_str().into(),
        body_hash: 0,
        priority: job.priority,
        retry: Retry { max_attempts: job.max_attempts, ..Retry::default() },
        attempt_timeout: None,
        traceparent: "".into(),
        terms: None,
        group: job.group.as_str().into(),
    };
    let payload: Arc<[u8]> = Arc::from(&b"a payload of which memory holds few"[..]);
    let mut task = NewTask { spec, payload, delay: crate::task::span(job.delay), after_index: Vec::new() };
    if !job.key.is_empty() {
        task.spec.body_hash = body_hash(&task);
    }
    task
}
