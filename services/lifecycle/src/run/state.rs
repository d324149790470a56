//! Where a run stands: what its events add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use nova_types::{AgentId, SessionId, StepId, Timestamp};
use serde_json::Value;

use super::event::{Entry, Event, Skip, Start, StepError};
use super::given_up::GivenUp;
use crate::plan::{Expect, Phase, Step};

/// Why a log adds up to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is empty, or begins with something else.
    #[error("a run's log begins with run_started")]
    NoStart,
    /// An entry is missing.
    #[error("entry {found} of the log follows entry {last}")]
    Gap {
        /// Last entry before the gap.
        last: u64,
        /// The entry after it.
        found: u64,
    },
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// How it began.
    pub start: Arc<Start>,
    /// When it began.
    pub start_time: Timestamp,
    /// Number of its last event.
    pub sequence: u64,
    /// How far the watch of the queue has come; none before there is a watch.
    pub cursor: Option<String>,
    /// Whether the watch had to begin anew: news from before may be lost.
    pub news_lost: bool,
    /// Phases in the plan's order.
    pub phases: Vec<PhaseRecord>,
    /// Steps in the plan's order.
    pub steps: Vec<StepRecord>,
    /// Why its steps were ended before they had; none of most runs.
    pub given_up: Option<GivenUp>,
    /// How it ended.
    pub end: Option<End>,
    places: HashMap<StepId, usize>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub time: Timestamp,
    /// Whether every step ended as the plan expects.
    pub succeeded: bool,
    /// Which did not.
    pub message: String,
}

/// A phase of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseRecord {
    /// Where it stands.
    pub status: PhaseStatus,
    /// Session of each agent.
    pub sessions: BTreeMap<AgentId, SessionId>,
    /// Why it waits although it could begin, or could not begin.
    pub message: String,
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PhaseStatus {
    /// Waits for others.
    #[default]
    Pending,
    /// Its steps run.
    Running,
    /// Its steps have ended.
    Ended,
    /// It could not begin.
    Failed,
    /// It was left out.
    Skipped(Skip),
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Index of its phase.
    pub phase: usize,
    /// Index within its phase.
    pub place: usize,
    /// Steps that it needs.
    pub needs: Vec<usize>,
    /// Step whose fallback it is.
    pub primary: Option<usize>,
    /// Step that is its fallback.
    pub fallback: Option<usize>,
    /// Where it stands.
    pub status: StepStatus,
    /// Id of its task.
    pub task_id: Option<String>,
    /// When its task was enqueued.
    pub queue_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Attempts in order.
    pub attempts: Vec<Attempt>,
    /// What it, or its fallback, gave.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<StepError>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// Waits for others.
    Pending,
    /// Its task is in the queue.
    Queued,
    /// An agent works on it.
    Running,
    /// It failed, and its fallback has not ended.
    FallingBack,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Its fallback ended well.
    FellBack,
    /// Policy denied what it tried.
    Denied,
    /// The run was cancelled meanwhile.
    Cancelled,
    /// Does not run.
    Skipped(Skip),
}

/// One try at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Who made it; empty when nobody saw.
    pub agent: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<StepError>,
}

impl State {
    /// What a whole log adds up to.
    pub fn fold(log: &[Entry]) -> Result<Self, Error> {
        let (first, rest) = log.split_first().ok_or(Error::NoStart)?;
        let mut state = Self::begin(first)?;
        rest.iter().try_for_each(|entry| state.apply(entry))?;
        Ok(state)
    }

    /// A run at its first entry.
    pub fn begin(first: &Entry) -> Result<Self, Error> {
        let Event::RunStarted(start) = &first.event else { return Err(Error::NoStart) };
        let start = Arc::new(start.as_ref().clone());
        let places: HashMap<StepId, usize> =
            start.plan.steps().enumerate().map(|(at, (_, step))| (step.id.clone(), at)).collect();
        Ok(Self {
            phases: vec![PhaseRecord::default(); start.plan.spec.phases.len()],
            steps: step_records(&start, &places),
            start_time: first.time,
            sequence: first.sequence,
            cursor: None,
            news_lost: false,
            given_up: None,
            end: None,
            places,
            start,
        })
    }

    /// Takes the next entry of the log.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.sequence != self.sequence + 1 {
            return Err(Error::Gap { last: self.sequence, found: entry.sequence });
        }
        self.sequence = entry.sequence;
        self.news_lost |= entry.event == Event::WatchOpened && self.cursor.is_some();
        if entry.cursor.is_some() {
            self.cursor.clone_from(&entry.cursor);
        }
        super::fold::fold(self, entry.time, &entry.event);
        Ok(())
    }

    /// Index of a step.
    pub fn step_index(&self, id: &StepId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// A step, its fallback, the fallback of that, and so on: its result is that of one of them.
    pub fn fallbacks_from(&self, index: usize) -> BTreeSet<StepId> {
        let chain = std::iter::successors(Some(index), |index| self.steps[*index].fallback);
        // At most once around, whatever a log says.
        chain.take(self.steps.len()).map(|index| self.step(index).id.clone()).collect()
    }

    /// What the plan says of a step.
    pub fn step(&self, index: usize) -> &Step {
        let record = &self.steps[index];
        &self.start.plan.spec.phases[record.phase].steps[record.place]
    }

    /// What the plan says of a phase.
    pub fn phase(&self, index: usize) -> &Phase {
        self.start.phase(index)
    }

    /// Steps of a phase.
    pub fn steps_of(&self, phase: usize) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(move |index| self.steps[*index].phase == phase)
    }

    /// Agents that the run has engaged so far.
    pub fn agents(&self) -> BTreeSet<AgentId> {
        self.phases.iter().flat_map(|phase| phase.sessions.keys().cloned()).collect()
    }

    /// Those of them that are still needed, by phases that have not ended. While one waits for a place, only by phases
    /// that run or wait: an agent that is idle until later gives its place up.
    pub fn agents_needed(&self) -> BTreeSet<AgentId> {
        let one_waits = self.phases.iter().any(PhaseRecord::waits);
        let needs = |phase: &PhaseRecord| match phase.status {
            PhaseStatus::Pending => !one_waits || phase.waits(),
            PhaseStatus::Running => true,
            PhaseStatus::Ended | PhaseStatus::Failed | PhaseStatus::Skipped(_) => false,
        };
        let needing = self.start.plan.spec.phases.iter().zip(&self.phases).filter(|(_, phase)| needs(phase));
        let needed: BTreeSet<_> = needing.flat_map(|(spec, _)| spec.agents.iter().cloned()).collect();
        self.agents().intersection(&needed).cloned().collect()
    }

    /// When the run is given up.
    pub fn deadline(&self) -> Timestamp {
        self.start_time + self.start.plan.spec.timeout.get()
    }

    /// Whether every phase has ended: nothing is left to wait for.
    pub fn is_settled(&self) -> bool {
        self.phases.iter().all(|phase| phase.status.is_settled())
    }

    /// Whether somebody cancelled it before it had ended.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.given_up, Some(GivenUp::Cancelled { .. }))
    }

    /// Whether a step ended as the plan expects, or was rightly left out.
    pub fn as_expected(&self, index: usize) -> bool {
        match self.steps[index].status {
            StepStatus::Skipped(Skip::LeftOut | Skip::Condition | Skip::NotNeeded) => true,
            status => status == self.step(index).expect.status(),
        }
    }

    /// Whether those that need the step may go on; none while it has not ended.
    pub fn satisfies(&self, index: usize) -> Option<bool> {
        let status = self.steps[index].status;
        let good = matches!(status, StepStatus::Succeeded | StepStatus::FellBack);
        status.is_settled().then(|| good || self.as_expected(index))
    }
}

impl StepStatus {
    /// Whether it is the last one.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Queued | Self::Running | Self::FallingBack)
    }

    /// Stable name, as expressions see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running | Self::FallingBack => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::FellBack => "fell_back",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Skipped(_) => "skipped",
        }
    }
}

impl PhaseRecord {
    /// Whether it could begin, but for something that it waits for.
    fn waits(&self) -> bool {
        self.status == PhaseStatus::Pending && !self.message.is_empty()
    }
}

impl PhaseStatus {
    /// Whether it is the last one.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl Expect {
    /// The status that is expected.
    pub fn status(self) -> StepStatus {
        match self {
            Self::Succeeded => StepStatus::Succeeded,
            Self::Failed => StepStatus::Failed,
            Self::FellBack => StepStatus::FellBack,
            Self::Denied => StepStatus::Denied,
        }
    }
}

fn step_records(start: &Start, places: &HashMap<StepId, usize>) -> Vec<StepRecord> {
    let mut place_in_phase = vec![0; start.plan.spec.phases.len()];
    let mut records: Vec<StepRecord> = Vec::with_capacity(places.len());
    for (phase, step) in start.plan.steps() {
        let needs = step.needs.iter().filter_map(|need| places.get(need).copied()).collect();
        let fallback = step.fallback.as_ref().and_then(|id| places.get(id).copied());
        let mut record = StepRecord::new(phase, place_in_phase[phase], needs, fallback);
        if start.skip_phases.contains(&start.plan.spec.phases[phase].name) {
            record.status = StepStatus::Skipped(Skip::LeftOut);
        }
        records.push(record);
        place_in_phase[phase] += 1;
    }
    for index in 0..records.len() {
        if let Some(fallback) = records[index].fallback {
            records[fallback].primary = Some(index);
        }
    }
    records
}

impl StepRecord {
    fn new(phase: usize, place: usize, needs: Vec<usize>, fallback: Option<usize>) -> Self {
        Self {
            phase,
            place,
            needs,
            primary: None,
            fallback,
            status: StepStatus::Pending,
            task_id: None,
            queue_time: None,
            end_time: None,
            attempts: Vec::new(),
            result: None,
            error: None,
        }
    }

    /// The attempt that has not ended.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.end.is_none())
    }

    /// Who ended it, or holds it; empty when nobody was seen.
    pub fn agent(&self) -> &str {
        self.attempts.last().map_or("", |attempt| &attempt.agent)
    }
}
