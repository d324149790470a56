//! An operator: pauses and resumes, sets limits, cancels, forgets, and keeps a schedule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nova_chaos::{
    history::{Answer, Call, Limits},
    seed::Seed,
};

use crate::{caller::Caller, producer::Told};

/// How often an order is repeated that is not answered.
const TRIES: usize = 4;

/// How often the schedule fires.
const TICKS: [&str; 2] = ["* * * * * *", "*/2 * * * * *"];

pub(crate) async fn operate(mut caller: Caller, stopping: Arc<AtomicBool>, told: Told) {
    schedule(&mut caller).await;
    while !stopping.load(Ordering::Relaxed) {
        rest(&mut caller.seed, 50, 300).await;
        match caller.seed.below(10) {
            0 | 1 => {
                order(&mut caller, &Call::Pause("q".into())).await;
                rest(&mut caller.seed, 50, 300).await;
                order(&mut caller, &Call::Resume("q".into())).await;
            }
            2 | 3 => {
                let limits = limits(&mut caller.seed);
                order(&mut caller, &Call::Limit("q".into(), limits)).await;
                rest(&mut caller.seed, 300, 1_000).await;
                order(&mut caller, &Call::Limit("q".into(), Limits::default())).await;
            }
            4..6 => remove(&mut caller, &told, false).await,
            6..9 => remove(&mut caller, &told, true).await,
            _ => schedule(&mut caller).await,
        }
    }
}

/// Ends pauses, limits and the schedule, so that everything can be worked off.
pub(crate) async fn reopen(caller: &mut Caller) {
    for call in [Call::Resume("q".into()), Call::Limit("q".into(), Limits::default())] {
        while caller.order(&call).await == Answer::Unknown {}
    }
    while !caller.unschedule().await {}
}

async fn rest(seed: &mut Seed, least: u64, most: u64) {
    let until = Instant::now() + Duration::from_millis(seed.between(least, most));
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn order(caller: &mut Caller, call: &Call) {
    for _ in 0..TRIES {
        if caller.order(call).await != Answer::Unknown {
            return;
        }
    }
}

fn limits(seed: &mut Seed) -> Limits {
    let some = |least, most, seed: &mut Seed| {
        seed.chance(50).then(|| u32::try_from(seed.between(least, most)).unwrap())
    };
    let (running, group_running, count) = (some(1, 4, seed), some(1, 2, seed), some(5, 20, seed));
    Limits { running, group_running, rate: count.map(|count| (count, 1_000_000)) }
}

/// Cancels a task, or forgets one that no key names.
async fn remove(caller: &mut Caller, told: &Told, purge: bool) {
    match told.any(&mut caller.seed) {
        Some((id, true)) if purge => _ = caller.order(&Call::Purge(id)).await,
        Some((id, _)) if !purge => _ = caller.order(&Call::Cancel(id)).await,
        _ => {}
    }
}

async fn schedule(caller: &mut Caller) {
    let ticks = TICKS[usize::from(caller.seed.chance(50))];
    caller.schedule(ticks).await;
}
