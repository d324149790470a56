//! Producers, workers and an operator that never stop by themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nova_chaos::{
    checker::{Rules, check, explain},
    history::{Answer, Call, History, Rest, State},
    recorder::Recorder,
    seed::Seed,
};
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    caller::{Caller, Targets},
    doubt, operator,
    producer::{self, Told},
    rest, stream, worker,
};

/// Longest that a test waits for its load to get on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Producers, and as many workers.
const PAIRS: u32 = 3;

/// A load on the queue, and its history.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) recorder: Recorder,
    pub(crate) targets: Targets,
    stopping: Arc<AtomicBool>,
    told: Told,
    seed: Seed,
    running: JoinSet<()>,
    workers: Vec<AbortHandle>,
    /// The last worker lives on a stream; each next one does what the last did not.
    streams: bool,
    next: u32,
}

/// How much longer tests are that run for long.
pub(crate) fn longer() -> usize {
    if std::env::var_os("NOVA_TEST_FULL").is_some() { 10 } else { 1 }
}

impl Load {
    /// Starts to call the daemons at these addresses.
    pub(crate) fn start(seed: u64, addresses: impl IntoIterator<Item = String>) -> Self {
        let begun = Instant::now();
        let recorder = Recorder::new(move || i64::try_from(begun.elapsed().as_micros()).unwrap());
        let targets = Targets::default();
        targets.set(addresses);
        let mut load = Self {
            recorder,
            targets,
            stopping: Arc::default(),
            told: Told::default(),
            seed: Seed::new(seed),
            running: JoinSet::new(),
            workers: Vec::new(),
            streams: false,
            next: 0,
        };
        for _ in 0..PAIRS {
            load.add_producer();
            load.add_worker();
        }
        load.add_operator();
        load
    }

    fn caller(&mut self) -> Caller {
        self.next += 1;
        Caller::new(self.recorder.clone(), self.targets.clone(), self.next, self.seed.fork())
    }

    fn add_producer(&mut self) {
        let (caller, stopping, told) = (self.caller(), Arc::clone(&self.stopping), self.told.clone());
        self.running.spawn(producer::produce(caller, stopping, told));
    }

    fn add_operator(&mut self) {
        let (caller, stopping, told) = (self.caller(), Arc::clone(&self.stopping), self.told.clone());
        self.running.spawn(operator::operate(caller, stopping, told));
    }

    fn add_worker(&mut self) {
        let (caller, stopping) = (self.caller(), Arc::clone(&self.stopping));
        self.streams = !self.streams;
        let worker = if self.streams {
            self.running.spawn(stream::work(caller, stopping))
        } else {
            self.running.spawn(worker::work(caller, stopping))
        };
        self.workers.push(worker);
    }

    /// Kills a worker wherever it is, connections and all, and starts another.
    pub(crate) fn kill_worker(&mut self) {
        self.workers.remove(0).abort();
        self.add_worker();
    }

    fn answered(&self) -> usize {
        let answered = |history: &History| {
            history.operations.iter().filter(|operation| makes_progress(&operation.answer)).count()
        };
        self.recorder.look(answered)
    }

    /// Waits until this many more calls have been answered.
    pub(crate) async fn get_on(&self, calls: usize) {
        let until = self.answered() + calls;
        self.wait_for("the load gets on", || self.answered() >= until).await;
    }

    /// Waits until the load gets on after something was away or stood still, and notes that leases began anew.
    pub(crate) async fn recover(&self) {
        self.get_on(1).await;
        self.recorder.restarted();
    }

    /// Waits until a task that was asked for from now on is stored.
    pub(crate) async fn store_anew(&self) -> u64 {
        let from = self.recorder.now().order;
        let is_new =
            |answer: &Answer| matches!(answer, Answer::Stored(ids, _) if ids.iter().all(|(_, known)| !known));
        let anew = || {
            let history = self.recorder.history();
            history
                .operations
                .iter()
                .any(|operation| operation.begin.order > from && is_new(&operation.answer))
        };
        self.wait_for("something new is stored", anew).await;
        self.recorder.now().order
    }

    /// Waits until this many more calls had no answer.
    pub(crate) async fn get_stuck(&self, calls: usize) {
        let open = |history: &History| {
            history.operations.iter().filter(|call| call.is_open() && call.end.is_some()).count()
        };
        let until = self.recorder.look(open) + calls;
        self.wait_for("calls get no answer", || self.recorder.look(open) >= until).await;
    }

    /// Waits until the load has gone on for so long, microseconds.
    pub(crate) async fn go_on_for(&self, span: i64) {
        let until = self.recorder.now().at + span;
        self.wait_for("the load goes on", || self.recorder.now().at >= until).await;
    }

    /// The first order after a time.
    pub(crate) fn order_at(&self, at: i64) -> u64 {
        let later = |history: &History| {
            let begins = history.operations.iter().map(|operation| operation.begin);
            begins.filter(|begin| begin.at >= at).map(|begin| begin.order).min()
        };
        self.recorder.look(later).expect("the load goes on")
    }

    /// Waits until something holds.
    pub(crate) async fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the clients, works off what is left, and reads it.
    pub(crate) async fn finish(mut self) -> (History, Rest) {
        self.stopping.store(true, Ordering::Relaxed);
        while self.running.join_next().await.is_some() {}
        let caller = self.caller();
        let rest =
            tokio::time::timeout(PATIENCE, rest::drain(caller)).await.expect("everything is worked off");
        (self.recorder.history(), rest)
    }

    /// Finishes, and lets the checker look.
    pub(crate) async fn check(self) -> (History, Rest) {
        let (history, rest) = self.finish().await;
        let found = check(&history, &rest, &rules());
        assert!(found.is_empty(), "{}", explain(&history, &found));
        doubt::would_be_found(&history, &rest);
        let completed = rest.tasks.iter().filter(|task| task.state == State::Completed).count();
        assert!(completed > 20, "only {completed} of {} tasks were completed", rest.tasks.len());
        (history, rest)
    }
}

/// What a real run may take. An owner reads the server's clock once, late by the time of that call.
pub(crate) fn rules() -> Rules {
    Rules { clock_error: 500_000, reclaim_within: 10_000_000, ..Rules::default() }
}

fn makes_progress(answer: &Answer) -> bool {
    match answer {
        Answer::Given(grants) => !grants.is_empty(),
        Answer::Stored(..) | Answer::Settled(_) | Answer::Extended(_) => true,
        _ => false,
    }
}

/// How many calls of a history were answered as one kind of call is.
pub(crate) fn count(history: &History, kind: impl Fn(&Call, &Answer) -> bool) -> usize {
    history.operations.iter().filter(|operation| kind(&operation.call, &operation.answer)).count()
}
