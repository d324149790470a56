//! Waking up at a commit.

use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::put;

/// Far more than it takes, far less than a poll would.
/// Less than the five seconds after which a watcher looks by itself.
const PROMPT: Duration = Duration::from_secs(4);

pub(super) async fn waiting_ends_with_the_next_commit(backend: &dyn Backend) {
    let store = backend.open().await;
    let before = put(&store, "k", "1").await;
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.wait_past(before).await.unwrap() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let after = put(&store, "k", "2").await;
    let woken = tokio::time::timeout(PROMPT, waiting).await.expect("wakes promptly").unwrap();
    assert_eq!(woken, after);
}

pub(super) async fn waiting_past_an_old_revision_ends_at_once(backend: &dyn Backend) {
    let store = backend.open().await;
    let revision = put(&store, "k", "1").await;
    assert_eq!(store.wait_past(0).await.unwrap(), revision);
    drop(store);
    let store = backend.open().await;
    assert_eq!(store.wait_past(revision - 1).await.unwrap(), revision);
}

pub(super) async fn waiting_sees_commits_of_a_clone(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut seen = store.revision().await.unwrap();
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for n in 0..50 {
                put(&store, "k", &n.to_string()).await;
            }
            store.revision().await.unwrap()
        }
    });
    let last = writer.await.unwrap();
    while seen < last {
        seen = tokio::time::timeout(PROMPT, store.wait_past(seen)).await.expect("wakes promptly").unwrap();
    }
    assert_eq!(seen, last);
}
