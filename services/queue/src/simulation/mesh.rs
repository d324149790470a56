//! The daemons of a run, and the ways to them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
    time::Duration,
};

use nova_chaos::{
    history::{Rest, State},
    recorder::Recorder,
    seed::Seed,
};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::{
    Plan,
    broken::Broken,
    clock::SimClock,
    ledger::{Shared, SimLedger},
    words,
};
use crate::{
    config::Config,
    engine::{Engine, Parts},
    error::Error,
    ledger::{Standing, redis::Role},
    record::{Durability, Fits, TaskFilter},
    store::{Settings, Store, assemble},
};

/// Extra wait for each step of priority.
pub(super) const AGEING: Duration = Duration::from_secs(1);

/// With this the order is that of priorities for as long as a run takes.
const NO_AGEING: Duration = Duration::from_secs(3_600);

/// Rest of a daemon that cannot lead.
const REST: Duration = Duration::from_millis(100);

/// Everything that a run is made of.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) plan: Plan,
    pub(super) clock: Arc<SimClock>,
    pub(super) recorder: Recorder,
    pub(super) shelf: Shared,
    /// Clients and faults stop.
    pub(super) stopping: Cell<bool>,
    /// Newest token of each task, for a queue that does not check.
    pub(super) newest: RefCell<HashMap<Uuid, u64>>,
    /// Ids that somebody was told, and whether they may be forgotten, since no key names them.
    pub(super) told: RefCell<Vec<(Uuid, bool)>>,
    seed: RefCell<Seed>,
    daemons: RefCell<HashMap<u32, Daemon>>,
}

#[derive(Debug)]
struct Daemon {
    store: Store,
    running: JoinHandle<()>,
}

impl Mesh {
    pub(super) fn new(plan: Plan, seed: &mut Seed) -> Self {
        let clock = Arc::new(SimClock::new());
        let shown = Arc::clone(&clock);
        Self {
            plan,
            recorder: Recorder::new(move || shown.micros()),
            clock,
            shelf: Shared::default(),
            stopping: Cell::new(false),
            newest: RefCell::default(),
            told: RefCell::default(),
            seed: RefCell::new(seed.fork()),
            daemons: RefCell::default(),
        }
    }

    /// Numbers of the daemons that there are.
    pub(super) fn numbers(&self) -> std::ops::RangeInclusive<u32> {
        1..=if self.plan.shared && !self.plan.lone { 2 } else { 1 }
    }

    pub(super) fn start_all(&self) {
        self.numbers().for_each(|number| self.start(number));
    }

    /// Starts a daemon that does not run.
    pub(super) fn start(&self, number: u32) {
        let seed = self.seed.borrow_mut().fork();
        let noise = self.seed.borrow_mut().number();
        let reader = Arc::new(self.shelf.clone());
        let durability = if self.plan.shared { Durability::Aof } else { Durability::Synced };
        let clock = Arc::clone(&self.clock);
        let standing = watch::Sender::new(Standing::at(durability)).subscribe();
        let nobody = Role::Unknown(Error::Leaderless);
        let (store, mut parts, role) = assemble(settings(self.plan), clock, reader, standing, nobody);
        parts.noise = noise;
        self.shelf.get().down.retain(|down| *down != number);
        let (shelf, clock, recorder) = (self.shelf.clone(), Arc::clone(&self.clock), self.recorder.clone());
        let ledger = SimLedger::new(shelf, number, self.plan, clock, recorder, seed);
        let running = tokio::task::spawn_local(async move {
            serve(parts, ledger).await;
            drop(role);
        });
        self.daemons.borrow_mut().insert(number, Daemon { store, running });
    }

    /// Kills a daemon wherever it is.
    pub(super) fn kill(&self, number: u32) {
        if let Some(daemon) = self.daemons.borrow_mut().remove(&number) {
            daemon.running.abort();
            self.shelf.get().down.push(number);
        }
    }

    pub(super) fn is_up(&self, number: u32) -> bool {
        self.daemons.borrow().contains_key(&number)
    }

    /// Some id that somebody was told, and whether its task may be forgotten.
    pub(super) fn any_task(&self, seed: &mut Seed) -> Option<(Uuid, bool)> {
        let told = self.told.borrow();
        told.get(usize::try_from(seed.below(told.len() as u64)).unwrap()).copied()
    }

    /// The way to some daemon.
    pub(super) fn door(&self, seed: &mut Seed) -> Option<Store> {
        let daemons = self.daemons.borrow();
        let number = u32::try_from(seed.between(1, u64::from(*self.numbers().end()))).unwrap();
        daemons.get(&number).map(|daemon| daemon.store.clone())
    }

    /// Ends all faults, and brings everything up.
    pub(super) fn settle_down(&self) {
        self.stopping.set(true);
        let mut shelf = self.shelf.get();
        shelf.sound = true;
        if shelf.frozen.take().is_some() {
            self.recorder.restarted();
        }
    }

    /// Reads everything that is left.
    pub(super) async fn rest(&self) -> Rest {
        self.ask_leader(rest_of).await
    }

    /// How many tasks are in which state.
    pub(super) async fn counted(&self) -> Vec<(State, u64)> {
        self.ask_leader(counted).await
    }

    /// Asks until somebody leads and answers.
    pub(super) async fn ask_leader<T>(&self, ask: impl AsyncFn(&Store) -> Result<T, Error>) -> T {
        loop {
            for number in self.numbers() {
                let store = self.daemons.borrow().get(&number).map(|daemon| daemon.store.clone());
                let Some(store) = store else { continue };
                if let Ok(answer) = ask(&store).await {
                    return answer;
                }
            }
            tokio::time::sleep(REST).await;
        }
    }
}

/// Leads whenever it can.
async fn serve(mut parts: Parts, mut ledger: SimLedger) {
    while !parts.outlet.is_closed() {
        let ended = match Engine::over(&mut parts, &mut ledger).await {
            Ok(engine) => engine.run().await,
            Err(error) => Err(error),
        };
        let Err(why) = ended else { return };
        parts.outlet.refuse_for(REST, &why).await;
    }
}

fn settings(plan: Plan) -> Settings {
    let mut settings = Config { payload_cache_bytes: 64, keep_events: 64, ..Config::default() }.settings();
    let ageing = if plan.broken == Some(Broken::IgnoresAgeing) { NO_AGEING } else { AGEING };
    settings.limits.ageing_step = ageing;
    settings
}

async fn rest_of(store: &Store) -> Result<Rest, Error> {
    let namespace = words::namespace();
    let mut rest = Rest::default();
    let mut before = None;
    loop {
        let filter = TaskFilter {
            namespace: Arc::clone(&namespace),
            queue: None,
            states: Vec::new(),
            before,
            limit: 100,
            fits: Fits::default(),
        };
        let page = store.tasks(filter).await?;
        for task in &page.tasks {
            let whole = store.task(&namespace, task.id).await?;
            rest.tasks.extend(whole.map(|task| words::snapshot(&task)));
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    rest.counted = counted(store).await?;
    Ok(rest)
}

async fn counted(store: &Store) -> Result<Vec<(State, u64)>, Error> {
    let queues = store.queues(&words::namespace(), String::new(), 1_000).await?;
    Ok(queues.iter().flat_map(words::counted).collect())
}
