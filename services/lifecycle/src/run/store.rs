//! The logs of runs, and an index of them. A commit adds entries and moves the run's head on; the
//! head's version is the fence: of two drivers of one run, only one can commit.

use std::sync::Arc;

use nova_rpc::Lease;
use nova_storage::{Commit, CommitError, Range, Revision};
use nova_types::{Clock, Namespace, RequestId, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::event::{Entry, Event, Start};
use super::state::{End, State};
use crate::error::Error;
use crate::records::{Records, decode, encode};

/// Entries of one commit at most; below the store's limits of operations and of bytes.
const MAX_ENTRIES: usize = 500;
const MAX_BYTES: usize = 8 << 20;
/// Where the index of runs that have not ended lies.
const OPEN: &str = "run-open/";

/// Every run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runs {
    pub(super) records: Records,
    clock: Arc<dyn Clock>,
    commits: Arc<watch::Sender<u64>>,
}

/// What is known of a run without its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Id.
    pub run_id: RunId,
    /// Namespace that it lives in.
    pub namespace: Namespace,
    /// Name of the plan.
    pub plan: String,
    /// Who started it.
    pub actor: String,
    /// Trace, 32 hex digits; may be empty.
    pub trace_id: String,
    /// When it began.
    pub start_time: Timestamp,
    /// Number of the last entry of its log.
    pub sequence: u64,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Whether every step ended as expected; false while it goes on.
    pub succeeded: bool,
    /// Whether it ended because somebody asked for it.
    #[serde(default)]
    pub cancelled: bool,
    /// What did not.
    pub message: String,
    /// Request that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// What a request_id was used for.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    run_id: RunId,
    fingerprint: String,
}

impl Runs {
    /// The runs in this store.
    pub fn new(records: Records, clock: Arc<dyn Clock>) -> Self {
        Self { records, clock, commits: Arc::new(watch::Sender::new(0)) }
    }

    /// The same runs, changed under a lease: only while it stands.
    pub(crate) fn under(&self, lease: Option<Arc<Lease>>) -> Self {
        Self { records: self.records.under(lease, &self.clock), ..self.clone() }
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The run that this request started before. `fingerprint` tells requests apart.
    pub async fn started_by(
        &self,
        namespace: &Namespace,
        request_id: &RequestId,
        fingerprint: &str,
    ) -> Result<Option<RunId>, Error> {
        let found = self.records.get::<Receipt>(&receipt_key(namespace, request_id)).await?;
        match found {
            None => Ok(None),
            Some((receipt, _)) if receipt.fingerprint == fingerprint => Ok(Some(receipt.run_id)),
            Some(_) => Err(Error::RequestReused(request_id.to_string())),
        }
    }

    /// Stores a new run, open, with its first entry, and a receipt of the request that starts it, if that has an id.
    pub async fn create(&self, start: Start, fingerprint: &str) -> Result<(), Error> {
        let time = self.clock.now();
        let head = Head::new(&start, time);
        let (namespace, run_id, request_id) =
            (start.namespace.clone(), start.run_id, start.request_id.clone());
        let entry = Entry { sequence: 1, time, cursor: None, event: Event::RunStarted(Box::new(start)) };
        let mut commit = Commit::new()
            .absent(head_key(&namespace, &run_id))
            .put(head_key(&namespace, &run_id), encode(&head))
            .put(entry_key(&run_id, 1), encode(&entry))
            .put(open_key(&run_id), encode(&namespace));
        if let Some(request_id) = request_id {
            let key = receipt_key(&namespace, &request_id);
            let receipt = Receipt { run_id, fingerprint: fingerprint.to_owned() };
            commit = commit.absent(&key).put(&key, encode(&receipt));
        }
        self.commit(commit).await?;
        Ok(())
    }

    /// What is known of a run, and its fence.
    pub async fn head(&self, namespace: &Namespace, run_id: RunId) -> Result<(Head, Revision), Error> {
        self.records.get(&head_key(namespace, &run_id)).await?.ok_or(Error::RunUnknown(run_id))
    }

    /// Runs, newest first, and the key to go on from.
    pub async fn list(
        &self,
        namespace: &Namespace,
        size: usize,
        after: Option<String>,
    ) -> Result<(Vec<Head>, Option<String>), Error> {
        let range = Range::prefix(format!("run/{namespace}/")).limit(size).descending();
        let (entries, next) = self.records.page(Range { after, ..range }).await?;
        let heads = entries.iter().map(|entry| decode(&entry.key, &entry.value)).collect::<Result<_, _>>()?;
        Ok((heads, next))
    }

    /// Those of [`Runs::list`] that have not ended. The key goes on in the index of all namespaces' open runs.
    pub async fn list_open(
        &self,
        namespace: &Namespace,
        size: usize,
        after: Option<String>,
    ) -> Result<(Vec<Head>, Option<String>), Error> {
        let range = Range::prefix(OPEN).limit(size).descending();
        let (entries, next) = self.records.page(Range { after, ..range }).await?;
        let mut heads = Vec::new();
        for (of, run_id) in entries.iter().map(open_run).collect::<Result<Vec<_>, _>>()? {
            if of == *namespace {
                heads.push(self.head(namespace, run_id).await?.0);
            }
        }
        Ok((heads, next))
    }

    /// Keeps for the run's drivers that somebody wants it to end. Who asked first stays; one that has ended has none.
    pub async fn ask_to_cancel(&self, run_id: RunId, by: &str) -> Result<(), Error> {
        let (open, asked) = (open_key(&run_id), cancel_key(&run_id));
        let Some(entry) = self.records.kv().get(&open).await? else { return Ok(()) };
        let commit = Commit::new().check(open, Some(entry.version)).absent(&asked).put(&asked, encode(&by));
        match self.commit(commit).await {
            Ok(_) | Err(Error::Contended(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who wants the run to end, a SPIFFE id.
    pub async fn cancelled_by(&self, run_id: RunId) -> Result<Option<String>, Error> {
        Ok(self.records.get(&cancel_key(&run_id)).await?.map(|(by, _)| by))
    }

    /// Runs that have not ended.
    pub async fn open(&self) -> Result<Vec<(Namespace, RunId)>, Error> {
        self.records.kv().scan(OPEN).await?.iter().map(open_run).collect()
    }

    /// Adds entries to a run's log, and its report when it has ended. Gives the new fence.
    pub async fn append(
        &self,
        state: &State,
        entries: &[Entry],
        report: Option<&str>,
        mut fence: Revision,
    ) -> Result<Revision, Error> {
        let (namespace, run_id) = (&state.start.namespace, state.start.run_id);
        let mut head = Head::new(&state.start, state.start_time);
        for batch in batches(&run_id, entries) {
            let last = batch.last().map_or(0, |(sequence, _)| *sequence);
            head.sequence = last;
            let mut commit = Commit::new().check(head_key(namespace, &run_id), Some(fence));
            if let Some(end) = state.end.as_ref().filter(|_| last == state.sequence) {
                head.end(end, state.is_cancelled());
                commit = commit.delete(open_key(&run_id)).delete(cancel_key(&run_id));
                if let Some(report) = report {
                    commit = commit.put(report_key(&run_id), report);
                }
            }
            for (sequence, bytes) in batch {
                commit = commit.put(entry_key(&run_id, sequence), bytes);
            }
            fence = self.commit(commit.put(head_key(namespace, &run_id), encode(&head))).await?;
        }
        Ok(fence)
    }

    /// The report of a run that has ended.
    pub async fn report(&self, run_id: RunId) -> Result<Option<String>, Error> {
        let entry = self.records.kv().get(&report_key(&run_id)).await?;
        Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
    }

    /// Changes whenever this process has committed something of any run.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    pub(super) async fn commit(&self, commit: Commit) -> Result<Revision, Error> {
        match self.records.commit(commit).await? {
            Ok(revision) => {
                self.commits.send_replace(revision);
                Ok(revision)
            }
            Err(CommitError::Conflict { key }) => Err(Error::Contended(key)),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

impl Head {
    fn new(start: &Start, time: Timestamp) -> Self {
        Self {
            run_id: start.run_id,
            namespace: start.namespace.clone(),
            plan: start.plan.metadata.name.clone(),
            actor: start.actor.clone(),
            trace_id: start.recorded_trace_id().to_owned(),
            start_time: time,
            sequence: 1,
            end_time: None,
            succeeded: false,
            cancelled: false,
            message: String::new(),
            request_id: start.request_id.clone(),
        }
    }

    fn end(&mut self, end: &End, cancelled: bool) {
        self.end_time = Some(end.time);
        self.succeeded = end.succeeded;
        self.cancelled = cancelled;
        self.message = shortened(&end.message);
    }
}

/// Entries as bytes, in batches that a commit can take.
fn batches(run_id: &RunId, entries: &[Entry]) -> Vec<Vec<(u64, Vec<u8>)>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for entry in entries {
        let encoded = encode(entry);
        tracing::trace!(%run_id, sequence = entry.sequence, bytes = encoded.len(), "entry");
        let full = batches.last().is_some_and(|batch| batch.len() == MAX_ENTRIES)
            || bytes + encoded.len() > MAX_BYTES;
        if full {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += encoded.len();
        batches.last_mut().expect("there is one from the start").push((entry.sequence, encoded));
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn shortened(message: &str) -> String {
    message.chars().take(4_096).collect()
}

pub(super) fn head_key(namespace: &Namespace, run_id: &RunId) -> String {
    format!("run/{namespace}/{run_id}")
}

pub(super) fn log_prefix(run_id: &RunId) -> String {
    format!("run-log/{run_id}/")
}

pub(super) fn entry_key(run_id: &RunId, sequence: u64) -> String {
    format!("run-log/{run_id}/{sequence:012}")
}

fn open_key(run_id: &RunId) -> String {
    format!("{OPEN}{run_id}")
}

fn open_run(entry: &nova_storage::Entry) -> Result<(Namespace, RunId), Error> {
    let id = entry.key.trim_start_matches(OPEN);
    Ok((decode(&entry.key, &entry.value)?, RunId::parse("run_id", id)?))
}

fn cancel_key(run_id: &RunId) -> String {
    format!("run-cancel/{run_id}")
}

pub(super) fn report_key(run_id: &RunId) -> String {
    format!("run-report/{run_id}")
}

pub(super) fn receipt_key(namespace: &Namespace, request_id: &RequestId) -> String {
    format!("run-request/{namespace}/{request_id}")
}
