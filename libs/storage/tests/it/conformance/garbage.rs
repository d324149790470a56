//! Strange input: kept as it is when it is allowed, refused whole when it is not.

use nova_storage::kv::{MAX_KEY, MAX_OPERATIONS, MAX_PAGE, MAX_VALUE};
use nova_storage::{Commit, CommitError, Error, Range};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::backend::Backend;
use super::{Store, put};

const STRANGE: [&str; 12] = [
    " ",
    "\0",
    "a\0b",
    "'; DROP TABLE entry; --",
    "%_\\",
    "{nkv:test}:state",
    "🦀",
    "\r\n",
    "-",
    "+",
    "[",
    "(inf",
];

fn generated<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> T {
    let mut runner = TestRunner::new(Config::default());
    strategy.new_tree(&mut runner).expect("the strategy rejects nothing").current()
}

pub(super) async fn strange_keys_come_back_as_they_were(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut model = generated(btree_map("\\PC{1,40}|(?s:.{1,20})", "\\PC{0,20}", 150));
    model.extend(STRANGE.map(|key| (key.to_owned(), "strange".to_owned())));
    for (key, value) in &model {
        put(&store, key, value).await;
    }
    let found = store.scan("").await.unwrap();
    let found: Vec<_> = found.into_iter().map(|e| (e.key, String::from_utf8(e.value).unwrap())).collect();
    assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
    for key in model.keys() {
        assert_eq!(store.get(key).await.unwrap().unwrap().key, *key);
        let cut = key.chars().next().unwrap().to_string();
        let expected = model.keys().filter(|other| other.starts_with(&cut)).count();
        assert_eq!(store.range(Range::prefix(cut)).await.unwrap().len(), expected);
    }
}

pub(super) async fn strange_values_come_back_as_they_were(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut values = generated(vec(vec(any::<u8>(), 0..200), 50));
    values.extend([Vec::new(), b":".to_vec(), b"7:7".to_vec(), vec![0; 3], vec![0xff; MAX_VALUE]]);
    for value in values {
        store.commit(Commit::new().put("k", value.clone())).await.unwrap();
        assert_eq!(store.get("k").await.unwrap().unwrap().value, value);
    }
}

async fn refused(store: &Store, commit: Commit, what: &str) {
    let before = store.revision().await.unwrap();
    let refusal = store.commit(commit.put("innocent", "v")).await.unwrap_err();
    assert!(!refusal.is_retryable());
    assert!(matches!(refusal, CommitError::Store(Error::Invalid { what: named, .. }) if named == what));
    assert_eq!(store.revision().await.unwrap(), before);
    assert_eq!(store.get("innocent").await.unwrap(), None);
}

pub(super) async fn a_key_without_a_character_is_refused(backend: &dyn Backend) {
    let store = backend.open().await;
    refused(&store, Commit::new().put("", "v"), "key").await;
    refused(&store, Commit::new().delete(""), "key").await;
    refused(&store, Commit::new().absent(""), "key").await;
    assert!(matches!(store.get("").await, Err(Error::Invalid { what: "key", .. })));
}

pub(super) async fn keys_are_limited_to_512_bytes(backend: &dyn Backend) {
    let store = backend.open().await;
    let longest = "é".repeat(MAX_KEY / 2);
    put(&store, &longest, "v").await;
    assert_eq!(store.range(Range::prefix(longest.clone())).await.unwrap().len(), 1);
    refused(&store, Commit::new().put(format!("{longest}x"), "v"), "key").await;
    let prefix = format!("{longest}x");
    assert!(matches!(store.range(Range::prefix(&prefix)).await, Err(Error::Invalid { .. })));
    assert!(matches!(store.changes(&prefix, 0, 1).await, Err(Error::Invalid { .. })));
}

pub(super) async fn values_are_limited_to_one_mebibyte(backend: &dyn Backend) {
    let store = backend.open().await;
    refused(&store, Commit::new().put("k", vec![0; MAX_VALUE + 1]), "value").await;
    let large = (0..17).fold(Commit::new(), |commit, n| commit.put(format!("{n}"), vec![0; MAX_VALUE]));
    refused(&store, large, "commit").await;
}

pub(super) async fn a_commit_is_limited_in_operations(backend: &dyn Backend) {
    let store = backend.open().await;
    let many = (0..MAX_OPERATIONS).fold(Commit::new(), |commit, n| commit.absent(format!("k/{n}")));
    refused(&store, many, "commit").await;
}

pub(super) async fn a_key_written_twice_in_one_commit_is_refused(backend: &dyn Backend) {
    let store = backend.open().await;
    refused(&store, Commit::new().put("k", "one").delete("k"), "commit").await;
}

pub(super) async fn a_page_is_limited(backend: &dyn Backend) {
    let store = backend.open().await;
    for limit in [0, MAX_PAGE + 1, usize::MAX] {
        let range = store.range(Range::prefix("").limit(limit)).await;
        assert!(matches!(range, Err(Error::Invalid { what: "limit", .. })));
        let changes = store.changes("", 0, limit).await;
        assert!(matches!(changes, Err(Error::Invalid { what: "limit", .. })));
    }
}
