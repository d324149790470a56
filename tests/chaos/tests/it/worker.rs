//! Workers that call: some complete, some fail, some forget what they hold, some settle late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nova_chaos::history::{Answer, Grant, Outcome};

use crate::caller::Caller;

pub(crate) async fn work(mut caller: Caller, stopping: Arc<AtomicBool>) {
    let mut held: Option<(Grant, Instant)> = None;
    while !stopping.load(Ordering::Relaxed) {
        for grant in caller.lease(2).await {
            match caller.seed.below(100) {
                // Kept for too long, or forgotten.
                0..10 if held.is_none() => held = Some((grant, Instant::now())),
                0..15 => {}
                15..22 => say(&mut caller, &grant, &Outcome::Released).await,
                22..25 => say(&mut caller, &grant, &Outcome::Snoozed(200_000)).await,
                25..35 => fail(&mut caller, &grant).await,
                35..45 => {
                    caller.report(&grant).await;
                    fail(&mut caller, &grant).await;
                }
                45..60 => {
                    caller.prove(&grant.lease).await;
                    complete(&mut caller, &grant).await;
                }
                _ => complete(&mut caller, &grant).await,
            }
        }
        if let Some((grant, _)) = held.take_if(|(_, since)| since.elapsed() > Duration::from_millis(2_500)) {
            caller.heartbeat(&grant.lease).await;
            caller.prove(&grant.lease).await;
            complete(&mut caller, &grant).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn fail(caller: &mut Caller, grant: &Grant) {
    let failed = Outcome::Failed { permanent: caller.seed.chance(5), retry_after: None };
    say(caller, grant, &failed).await;
}

/// Completes with a result that is said once.
pub(crate) async fn complete(caller: &mut Caller, grant: &Grant) {
    let completes = caller.completes(grant);
    say(caller, grant, &completes).await;
}

async fn say(caller: &mut Caller, grant: &Grant, outcome: &Outcome) {
    for _ in 0..5 {
        if caller.settle(&grant.lease, outcome).await != Answer::Unknown {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
