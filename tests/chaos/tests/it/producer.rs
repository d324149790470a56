//! Producers: tasks with and without keys, in groups, delayed, in batches, bound to others; whatever is not answered is
//! asked again.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nova_chaos::{
    history::{Answer, Job},
    seed::Seed,
};

use crate::caller::Caller;

/// Ids that somebody was told, each with whether no key names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<(String, bool)>>>);

impl Told {
    fn add(&self, ids: impl Iterator<Item = (String, bool)>) {
        self.0.lock().unwrap().extend(ids);
    }

    /// Any of them.
    pub(crate) fn any(&self, seed: &mut Seed) -> Option<(String, bool)> {
        let told = self.0.lock().unwrap();
        told.get(usize::try_from(seed.below(told.len() as u64)).unwrap()).cloned()
    }
}

pub(crate) async fn produce(mut caller: Caller, stopping: Arc<AtomicBool>, told: Told) {
    let mut keys = 0;
    while !stopping.load(Ordering::Relaxed) {
        let count = caller.seed.between(1, 3);
        let jobs: Vec<Job> = (0..count).map(|_| job(&mut caller, &mut keys, &told)).collect();
        let keyed = jobs.iter().all(|job| !job.key.is_empty());
        let mut answer = caller.enqueue(jobs.clone()).await;
        while answer == Answer::Unknown && keyed && !stopping.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer = caller.enqueue(jobs.clone()).await;
        }
        if let Answer::Stored(ids, _) = answer {
            told.add(ids.into_iter().zip(&jobs).map(|((id, _), job)| (id, job.key.is_empty())));
        }
        if let Some((id, _)) = told.any(&mut caller.seed) {
            caller.read(&id).await;
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// A job; one with a key follows from the key alone, and keys come again.
fn job(caller: &mut Caller, keys: &mut u64, told: &Told) -> Job {
    match caller.seed.below(100) {
        0..30 => {
            let job = random_job(String::new(), &mut caller.seed);
            bound(job, told, &mut caller.seed)
        }
        30..35 => unique_job(caller.seed.below(3)),
        _ => {
            *keys += u64::from(caller.seed.chance(70));
            let key = format!("{}-{keys}", caller.number);
            random_job(key, &mut Seed::new(u64::from(caller.number) << 32 | *keys))
        }
    }
}

fn random_job(key: String, seed: &mut Seed) -> Job {
    let delay = if seed.chance(10) { i64::try_from(seed.below(1_000_000)).unwrap() } else { 0 };
    let (max_attempts, priority) = (seed.between(1, 4), seed.below(10));
    let group = ["a", "b", "", ""][usize::try_from(seed.below(4)).unwrap()];
    Job {
        queue: "q".into(),
        key,
        delay,
        max_attempts: u32::try_from(max_attempts).unwrap(),
        priority: u8::try_from(priority).unwrap(),
        group: group.into(),
        ..Job::default()
    }
}

/// A job that keeps others like it away while it waits; it follows from its key alone.
fn unique_job(key: u64) -> Job {
    Job { unique: format!("u{key}"), delay: 1_000_000, ..random_job(String::new(), &mut Seed::new(key)) }
}

/// A job that may follow another, and may have to be done by a time. One that waits for others ends whatever they do.
fn bound(job: Job, told: &Told, seed: &mut Seed) -> Job {
    let parent = if seed.chance(30) { told.any(seed) } else { None };
    let after_failure = seed.chance(40);
    let must_end = parent.is_some() && !after_failure || seed.chance(10);
    let deadline = must_end.then(|| i64::try_from(seed.between(500_000, 5_000_000)).unwrap());
    Job { parents: parent.into_iter().map(|(id, _)| id).collect(), after_failure, deadline, ..job }
}
