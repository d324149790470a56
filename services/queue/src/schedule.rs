//! Schedules: which task is made when, which ticks are due, and how a schedule is kept.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use nova_types::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    codec::{pack_spec, unpack_spec},
    cron::Cron,
    error::Error,
    record::NewTask,
    task::Micros,
};

/// A tick that nobody saw for this long is missed.
const GRACE: Micros = 60_000_000;

/// Most missed ticks that are caught up with.
const CAUGHT_UP: usize = 1_000;

/// Labels that the queue gives to a task of a schedule: its schedule's name and its tick.
pub const LABELS: [&str; 2] = ["schedule", "tick"];

/// Names a schedule: its namespace and its name.
pub type Key = (Arc<str>, Arc<str>);

/// What becomes of missed ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One task for all of them.
    #[default]
    Once,
    /// No task.
    Skip,
    /// A task for each.
    All,
}

/// A tick that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The tick.
    pub at: Micros,
    /// The task that it made.
    pub task: Uuid,
}

/// A schedule and how far it is.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Namespace and name.
    pub key: Key,
    /// When it ticks.
    pub cron: Arc<Cron>,
    /// What it enqueues.
    pub task: NewTask,
    /// The task as its producer wrote it, without the payload: opaque here.
    pub said: Arc<[u8]>,
    /// What becomes of missed ticks.
    pub missed: Missed,
    /// No tick fires.
    pub paused: bool,
    /// When it was stored first.
    pub created: Micros,
    /// Ticks up to here are done with.
    pub seen: Micros,
    /// The last tick that fired.
    pub last: Option<Fired>,
    /// Ticks that made no task, since none was taken in.
    pub skipped: u64,
}

impl Schedule {
    /// The next tick.
    pub fn next(&self) -> Option<Micros> {
        if self.paused { None } else { self.cron.next(self.seen) }
    }

    /// The ticks that fire at `now`, and the instant up to which ticks are done with then.
    pub fn due(&self, now: Micros) -> (Vec<Micros>, Micros) {
        let (mut ticks, mut seen) = (Vec::new(), self.seen);
        let mut next = self.next();
        let late = now.saturating_sub(GRACE);
        if let Some(first) = next.filter(|first| *first <= late) {
            next = self.cron.next(late);
            ticks = self.caught_up(first, late, next.is_some_and(|next| next <= now));
            seen = late;
        }
        while let Some(at) = next.filter(|at| *at <= now) {
            ticks.push(at);
            seen = at;
            next = self.cron.next(at);
        }
        (ticks, seen)
    }

    /// Which of the ticks from `first` to `late` fire; `with` says that another one fires with them.
    fn caught_up(&self, first: Micros, late: Micros, with: bool) -> Vec<Micros> {
        match self.missed {
            Missed::Skip => Vec::new(),
            Missed::Once if with => Vec::new(),
            Missed::Once => vec![self.cron.latest(late).map_or(first, |latest| latest.clamp(first, late))],
            Missed::All => {
                let ticks = std::iter::successors(Some(first), |at| self.cron.next(*at));
                ticks.take_while(|at| *at <= late).take(CAUGHT_UP).collect()
            }
        }
    }

    /// The task of a tick.
    pub fn task_at(&self, tick: Micros, traceparent: String) -> NewTask {
        let mut task = self.task.clone();
        let values = [self.key.1.to_string(), Timestamp::from_micros(tick).to_string()];
        let labels = LABELS.into_iter().map(Box::from).zip(values.map(String::into_boxed_str));
        task.spec.metadata.extend(labels);
        task.spec.metadata.sort_unstable();
        task.spec.traceparent = traceparent.into();
        task
    }

    /// As it is kept.
    pub fn fact(&self) -> String {
        let fact = Fact {
            cron: self.cron.expression().into(),
            time_zone: self.cron.zone_name().into(),
            spec: BASE64.encode(pack_spec(&self.task.spec)),
            payload: BASE64.encode(&self.task.payload),
            said: BASE64.encode(&self.said),
            missed: self.missed,
            paused: self.paused,
            created: self.created,
            seen: self.seen,
            last: self.last,
            skipped: self.skipped,
        };
        serde_json::to_string(&fact).expect("a schedule is plain values")
    }

    /// From what was kept under its key.
    ///
    /// # Errors
    /// It is damaged.
    pub fn from_fact(key: Key, fact: &str) -> Result<Self, Error> {
        let name = key.1.to_string();
        Self::read(key, fact).map_err(|why| Error::Store(format!("schedule {name:?} is damaged: {why}")))
    }

    fn read(key: Key, fact: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let fact: Fact = serde_json::from_str(fact)?;
        let spec = unpack_spec(&BASE64.decode(fact.spec)?)?;
        let payload = BASE64.decode(fact.payload)?.into();
        Ok(Self {
            key,
            cron: Arc::new(Cron::parse(&fact.cron, &fact.time_zone)?),
            task: NewTask { spec, payload, delay: Duration::ZERO, after_index: Vec::new() },
            said: BASE64.decode(fact.said)?.into(),
            missed: fact.missed,
            paused: fact.paused,
            created: fact.created,
            seen: fact.seen,
            last: fact.last,
            skipped: fact.skipped,
        })
    }
}

/// A schedule as JSON: the task as `codec` packs it, in base64.
#[derive(Debug, Serialize, Deserialize)]
struct Fact {
    cron: String,
    time_zone: String,
    spec: String,
    payload: String,
    said: String,
    missed: Missed,
    paused: bool,
    created: Micros,
    seen: Micros,
    last: Option<Fired>,
    skipped: u64,
}
