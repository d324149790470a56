//! An agent as it is stored, and the moves that its record allows.

use std::collections::BTreeMap;

use nova_types::{AgentId, Namespace, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AgentState, Author, Description};
use crate::error::Error;

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Id.
    pub id: AgentId,
    /// Namespace that it lives in.
    pub namespace: Namespace,
    /// What it is for.
    pub role: String,
    /// Queues that it works on.
    pub capabilities: Vec<String>,
    /// Version.
    pub version: String,
    /// Framework that drives it.
    pub framework: String,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Where it stands.
    pub state: AgentState,
    /// Details of that.
    pub details: Details,
    /// SPIFFE id.
    pub spiffe_id: SpiffeId,
    /// Grows with every change but heartbeats; the etag.
    pub revision: u64,
    /// Moves made so far.
    pub moves: u64,
    /// When it was first registered.
    pub create_time: Timestamp,
    /// When its state last changed.
    pub update_time: Timestamp,
    /// When it was last heard of.
    pub heartbeat_time: Option<Timestamp>,
}

/// Why a state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Stable, for programs.
    pub error_code: String,
    /// For people.
    pub message: String,
}

impl Details {
    /// Details that only people need.
    pub fn message(message: impl Into<String>) -> Self {
        Self { error_code: String::new(), message: message.into() }
    }
}

/// A move that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// From; none for the first.
    pub from: Option<AgentState>,
    /// To.
    pub to: AgentState,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    pub details: Details,
    /// When.
    pub time: Timestamp,
    /// Trace that it belongs to.
    pub trace_id: String,
}

impl AgentRecord {
    /// An agent that is registered for the first time, and that first move.
    pub(super) fn new(
        namespace: &Namespace,
        description: &Description,
        spiffe_id: SpiffeId,
        author: &Author,
        now: Timestamp,
    ) -> (Self, Transition) {
        let record = Self {
            id: description.id.clone(),
            namespace: namespace.clone(),
            role: String::new(),
            capabilities: Vec::new(),
            version: String::new(),
            framework: String::new(),
            metadata: BTreeMap::new(),
            state: AgentState::Registered,
            details: Details::default(),
            spiffe_id,
            revision: 0,
            moves: 1,
            create_time: now,
            update_time: now,
            heartbeat_time: None,
        };
        let first = Transition {
            from: None,
            to: AgentState::Registered,
            actor: author.actor.clone(),
            details: Details::default(),
            time: now,
            trace_id: author.trace_id.clone(),
        };
        (record, first)
    }

    /// The etag.
    pub fn etag(&self) -> String {
        self.revision.to_string()
    }

    /// Takes a description over; says whether it changed anything.
    pub(super) fn describe(&mut self, description: &Description) -> bool {
        let before = self.clone();
        self.role.clone_from(&description.role);
        self.capabilities.clone_from(&description.capabilities);
        self.version.clone_from(&description.version);
        self.framework.clone_from(&description.framework);
        self.metadata.clone_from(&description.metadata);
        let changed = *self != before;
        self.revision += u64::from(changed);
        changed
    }

    /// Makes a legal move.
    pub(super) fn make_move(
        &mut self,
        to: AgentState,
        details: Details,
        author: &Author,
        now: Timestamp,
    ) -> Result<Transition, Error> {
        let from = self.state;
        if !from.can_become(to) {
            return Err(Error::IllegalAgentMove { from, to, legal: from.legal_next() });
        }
        self.state = to;
        self.details.clone_from(&details);
        self.revision += 1;
        self.moves += 1;
        self.update_time = now;
        let (actor, trace_id) = (author.actor.clone(), author.trace_id.clone());
        Ok(Transition { from: Some(from), to, actor, details, time: now, trace_id })
    }

    /// Makes the legal moves that lead to a state; none when it is there.
    pub(super) fn walk(
        &mut self,
        to: AgentState,
        details: &Details,
        author: &Author,
        now: Timestamp,
    ) -> Result<Vec<Transition>, Error> {
        let way = self.state.way_to(to);
        way.into_iter().map(|next| self.make_move(next, details.clone(), author, now)).collect()
    }

    /// Where a heartbeat leads: work or its absence shows, and so does a process that came back.
    pub(super) fn state_after_heartbeat(&self, active_tasks: u32) -> AgentState {
        match self.state {
            AgentState::Draining | AgentState::Retired | AgentState::Error => self.state,
            _ if active_tasks > 0 => AgentState::Active,
            _ => AgentState::Idle,
        }
    }

    /// When it was last heard of, or moved.
    pub(super) fn last_sign(&self) -> Timestamp {
        self.heartbeat_time.map_or(self.update_time, |heartbeat| heartbeat.max(self.update_time))
    }
}
