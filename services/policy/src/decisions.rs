//! The record of decisions: each is kept once, by its id, and the oldest give way.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use nova_authz::{Batch, Decided, DecisionSink, ReportError};
use nova_storage::{Commit, Entry, Kv, Range};
use nova_types::DecisionId;
use tokio::sync::Notify;

use crate::Error;
use crate::decision_keys::{self as keys, DECISIONS, DENIED, KEYS_EACH};

const DROPPED: &str = "policy/dropped";
/// Decisions of one commit: with all their keys they fit into it.
const TOGETHER: usize = nova_storage::kv::MAX_OPERATIONS / KEYS_EACH - 1;
/// Entries read at once.
const PAGE: usize = 500;

/// Which decisions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Only those that were allowed, or only those that were not.
    pub(crate) allow: Option<bool>,
    /// Only those of this trace; empty means all.
    pub(crate) trace_id: String,
}

impl Filter {
    fn matches(&self, decided: &Decided) -> bool {
        self.allow.is_none_or(|allow| allow == decided.allow)
            && (self.trace_id.is_empty() || self.trace_id == decided.trace_id)
    }

    /// Where the decisions, or the narrowest index of them, are.
    fn prefix(&self) -> String {
        match (self.trace_id.as_str(), self.allow) {
            ("", Some(false)) => DENIED.to_owned(),
            ("", _) => DECISIONS.to_owned(),
            (trace_id, _) => keys::trace_prefix(trace_id),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Decisions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kv: Arc<dyn Kv>,
    kept: usize,
    known: Mutex<Known>,
    grown: Notify,
}

/// What is in the store, so that nothing is counted or written twice.
#[derive(Debug, Default)]
struct Known {
    ids: BTreeSet<DecisionId>,
    dropped: u64,
}

impl Decisions {
    /// The record in `kv`, which keeps about `kept` decisions.
    pub(crate) async fn open(kv: Arc<dyn Kv>, kept: usize) -> Result<Self, Error> {
        let dropped = match kv.get(DROPPED).await? {
            Some(entry) => serde_json::from_slice(&entry.value).map_err(|e| Error::damaged(DROPPED, e))?,
            None => 0,
        };
        let known = Mutex::new(Known { ids: BTreeSet::new(), dropped });
        Ok(Self(Arc::new(Inner { kv, kept, known, grown: Notify::new() })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decisions that are kept, and how many daemons had to drop.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let known = self.known();
        (known.ids.len() as u64, known.dropped)
    }

    /// Records decisions. One that is recorded already stays as it is.
    pub(crate) async fn record(&self, decisions: &[Arc<Decided>], dropped: u64) -> Result<(), Error> {
        let new = self.unknown(decisions);
        try_join_all(new.chunks(TOGETHER).map(|chunk| self.commit(chunk))).await?;
        self.add_dropped(dropped).await?;
        self.known().ids.extend(new.iter().map(|decided| decided.id));
        self.0.grown.notify_one();
        Ok(())
    }

    fn unknown(&self, decisions: &[Arc<Decided>]) -> Vec<Arc<Decided>> {
        let known = self.known();
        let mut seen = HashSet::new();
        let is_new = |decided: &&Arc<Decided>| !known.ids.contains(&decided.id) && seen.insert(decided.id);
        decisions.iter().filter(is_new).cloned().collect()
    }

    async fn commit(&self, decisions: &[Arc<Decided>]) -> Result<(), Error> {
        let commit = decisions.iter().fold(Commit::new(), |commit, decided| keys::put(commit, decided));
        self.0.kv.commit(commit).await?;
        Ok(())
    }

    async fn add_dropped(&self, dropped: u64) -> Result<(), Error> {
        if dropped == 0 {
            return Ok(());
        }
        let total = self.known().dropped.saturating_add(dropped);
        self.0.kv.commit(Commit::new().put(DROPPED, total.to_string())).await?;
        self.known().dropped = total;
        Ok(())
    }

    /// One decision.
    pub(crate) async fn get(&self, id: DecisionId) -> Result<Decided, Error> {
        let found = self.fetch(&id.to_string()).await?;
        found.ok_or_else(|| Error::NoDecision(id.to_string()))
    }

    async fn fetch(&self, id: &str) -> Result<Option<Decided>, Error> {
        let entry = self.0.kv.get(&keys::decision_key(id)).await?;
        entry.as_ref().map(decode).transpose()
    }

    /// A page, newest first, of decisions older than `before`; fewer than `limit` are the last.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        before: Option<DecisionId>,
        limit: usize,
    ) -> Result<Vec<Decided>, Error> {
        let prefix = filter.prefix();
        let mut after = before.map(|id| format!("{prefix}{id}"));
        let mut found = Vec::new();
        while found.len() < limit {
            let range = Range { after, ..Range::prefix(prefix.clone()).limit(PAGE).descending() };
            let page = self.0.kv.range(range).await?;
            let decisions = self.decisions_at(&page).await?;
            let wanted = decisions.into_iter().filter(|decided| filter.matches(decided));
            found.extend(wanted.take(limit - found.len()));
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|entry| entry.key.clone());
        }
        Ok(found)
    }

    /// The decisions themselves, whether the entries are they or lead to them.
    async fn decisions_at(&self, entries: &[Entry]) -> Result<Vec<Decided>, Error> {
        if entries.first().is_some_and(|entry| entry.key.starts_with(DECISIONS)) {
            return entries.iter().map(decode).collect();
        }
        let fetched = join_all(entries.iter().map(|entry| self.fetch(keys::id_of(&entry.key)))).await;
        fetched.into_iter().filter_map(Result::transpose).collect()
    }

    /// Learns what is kept from before, in the order of its keys.
    pub(crate) async fn learn(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let range = Range { after, ..Range::prefix(DECISIONS).limit(PAGE) };
            let page = self.0.kv.range(range).await?;
            let ids = page.iter().filter_map(|entry| DecisionId::parse("id", keys::id_of(&entry.key)).ok());
            self.known().ids.extend(ids);
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|entry| entry.key.clone());
        }
    }

    /// Waits until something was recorded.
    pub(crate) async fn grown(&self) {
        self.0.grown.notified().await;
    }

    /// Lets the oldest go until no more are kept than should be.
    pub(crate) async fn trim(&self) -> Result<(), Error> {
        loop {
            let excess = self.known().ids.len().saturating_sub(self.0.kept);
            if excess == 0 {
                return Ok(());
            }
            self.delete_oldest(excess.min(TOGETHER)).await?;
        }
    }

    async fn delete_oldest(&self, count: usize) -> Result<(), Error> {
        let oldest: Vec<DecisionId> = self.known().ids.iter().take(count).copied().collect();
        let fetched = join_all(oldest.iter().map(|id| self.get(*id))).await;
        let mut commit = Commit::new();
        for (id, decided) in oldest.iter().zip(fetched) {
            commit = match decided {
                Ok(decided) => keys::delete(commit, &decided),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(_missing_or_damaged) => commit.delete(keys::decision_key(&id.to_string())),
            };
        }
        self.0.kv.commit(commit).await?;
        let mut known = self.known();
        for id in &oldest {
            known.ids.remove(id);
        }
        Ok(())
    }
}

fn decode(entry: &Entry) -> Result<Decided, Error> {
    serde_json::from_slice(&entry.value).map_err(|error| Error::damaged(&entry.key, error))
}

/// The daemon records its own decisions without a call to itself.
#[async_trait]
impl DecisionSink for Decisions {
    async fn record(&self, batch: &Batch) -> Result<(), ReportError> {
        let recorded = Decisions::record(self, &batch.decisions, batch.dropped).await;
        recorded.map_err(|error| ReportError { retryable: true, message: error.to_string() })
    }
}
