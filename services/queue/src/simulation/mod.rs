//! Simulated runs: the real engine over a ledger in memory, while everything around it breaks as a seed decides.
//!
//! One run is one thread on a paused clock, so it takes milliseconds and the same seed is the same run. Clients'
//! messages are dropped, repeated and delayed; daemons are killed and stopped; commits fail before or after they
//! stand; the server fails over and loses its last commits; clocks jump. What clients were told goes into a history,
//! which `nova_chaos` checks.
//!
//! `NOVA_CHAOS_SEED=7 cargo test -p nova-queue simulation` runs one seed again, `300..900` some more;
//! `NOVA_TEST_FULL=1` runs ten thousand.

mod broken;
mod clock;
mod disk;
mod front;
mod ledger;
mod mesh;
mod nemesis;
mod producer;
mod reader;
mod worker;

use std::{rc::Rc, time::Duration};

use nova_chaos::{
    checker::{Rules, Violation, check, explain},
    history::{History, Rest},
    seed::{Seed, named_or},
};
use tokio::{task::LocalSet, time::sleep};

use self::{broken::Broken, mesh::Mesh};

/// How long clients and faults go on, simulated.
const BUSY: Duration = Duration::from_secs(20);

/// Longest that a message may be delayed, simulated.
const LATE: Duration = Duration::from_secs(20);

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    /// Two daemons share a server that may lose its last commits; else one has a file that loses nothing.
    shared: bool,
    /// Nothing goes wrong.
    calm: bool,
    /// Of a shared server one daemon alone, which stays: then no token is given twice whatever the server's clock.
    lone: bool,
    broken: Option<Broken>,
}

impl Plan {
    fn of(seed: u64) -> Self {
        Self { seed, shared: seed % 2 == 1, calm: seed % 10 < 2, lone: seed % 20 == 7, broken: None }
    }

    fn broken(seed: u64, broken: Broken) -> Self {
        let shared = broken.needs_sharing().unwrap_or(seed % 2 == 1);
        Self { seed, shared, calm: false, lone: false, broken: Some(broken) }
    }
}

/// Runs a plan.
fn run(plan: Plan) -> (History, Rest) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(LocalSet::new().run_until(live(plan)))
}

async fn live(plan: Plan) -> (History, Rest) {
    let mut seed = Seed::new(plan.seed);
    let mesh = Rc::new(Mesh::new(plan, &mut seed));
    mesh.start_all();
    let clients = (1..=3).flat_map(|number| {
        let produces = tokio::task::spawn_local(producer::produce(Rc::clone(&mesh), number, seed.fork()));
        let works = tokio::task::spawn_local(worker::work(Rc::clone(&mesh), 10 + number, seed.fork()));
        [produces, works]
    });
    let mut clients: Vec<_> = clients.collect();
    clients.push(tokio::task::spawn_local(reader::read(Rc::clone(&mesh), 20, seed.fork())));
    if !plan.calm {
        clients.push(tokio::task::spawn_local(nemesis::break_things(Rc::clone(&mesh), seed.fork())));
    }
    sleep(BUSY).await;
    mesh.settle_down();
    for client in clients {
        client.await.unwrap();
    }
    worker::drain(&mesh, seed.fork()).await;
    sleep(LATE).await;
    worker::drain(&mesh, seed.fork()).await;
    let rest = mesh.rest().await;
    (mesh.recorder.history(), rest)
}

/// What a run did that it must not.
fn violations(plan: Plan) -> (History, Vec<Violation>) {
    let (history, rest) = run(plan);
    let ageing_step = plan.calm.then(|| i64::try_from(mesh::AGEING.as_micros()).unwrap());
    let clock_error = if plan.shared { 2 * nemesis::skew(plan) } else { 0 };
    let found = check(&history, &rest, &Rules { ageing_step, clock_error, ..Rules::default() });
    (history, found)
}

#[test]
fn no_seed_breaks_an_invariant() {
    for seed in named_or(0..300, 0..10_000) {
        let (history, found) = violations(Plan::of(seed));
        let why = explain(&history, &found);
        assert!(found.is_empty(), "NOVA_CHAOS_SEED={seed} {:?}\n{why}", Plan::of(seed));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4, 5, 10] {
        assert_eq!(run(Plan::of(seed)), run(Plan::of(seed)));
    }
}

/// Seeds within which a broken queue must be found out.
const ENOUGH: u64 = 60;

#[test]
fn every_broken_queue_is_found_out() {
    for broken in Broken::ALL {
        let expected = broken.breaks();
        let told = |seed| violations(Plan::broken(seed, broken)).1;
        let caught =
            (0..ENOUGH).find(|seed| told(*seed).iter().any(|found| expected.contains(&found.invariant)));
        assert!(caught.is_some(), "{broken:?} was not found out by {ENOUGH} seeds");
    }
}
