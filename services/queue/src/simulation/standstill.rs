//! A daemon that stands still for longer than leases last: no attempt is burnt.

use std::{rc::Rc, time::Duration};

use nova_chaos::{
    history::{Answer, Job, Outcome, State},
    seed::Seed,
};
use tokio::{task::LocalSet, time::sleep};

use super::{Plan, front::Way, mesh::Mesh, producer::task, words::namespace};
use crate::{mark::Mark, record::LeaseRequest};

/// Length of the lease.
const LEASE: Duration = Duration::from_secs(2);

async fn stand_still() {
    let mut seed = Seed::new(1);
    let plan = Plan { shared: true, lone: true, calm: true, ..Plan::of(0) };
    let mesh = Rc::new(Mesh::new(plan, &mut seed));
    mesh.start_all();
    let mut way = Way::new(Rc::clone(&mesh), 1, seed.fork());
    let job = Job { queue: "q".into(), key: "k".into(), max_attempts: 1, ..Job::default() };
    while !way.enqueue(std::slice::from_ref(&job), vec![task(&job)]).await {}
    let request = LeaseRequest {
        namespace: namespace(),
        queues: vec!["q".into()],
        worker: "w".into(),
        max: 1,
        duration: LEASE,
        wait: Duration::ZERO,
        stream: 0,
        mark: Mark::default(),
    };
    let lease = way.lease(request).await.pop().expect("a task is ready");
    mesh.shelf.get().frozen = Some(1);
    sleep(3 * LEASE).await;
    mesh.shelf.get().frozen = None;
    sleep(LEASE / 2).await;
    way.settle(lease.refer(), &Outcome::Completed("done".into())).await;
    let settled =
        mesh.recorder.look(|history| history.operations.last().map(|operation| operation.answer.clone()));
    assert_eq!(settled, Some(Answer::Settled(State::Completed)));
}

#[test]
fn a_standstill_longer_than_leases_burns_no_attempt() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(LocalSet::new().run_until(stand_still()));
}
