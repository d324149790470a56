//! Simulated runs: the real engine over a ledger in memory, while everything around it breaks as a seed decides.
//!
//! One run is one thread on a paused clock, so it takes milliseconds and the same seed is the same run. Clients'
//! messages are dropped, repeated and delayed; daemons are killed and stopped; commits fail before or after they
//! stand; the server fails over and loses its last commits; clocks jump. Operators pause, limit, cancel and forget
//! meanwhile, and a schedule fires. What clients were told goes into a history,
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
mod operator;
mod producer;
mod reader;
mod shares;
mod standstill;
mod words;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    num::NonZero,
    ops::Range,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nova_chaos::{
    checker::{Rules, Violation, check, explain},
    history::{Answer, Call, History, Outcome, Rest},
    seed::{Seed, named_or},
};
use tokio::{
    task::{JoinHandle, LocalSet, spawn_local},
    time::sleep,
};

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
    /// Of a shared server one daemon alone, which stays; the server's replicas never say what they have.
    lone: bool,
    /// The clock of a server that is promoted is far from that of the last one.
    wild: bool,
    /// Groups with weights have more work than is done.
    fair: bool,
    broken: Option<Broken>,
}

impl Plan {
    fn of(seed: u64) -> Self {
        Self {
            seed,
            shared: seed % 2 == 1,
            calm: seed % 10 < 2,
            lone: seed % 20 == 7,
            wild: seed % 10 == 7,
            fair: false,
            broken: None,
        }
    }

    fn fair(seed: u64) -> Self {
        Self { calm: false, fair: true, ..Self::of(seed) }
    }

    fn broken(seed: u64, broken: Broken) -> Self {
        let shared = broken.needs_sharing().unwrap_or(seed % 2 == 1);
        let (wild, fair) = (broken == Broken::TrustsClocks, broken == Broken::IgnoresWeights);
        let calm = broken == Broken::IgnoresAgeing;
        Self { seed, shared, calm, lone: false, wild, fair, broken: Some(broken) }
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
    let mut clients = start_clients(&mesh, &mut seed);
    if !plan.calm {
        clients.push(spawn_local(nemesis::break_things(Rc::clone(&mesh), seed.fork())));
    }
    if plan.fair {
        shares::share(&mesh, seed.fork()).await;
    } else {
        sleep(BUSY).await;
    }
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

fn start_clients(mesh: &Rc<Mesh>, seed: &mut Seed) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    if mesh.plan.fair {
        return clients;
    }
    for number in 1..=3 {
        clients.push(spawn_local(producer::produce(Rc::clone(mesh), number, seed.fork())));
        clients.push(spawn_local(worker::work(Rc::clone(mesh), 10 + number, seed.fork())));
    }
    clients.push(spawn_local(reader::read(Rc::clone(mesh), 20, seed.fork())));
    clients.push(spawn_local(operator::operate(Rc::clone(mesh), 21, seed.fork())));
    clients
}

/// What a run did that it must not.
fn violations(plan: Plan) -> (History, Vec<Violation>) {
    let (history, rest) = run(plan);
    let ageing_step = plan.calm.then(|| i64::try_from(mesh::AGEING.as_micros()).unwrap());
    let clock_error = if plan.shared { 2 * nemesis::skew(plan) } else { 0 };
    let weights = if plan.fair { shares::weights() } else { BTreeMap::new() };
    let rules = Rules { ageing_step, clock_error, weights, ..Rules::default() };
    let found = check(&history, &rest, &rules);
    (history, found)
}

/// Looks at each seed; a run is one thread and shares nothing with others.
fn on_all_cores(seeds: Range<u64>, look: impl Fn(u64) + Sync) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU64::new(seeds.start);
    // Whoever is done with one takes the next: some take longer.
    let look = || {
        let next = || Some(next.fetch_add(1, Relaxed)).filter(|seed| *seed < seeds.end);
        iter::from_fn(next).for_each(&look);
    };
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(look);
        }
    });
}

#[test]
fn no_seed_breaks_an_invariant() {
    on_all_cores(named_or(0..300, 0..10_000), |seed| {
        let (history, found) = violations(Plan::of(seed));
        let why = explain(&history, &found);
        assert!(found.is_empty(), "NOVA_CHAOS_SEED={seed} {:?}\n{why}", Plan::of(seed));
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4, 5, 10] {
        let ((first, rest), (second, left)) = (run(Plan::of(seed)), run(Plan::of(seed)));
        for (first, second) in first.operations.iter().zip(&second.operations) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!((first, rest), (second, left), "seed {seed}");
    }
}

#[test]
fn shares_follow_weights_whatever_crashes() {
    for seed in 0..10 {
        let (history, found) = violations(Plan::fair(seed));
        assert!(found.is_empty(), "{seed}\n{}", explain(&history, &found));
    }
}

/// Kinds of answers without which some promise would not be looked at.
fn answered(history: &History) -> BTreeSet<&'static str> {
    let kinds =
        history.operations.iter().filter_map(|operation| match (&operation.call, &operation.answer) {
            (Call::Enqueue(jobs), Answer::Stored(..)) if jobs.iter().any(|job| !job.parents.is_empty()) => {
                Some("flow")
            }
            (Call::Enqueue(_), Answer::Stored(told, _)) if told.iter().any(|(_, known)| *known) => {
                Some("duplicate")
            }
            (Call::Lease { .. }, Answer::Given(given))
                if given.iter().any(|grant| grant.checkpoint.is_some()) =>
            {
                Some("checkpoint")
            }
            (Call::Settle(_, Outcome::Snoozed(_)), Answer::Settled(_)) => Some("snooze"),
            (Call::Prove(_), Answer::Proven(Some(_))) => Some("proof"),
            (Call::Pause(_), Answer::Done) => Some("pause"),
            (Call::Limit(..), Answer::Done) => Some("limit"),
            (Call::Cancel(_), Answer::Removed(true)) => Some("cancel"),
            (Call::Purge(_), Answer::Removed(true)) => Some("purge"),
            (Call::Schedule(_), Answer::Done) => Some("schedule"),
            _ => None,
        });
    kinds.collect()
}

#[test]
fn every_promise_is_put_to_the_test() {
    let mut seen = BTreeSet::new();
    for seed in 2..12 {
        let (history, rest) = run(Plan::of(seed));
        seen.extend(answered(&history));
        seen.extend(rest.tasks.iter().any(|task| task.firing.is_some()).then_some("tick"));
    }
    let all = [
        "cancel",
        "checkpoint",
        "duplicate",
        "flow",
        "limit",
        "pause",
        "proof",
        "purge",
        "schedule",
        "snooze",
        "tick",
    ];
    assert_eq!(seen, BTreeSet::from(all));
}

/// Seeds within which a broken queue must be found out.
const ENOUGH: u64 = 100;

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
