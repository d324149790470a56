//! The register of agents.

use std::sync::Arc;

use nova_rpc::Lease;
use nova_storage::{Commit, Range};
use nova_types::{AgentId, Clock, Namespace, SpiffeId, Timestamp, TrustDomain};

use super::{AgentRecord, AgentState, Author, Description, Details, Transition, history};
use crate::error::Error;
use crate::records::{PAGE_BYTES, Records, decode, encode};

/// Where the last signs of live agents lie: what the detector reads, however many have retired.
const LIVE: &str = "agent-live/";

/// Every agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Agents {
    records: Records,
    clock: Arc<dyn Clock>,
    trust_domain: TrustDomain,
}

/// A page of agents.
#[derive(Clone, Debug)]
pub struct AgentPage {
    /// By id.
    pub agents: Vec<AgentRecord>,
    /// Key to go on from; none at the end.
    pub next: Option<String>,
}

impl Agents {
    /// The register in this store.
    pub fn new(records: Records, clock: Arc<dyn Clock>, trust_domain: TrustDomain) -> Self {
        Self { records, clock, trust_domain }
    }

    /// The same register, changed under a lease.
    pub(crate) fn under(&self, lease: Option<Arc<Lease>>) -> Self {
        Self { records: self.records.under(lease, &self.clock), ..self.clone() }
    }

    /// Stores an agent, or takes its new description over; a retired one comes back.
    pub async fn register(
        &self,
        namespace: &Namespace,
        description: &Description,
        author: &Author,
    ) -> Result<AgentRecord, Error> {
        let key = key(namespace, &description.id);
        let now = self.clock.now();
        let spiffe_id = SpiffeId::agent(&self.trust_domain, &description.id);
        self.records
            .change(&key, |found: Option<AgentRecord>| {
                let (mut record, mut moves) = match found {
                    Some(record) => (record, Vec::new()),
                    None => {
                        let (record, first) =
                            AgentRecord::new(namespace, description, spiffe_id.clone(), author, now);
                        (record, vec![first])
                    }
                };
                let changed = record.describe(description);
                if record.state == AgentState::Retired {
                    let why = Details::message("registered again");
                    moves.push(record.make_move(AgentState::Registered, why, author, now)?);
                }
                let commit = (changed || !moves.is_empty()).then(|| store(&key, &record, &moves));
                Ok((commit, record))
            })
            .await
    }

    /// An agent.
    pub async fn get(&self, namespace: &Namespace, id: &AgentId) -> Result<AgentRecord, Error> {
        let found = self.records.get(&key(namespace, id)).await?;
        found.map(|(record, _)| record).ok_or_else(|| Error::AgentUnknown(id.clone()))
    }

    /// Agents by id, all or those in one state.
    pub async fn list(
        &self,
        namespace: &Namespace,
        state: Option<AgentState>,
        size: usize,
        mut after: Option<String>,
    ) -> Result<AgentPage, Error> {
        let (mut agents, mut bytes) = (Vec::new(), 0);
        loop {
            let range = Range { after, ..Range::prefix(format!("agent/{namespace}/")).limit(size) };
            let (entries, next) = self.records.page(range).await?;
            for entry in entries {
                let agent: AgentRecord = decode(&entry.key, &entry.value)?;
                if state.is_none_or(|state| state == agent.state) {
                    agents.push(agent);
                    bytes += entry.value.len();
                }
                if agents.len() == size || bytes >= PAGE_BYTES {
                    return Ok(AgentPage { agents, next: Some(entry.key) });
                }
            }
            if next.is_none() {
                return Ok(AgentPage { agents, next });
            }
            after = next;
        }
    }

    /// Makes one legal move; only if the agent has the etag, when one is given.
    pub async fn set_state(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        to: AgentState,
        details: &Details,
        etag: &str,
        author: &Author,
    ) -> Result<AgentRecord, Error> {
        let now = self.clock.now();
        self.change(namespace, id, |record| {
            if !etag.is_empty() && etag != record.etag() {
                let (what, found) = (format!("agent {id}"), record.etag());
                return Err(Error::EtagMismatch { what, found, wanted: etag.to_owned() });
            }
            Ok(vec![record.make_move(to, details.clone(), author, now)?])
        })
        .await
    }

    /// A run engages an agent: it starts, unless it runs. Always writes, so that whoever lets the agent go
    /// at this moment is overtaken and looks again.
    pub async fn engage(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        why: &str,
        author: &Author,
    ) -> Result<(), Error> {
        use AgentState::{Active, Idle, Starting};
        let now = self.clock.now();
        let key = key(namespace, id);
        self.records
            .change(&key, |found: Option<AgentRecord>| {
                let mut record = found.ok_or_else(|| Error::AgentUnknown(id.clone()))?;
                let moves = match record.state {
                    Starting | Idle | Active => Vec::new(),
                    _ => record.walk(Starting, &Details::message(why), author, now)?,
                };
                Ok((Some(store(&key, &record, &moves)), ()))
            })
            .await
    }

    /// Makes the legal moves of an agent that ends to a state, unless it is `wanted` or has retired.
    /// `wanted` is asked under the record's version: whoever wants the agent first, and then writes, wins.
    pub async fn let_go(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        to: AgentState,
        wanted: impl Fn() -> bool,
        why: &str,
        author: &Author,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.change(namespace, id, |record| {
            if record.state == AgentState::Retired || wanted() {
                return Ok(Vec::new());
            }
            record.walk(to, &Details::message(why), author, now)
        })
        .await
        .map(|_| ())
    }

    /// Notes that an agent's process lives.
    pub async fn heartbeat(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        active_tasks: u32,
        author: &Author,
    ) -> Result<AgentState, Error> {
        let now = self.clock.now();
        let key = key(namespace, id);
        self.records
            .change(&key, |found: Option<AgentRecord>| {
                let mut record = found.ok_or_else(|| Error::AgentUnknown(id.clone()))?;
                let next = record.state_after_heartbeat(active_tasks);
                record.heartbeat_time = Some(now);
                let moves = record.walk(next, &Details::message("heartbeat"), author, now)?;
                Ok((Some(store(&key, &record, &moves)), record.state))
            })
            .await
    }

    /// Moves an agent to unreachable if it is still silent since `limit`.
    pub(super) async fn give_up(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        limit: Timestamp,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let author = Author {
            actor: SpiffeId::service(&self.trust_domain, "lifecycle").to_string(),
            ..Author::default()
        };
        self.change(namespace, id, |record| {
            if !record.state.is_live() || record.last_sign() >= limit {
                return Ok(Vec::new());
            }
            let silent = Details {
                error_code: "HEARTBEATS_MISSED".to_owned(),
                message: format!("not heard of since {}", record.last_sign()),
            };
            Ok(vec![record.make_move(AgentState::Unreachable, silent, &author, now)?])
        })
        .await
        .map(|_| ())
    }

    /// A page of an agent's history, newest first, and the key to go on from.
    pub async fn transitions(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        size: usize,
        after: Option<String>,
    ) -> Result<(Vec<Transition>, Option<String>), Error> {
        self.get(namespace, id).await?;
        history::page(&self.records, history::prefix(namespace, id), size, after).await
    }

    /// Live agents of every namespace that have given no sign since `limit`, by the index of live ones.
    pub(super) async fn silent_since(&self, limit: Timestamp) -> Result<Vec<(Namespace, AgentId)>, Error> {
        let mut silent = Vec::new();
        for entry in self.records.kv().scan(LIVE).await? {
            let last_sign: Timestamp = decode(&entry.key, &entry.value)?;
            if last_sign < limit {
                let name = entry.key.trim_start_matches(LIVE);
                let (namespace, id) = name.split_once('/').unwrap_or_default();
                silent.push((Namespace::parse("namespace", namespace)?, AgentId::parse("agent_id", id)?));
            }
        }
        Ok(silent)
    }

    pub(super) fn now(&self) -> nova_types::Timestamp {
        self.clock.now()
    }

    async fn change(
        &self,
        namespace: &Namespace,
        id: &AgentId,
        mut moves: impl FnMut(&mut AgentRecord) -> Result<Vec<Transition>, Error>,
    ) -> Result<AgentRecord, Error> {
        let key = key(namespace, id);
        self.records
            .change(&key, |found: Option<AgentRecord>| {
                let mut record = found.ok_or_else(|| Error::AgentUnknown(id.clone()))?;
                let moves = moves(&mut record)?;
                let commit = (!moves.is_empty()).then(|| store(&key, &record, &moves));
                Ok((commit, record))
            })
            .await
    }
}

fn key(namespace: &Namespace, id: &AgentId) -> String {
    format!("agent/{namespace}/{id}")
}

fn store(key: &str, record: &AgentRecord, moves: &[Transition]) -> Commit {
    let live = format!("{LIVE}{}/{}", record.namespace, record.id);
    let commit = Commit::new().put(key, encode(record));
    let commit = match record.state.is_live() {
        true => commit.put(live, encode(&record.last_sign())),
        false => commit.delete(live),
    };
    history::append(commit, record, moves)
}
