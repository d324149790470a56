//! Versions, checks and atomicity.

use std::sync::Arc;
use std::time::Duration;

use nova_storage::{Commit, CommitError, Entry, Error};
use tokio::time::Instant;

use super::backend::Backend;
use super::{put, value};

pub(super) async fn what_was_put_is_read_with_its_version(backend: &dyn Backend) {
    let store = backend.open().await;
    let revision = put(&store, "agent/a", "one").await;
    let entry = Entry { key: "agent/a".to_owned(), value: b"one".to_vec(), version: revision };
    assert_eq!(store.get("agent/a").await.unwrap(), Some(entry));
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub(super) async fn a_put_replaces_value_and_version(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = put(&store, "k", "one").await;
    let second = put(&store, "k", "two").await;
    assert!(second > first);
    assert_eq!(store.get("k").await.unwrap().unwrap().version, second);
    assert_eq!(value(&store, "k").await.as_deref(), Some("two"));
}

pub(super) async fn an_absent_key_has_no_entry(backend: &dyn Backend) {
    let store = backend.open().await;
    assert_eq!(store.get("nobody").await.unwrap(), None);
    assert_eq!(store.revision().await.unwrap(), 0);
}

pub(super) async fn a_deleted_key_is_absent(backend: &dyn Backend) {
    let store = backend.open().await;
    put(&store, "k", "one").await;
    store.commit(Commit::new().delete("k")).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), None);
    assert_eq!(store.scan("").await.unwrap(), []);
    store.commit(Commit::new().absent("k").put("k", "again")).await.unwrap();
}

pub(super) async fn a_check_for_absence_fails_on_a_present_key(backend: &dyn Backend) {
    let store = backend.open().await;
    store.commit(Commit::new().absent("k").put("k", "one")).await.unwrap();
    let refusal = store.commit(Commit::new().absent("k").put("k", "two")).await.unwrap_err();
    assert!(matches!(refusal, CommitError::Conflict { key } if key == "k"));
    assert_eq!(value(&store, "k").await.as_deref(), Some("one"));
}

pub(super) async fn a_commit_that_comes_in_time_is_applied_and_a_late_one_changes_nothing(
    backend: &dyn Backend,
) {
    let store = backend.open().await;
    let put = |value: &str, end| Commit::new().put("k", value).before(end);
    let (hour_ahead, now) = (Instant::now() + Duration::from_secs(3_600), Instant::now());
    let revision = store.commit(put("in time", hour_ahead)).await.unwrap();
    let late = store.commit(put("late", now)).await.unwrap_err();
    assert!(matches!(late, CommitError::Store(Error::TooLate)), "{late:?}");
    assert!(!late.is_retryable());
    assert_eq!(value(&store, "k").await.as_deref(), Some("in time"));
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub(super) async fn a_check_of_the_exact_version_passes_and_of_an_older_one_fails(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = put(&store, "k", "one").await;
    store.commit(Commit::new().check("k", Some(first)).put("k", "two")).await.unwrap();
    let stale = store.commit(Commit::new().check("k", Some(first)).put("k", "three")).await;
    assert!(matches!(stale, Err(CommitError::Conflict { .. })));
    assert_eq!(value(&store, "k").await.as_deref(), Some("two"));
}

pub(super) async fn a_key_created_anew_does_not_get_its_old_version(backend: &dyn Backend) {
    let store = backend.open().await;
    let first = put(&store, "k", "one").await;
    store.commit(Commit::new().delete("k")).await.unwrap();
    put(&store, "k", "one").await;
    let stale = store.commit(Commit::new().check("k", Some(first)).delete("k")).await;
    assert!(matches!(stale, Err(CommitError::Conflict { .. })));
}

pub(super) async fn a_failed_check_names_the_key_and_nothing_is_written(backend: &dyn Backend) {
    let store = backend.open().await;
    let revision = put(&store, "b", "kept").await;
    let commit = Commit::new().absent("a").absent("b").check("c", Some(7)).put("a", "new").delete("b");
    let refusal = store.commit(commit).await.unwrap_err();
    assert!(!refusal.is_retryable());
    assert!(matches!(refusal, CommitError::Conflict { key } if key == "b"));
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(value(&store, "b").await.as_deref(), Some("kept"));
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub(super) async fn the_keys_of_one_commit_share_its_revision(backend: &dyn Backend) {
    let store = backend.open().await;
    put(&store, "old", "one").await;
    let commit = Commit::new().put("a", "1").put("b", "2").delete("old");
    let revision = store.commit(commit).await.unwrap();
    let versions: Vec<u64> = store.scan("").await.unwrap().iter().map(|entry| entry.version).collect();
    assert_eq!(versions, [revision, revision]);
}

pub(super) async fn a_commit_that_changes_nothing_keeps_the_revision(backend: &dyn Backend) {
    let store = backend.open().await;
    let revision = put(&store, "k", "one").await;
    let commit = Commit::new().check("k", Some(revision)).delete("nobody");
    assert_eq!(store.commit(commit).await.unwrap(), revision);
    assert_eq!(store.commit(Commit::new()).await.unwrap(), revision);
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub(super) async fn of_many_commits_on_one_version_one_wins(backend: &dyn Backend) {
    let store = backend.open().await;
    let version = put(&store, "leader", "nobody").await;
    let mut candidates = tokio::task::JoinSet::new();
    for candidate in 0..32 {
        let store = Arc::clone(&store);
        let commit = Commit::new().check("leader", Some(version)).put("leader", format!("{candidate}"));
        candidates.spawn(async move { store.commit(commit).await.is_ok() });
    }
    let won = candidates.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

pub(super) async fn concurrent_increments_are_all_counted(backend: &dyn Backend) {
    let store = backend.open().await;
    put(&store, "counter", "0").await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut done = 0;
            while done < 25 {
                let entry = store.get("counter").await.unwrap().unwrap();
                let count: u64 = String::from_utf8(entry.value).unwrap().parse().unwrap();
                let commit = Commit::new()
                    .check("counter", Some(entry.version))
                    .put("counter", (count + 1).to_string());
                match store.commit(commit).await {
                    Ok(_) => done += 1,
                    Err(CommitError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(value(&store, "counter").await.as_deref(), Some("200"));
}

pub(super) async fn everything_is_there_after_reopening(backend: &dyn Backend) {
    let store = backend.open().await;
    put(&store, "a", "one").await;
    let revision = put(&store, "b", "two").await;
    let before = (store.scan("").await.unwrap(), store.changes("", 0, 10).await.unwrap());
    drop(store);
    let store = backend.open().await;
    assert_eq!((store.scan("").await.unwrap(), store.changes("", 0, 10).await.unwrap()), before);
    assert_eq!(store.revision().await.unwrap(), revision);
    assert!(put(&store, "c", "three").await > revision);
}
