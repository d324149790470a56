//! Forgets sessions, with all that finds them.

use nova_storage::{Commit, CommitError, Range};
use nova_types::{Namespace, RunId, Timestamp};

use super::SessionRecord;
use super::store::{SessionFilter, Sessions, agent_key, key, receipt_key, run_key};
use crate::error::Error;
use crate::records::decode;

/// Sessions that are looked at together.
const PAGE: usize = 100;
/// Sessions that one pass forgets at most.
const MOST: usize = 10_000;

impl Sessions {
    /// Forgets the sessions of a run that has ended; says how many.
    pub(crate) async fn forget_of_run(&self, namespace: &Namespace, run_id: RunId) -> Result<usize, Error> {
        let of_the_run = SessionFilter { run_id: run_id.to_string(), ..SessionFilter::default() };
        let mut forgotten = 0;
        loop {
            let (page, _) = self.list(namespace, &of_the_run, PAGE, None).await?;
            if page.is_empty() {
                return Ok(forgotten);
            }
            for session in page {
                self.forget(&session).await?;
                forgotten += 1;
            }
        }
    }

    /// Forgets sessions that ended before a time; says how many.
    pub(crate) async fn forget_ended_before(&self, limit: Timestamp) -> Result<usize, Error> {
        let (mut forgotten, mut after) = (0, None);
        loop {
            let range = Range { after, ..Range::prefix("session/").limit(PAGE) };
            let (page, mut next) = self.records.page(range).await?;
            for entry in page {
                let session: SessionRecord = decode(&entry.key, &entry.value)?;
                // Ids grow with time: those behind it in its namespace are younger still.
                if session.create_time >= limit {
                    next = Some(format!("session/{}/\u{10ffff}", session.namespace));
                    break;
                }
                if session.state.is_final() && session.update_time < limit {
                    self.forget(&session).await?;
                    forgotten += 1;
                }
            }
            if next.is_none() || forgotten >= MOST {
                return Ok(forgotten);
            }
            after = next;
        }
    }

    async fn forget(&self, session: &SessionRecord) -> Result<(), Error> {
        let (namespace, id) = (&session.namespace, &session.id);
        let mut commit = Commit::new()
            .delete(key(namespace, id))
            .delete(agent_key(namespace, &session.agent_id, id))
            .delete(run_key(namespace, &session.run_id, id));
        if let Some(request_id) = &session.request_id {
            commit = commit.delete(receipt_key(namespace, request_id));
        }
        match self.records.kv().commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { key }) => Err(Error::Contended(key)),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
