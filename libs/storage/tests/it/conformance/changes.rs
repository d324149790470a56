//! The change log.

use nova_storage::kv::CHANGES_KEPT;
use nova_storage::{Change, Commit, Error};

use super::backend::Backend;
use super::put;

fn change(revision: u64, key: &str, deleted: bool) -> Change {
    Change { revision, key: key.to_owned(), deleted }
}

pub(super) async fn the_log_has_puts_and_deletes_in_order(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = put(&store, "a", "one").await;
    let second = store.commit(Commit::new().put("b", "two").delete("a").delete("nobody")).await.unwrap();
    let all = [change(first, "a", false), change(second, "b", false), change(second, "a", true)];
    assert_eq!(store.changes("", 0, 10).await.unwrap(), all);
    assert_eq!(store.changes("", first, 10).await.unwrap(), all[1..]);
    assert_eq!(store.changes("", second, 10).await.unwrap(), []);
}

pub(super) async fn the_log_shows_only_the_prefix(backend: &dyn Backend) {
    let store = backend.open().await;
    put(&store, "agent/a", "one").await;
    let revision = put(&store, "run/1", "two").await;
    put(&store, "run0", "three").await;
    assert_eq!(store.changes("run/", 0, 10).await.unwrap(), [change(revision, "run/1", false)]);
}

pub(super) async fn a_revision_is_never_cut(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = store.commit(Commit::new().put("a", "1").put("b", "1").put("c", "1")).await.unwrap();
    put(&store, "d", "2").await;
    let page = store.changes("", 0, 2).await.unwrap();
    assert_eq!(page, ["a", "b", "c"].map(|key| change(first, key, false)));
}

pub(super) async fn a_page_moves_the_cursor_past_changes_of_others(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = put(&store, "mine/1", "1").await;
    put(&store, "mine/2", "1").await;
    let last = put(&store, "other", "1").await;
    assert_eq!(store.changes_page("mine/", 0, 1).await.unwrap().next, first);
    let rest = store.changes_page("mine/", first, 10).await.unwrap();
    assert_eq!((rest.changes.len(), rest.next), (1, last));
}

pub(super) async fn a_cursor_of_the_future_has_expired(backend: &dyn Backend) {
    let store = backend.open().await;
    let present = put(&store, "k", "1").await;
    for future in [present + 1, u64::MAX] {
        let refusal = store.changes("", future, 10).await.unwrap_err();
        assert!(matches!(refusal, Error::CursorExpired { after, .. } if after == future), "{refusal}");
    }
}

pub(super) async fn the_log_keeps_the_last_hundred_thousand_changes(backend: &dyn Backend) {
    const PER_COMMIT: usize = 1_000;
    let store = backend.open().await;
    let first = put(&store, "first", "1").await;
    let mut revisions = Vec::new();
    let kept = usize::try_from(CHANGES_KEPT).unwrap() / PER_COMMIT;
    for _ in 0..kept + 3 {
        let commit = (0..PER_COMMIT).fold(Commit::new(), |commit, n| commit.put(format!("k/{n}"), "v"));
        revisions.push(store.commit(commit).await.unwrap());
    }
    for gone in [0, first] {
        let refusal = store.changes("", gone, 10).await.unwrap_err();
        assert!(matches!(refusal, Error::CursorExpired { after, .. } if after == gone), "{refusal}");
    }
    let mut cursor = revisions[revisions.len() - kept - 1];
    for revision in &revisions[revisions.len() - kept..] {
        let page = store.changes_page("", cursor, PER_COMMIT).await.unwrap();
        assert!(page.changes.iter().all(|change| change.revision == *revision));
        assert_eq!(page.changes.len(), PER_COMMIT);
        cursor = page.next;
    }
}
