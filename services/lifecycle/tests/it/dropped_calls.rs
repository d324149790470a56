//! A call that its caller dropped takes effect all the same: what it stores may be stored by then.

use std::time::Duration;

use futures::poll;
use nova_lifecycle::run::{Head, Scheduler};
use nova_testkit::soon;
use nova_types::{Namespace, RunId, Timestamp};

use crate::cancelled_runs::{ENDLESS, comes_to_its_endless_step};
use crate::fuse::Fuse;
use crate::killed_runs::{PLAN, Surroundings, start_of};
use crate::server::Daemon;

/// A scheduler of the runs of some surroundings, in the process of a daemon that has others.
async fn scheduler(surroundings: &Surroundings) -> (Daemon, Scheduler) {
    let daemon = Daemon::start().await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let scheduler = Scheduler::new(executor, daemon.server.runtime.clone(), 10);
    (daemon, scheduler)
}

async fn ended(scheduler: &Scheduler, run_id: RunId) -> Head {
    soon("the run ends", Duration::from_secs(30), async || {
        let (head, _) = scheduler.executor().runs.head(&Namespace::default(), run_id).await.ok()?;
        head.end_time.is_some().then_some(head)
    })
    .await
}

/// Begins a call, and drops it.
async fn drop_once_begun(call: impl Future) {
    let mut call = Box::pin(call);
    assert!(poll!(call.as_mut()).is_pending());
}

#[tokio::test]
async fn a_run_is_driven_though_the_call_that_starts_it_is_dropped() {
    let surroundings = Surroundings::with_a_run().await;
    let (_daemon, scheduler) = scheduler(&surroundings).await;
    let other = RunId::new(Timestamp::from_micros(2));
    drop_once_begun(scheduler.start(start_of(other, PLAN), "", None)).await;
    assert!(ended(&scheduler, other).await.succeeded);
}

#[tokio::test]
async fn a_run_is_cancelled_though_the_call_that_cancels_it_is_dropped() {
    let surroundings = Surroundings::with_a_run_of(ENDLESS).await;
    let (_daemon, scheduler) = scheduler(&surroundings).await;
    scheduler.resume().await.unwrap();
    comes_to_its_endless_step(&surroundings).await;
    drop_once_begun(scheduler.cancel(&Namespace::default(), surroundings.run_id, "ada", None)).await;
    assert!(ended(&scheduler, surroundings.run_id).await.cancelled);
}

#[tokio::test]
async fn a_run_that_has_no_driver_is_given_one() {
    let surroundings = Surroundings::with_a_run().await;
    let (_daemon, scheduler) = scheduler(&surroundings).await;
    scheduler.go_on(&Namespace::default(), surroundings.run_id).await.unwrap();
    assert!(ended(&scheduler, surroundings.run_id).await.succeeded);
}
