//! The register of sessions, found by id, by agent and by run.

use std::sync::Arc;

use nova_rpc::Lease;
use nova_storage::{Commit, Entry, Range};
use nova_types::{AgentId, Clock, Namespace, RequestId, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::check_size;
use super::{SessionChange, SessionRecord, SessionState};
use crate::agent::Details;
use crate::error::Error;
use crate::records::{PAGE_BYTES, Records, decode, encode};

/// Every session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(super) records: Records,
    clock: Arc<dyn Clock>,
}

/// A session to open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSession {
    /// Agent.
    pub agent_id: AgentId,
    /// Run that it belongs to; may be empty.
    pub run_id: String,
    /// First context.
    pub context: Map<String, Value>,
}

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Only this agent.
    pub agent_id: Option<AgentId>,
    /// Only this run; empty means all.
    pub run_id: String,
}

/// What a request_id was used for.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    id: SessionId,
    body: NewSession,
}

impl Sessions {
    /// The register in this store.
    pub fn new(records: Records, clock: Arc<dyn Clock>) -> Self {
        Self { records, clock }
    }

    /// The same register, changed under a lease.
    pub(crate) fn under(&self, lease: Option<Arc<Lease>>) -> Self {
        Self { records: self.records.under(lease, &self.clock), ..self.clone() }
    }

    /// Opens a session; the same request again gives the same session.
    pub async fn start(
        &self,
        namespace: &Namespace,
        new: NewSession,
        request_id: Option<&RequestId>,
    ) -> Result<SessionRecord, Error> {
        check_size("context_json", &new.context)?;
        let now = self.clock.now();
        let id = SessionId::new(now);
        let receipt_key = match request_id {
            Some(request_id) => receipt_key(namespace, request_id),
            None => format!("session-request/{namespace}//{id}"),
        };
        let keep_receipt = request_id.is_some();
        let opened = self.records.change(&receipt_key, |found: Option<Receipt>| {
            if let Some(receipt) = found {
                let same = receipt.body == new;
                return if same { Ok((None, receipt.id)) } else { Err(reused(request_id)) };
            }
            let mut commit = open(namespace, id, &new, request_id, now);
            if keep_receipt {
                commit = commit.put(receipt_key.clone(), encode(&Receipt { id, body: new.clone() }));
            }
            Ok((Some(commit), id))
        });
        let id = opened.await?;
        self.get(namespace, &id).await
    }

    /// A session.
    pub async fn get(&self, namespace: &Namespace, id: &SessionId) -> Result<SessionRecord, Error> {
        let found = self.records.get(&key(namespace, id)).await?;
        found.map(|(record, _)| record).ok_or(Error::SessionUnknown(*id))
    }

    /// Changes a session; only if it has the etag, when one is given. `allowed` may refuse.
    pub async fn update(
        &self,
        namespace: &Namespace,
        id: &SessionId,
        change: &SessionChange,
        etag: &str,
        allowed: impl Fn(&SessionRecord) -> Result<(), Error>,
    ) -> Result<SessionRecord, Error> {
        let (key, now) = (key(namespace, id), self.clock.now());
        self.records
            .change(&key, |found: Option<SessionRecord>| {
                let mut record = found.ok_or(Error::SessionUnknown(*id))?;
                allowed(&record)?;
                if !etag.is_empty() && etag != record.etag() {
                    let (what, found) = (format!("session {id}"), record.etag());
                    return Err(Error::EtagMismatch { what, found, wanted: etag.to_owned() });
                }
                record.change(change, now)?;
                Ok((Some(Commit::new().put(&key, encode(&record))), record))
            })
            .await
    }

    /// Sessions, newest first, and the key to go on from. Their contexts, too, may end a page.
    pub async fn list(
        &self,
        namespace: &Namespace,
        filter: &SessionFilter,
        size: usize,
        mut after: Option<String>,
    ) -> Result<(Vec<SessionRecord>, Option<String>), Error> {
        let prefix = filter.prefix(namespace);
        let (mut sessions, mut bytes) = (Vec::new(), 0);
        loop {
            let range = Range { after, ..Range::prefix(&prefix).limit(size).descending() };
            let (entries, next) = self.records.page(range).await?;
            for entry in entries {
                let Some((session, size_of_it)) = self.indexed(namespace, &entry).await? else { continue };
                if filter.agent_id.as_ref().is_none_or(|agent| *agent == session.agent_id) {
                    sessions.push(session);
                    bytes += size_of_it;
                }
                if sessions.len() == size || bytes >= PAGE_BYTES {
                    return Ok((sessions, Some(entry.key)));
                }
            }
            if next.is_none() {
                return Ok((sessions, next));
            }
            after = next;
        }
    }

    /// The session that an entry is, or points at, and the bytes of its record; none when it went meanwhile.
    async fn indexed(
        &self,
        namespace: &Namespace,
        entry: &Entry,
    ) -> Result<Option<(SessionRecord, usize)>, Error> {
        if !entry.value.is_empty() {
            return Ok(Some((decode(&entry.key, &entry.value)?, entry.value.len())));
        }
        let id = SessionId::parse("session_id", entry.key.rsplit('/').next().unwrap_or_default())?;
        let key = key(namespace, &id);
        let Some(found) = self.records.kv().get(&key).await? else { return Ok(None) };
        Ok(Some((decode(&key, &found.value)?, found.value.len())))
    }
}

impl SessionFilter {
    /// The narrowest index that holds all that are asked for.
    fn prefix(&self, namespace: &Namespace) -> String {
        match (&self.agent_id, self.run_id.as_str()) {
            (None, "") => format!("session/{namespace}/"),
            (Some(agent), "") => format!("session-by-agent/{namespace}/{agent}/"),
            (_, run) => format!("session-by-run/{namespace}/{run}/"),
        }
    }
}

fn open(
    namespace: &Namespace,
    id: SessionId,
    new: &NewSession,
    request_id: Option<&RequestId>,
    now: nova_types::Timestamp,
) -> Commit {
    let record = SessionRecord {
        id,
        namespace: namespace.clone(),
        agent_id: new.agent_id.clone(),
        run_id: new.run_id.clone(),
        state: SessionState::Waiting,
        details: Details::default(),
        context: new.context.clone(),
        revision: 1,
        create_time: now,
        update_time: now,
        request_id: request_id.cloned(),
    };
    let commit = Commit::new()
        .put(key(namespace, &id), encode(&record))
        .put(agent_key(namespace, &new.agent_id, &id), Vec::new());
    if new.run_id.is_empty() {
        return commit;
    }
    commit.put(run_key(namespace, &new.run_id, &id), Vec::new())
}

pub(super) fn key(namespace: &Namespace, id: &SessionId) -> String {
    format!("session/{namespace}/{id}")
}

pub(super) fn agent_key(namespace: &Namespace, agent: &AgentId, id: &SessionId) -> String {
    format!("session-by-agent/{namespace}/{agent}/{id}")
}

pub(super) fn run_key(namespace: &Namespace, run: &str, id: &SessionId) -> String {
    format!("session-by-run/{namespace}/{run}/{id}")
}

pub(super) fn receipt_key(namespace: &Namespace, request_id: &RequestId) -> String {
    format!("session-request/{namespace}/{request_id}")
}

fn reused(request_id: Option<&RequestId>) -> Error {
    Error::RequestReused(request_id.map(ToString::to_string).unwrap_or_default())
}
