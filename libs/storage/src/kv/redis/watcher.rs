//! Learns of commits of every process: a blocking read at the end of the change log, on a connection
//! of its own. It wakes within a round trip, and reconnects for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Error;
use crate::kv::Revision;
use crate::kv::entries::raise;
use crate::redis::{Connection, RedisStore};

/// Longest blocking read. When it ends with nothing, the revision is read again all the same.
const BLOCK: Duration = Duration::from_secs(5);
const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// The running task; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    #[expect(
        clippy::disallowed_methods,
        reason = "the task ends with the store and cannot fail: it needs no daemon that watches it"
    )]
    pub(super) fn start(
        store: RedisStore,
        state: &str,
        changes: &str,
        latest: Arc<watch::Sender<Revision>>,
    ) -> Self {
        let (state, changes) = (state.to_owned(), changes.to_owned());
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = follow(&store, &state, &changes, &latest).await {
                    tracing::warn!(%error, address = store.address(), "lost sight of changes, reconnecting");
                }
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
        });
        Self { task }
    }
}

/// Follows on one connection until it breaks.
async fn follow(
    store: &RedisStore,
    state: &str,
    changes: &str,
    latest: &watch::Sender<Revision>,
) -> Result<(), Error> {
    let mut connection = store.blocking_connection(BLOCK).await?;
    loop {
        let present = revision(&mut connection, state).await?;
        latest.send_if_modified(|latest| raise(latest, present));
        wait_for_change(&mut connection, changes, present).await?;
    }
}

async fn wait_for_change(connection: &mut Connection, changes: &str, present: Revision) -> Result<(), Error> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis());
    command.arg("STREAMS").arg(changes).arg(format!("{present}-{}", u64::MAX));
    Ok(command.exec_async(connection).await?)
}

/// The revision of the last commit.
pub(super) async fn revision(connection: &mut Connection, state: &str) -> Result<Revision, Error> {
    let mut command = redis::cmd("HGET");
    command.arg(state).arg("revision");
    let present: Option<Revision> = command.query_async(connection).await?;
    Ok(present.unwrap_or(0))
}
