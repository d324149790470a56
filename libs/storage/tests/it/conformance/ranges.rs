//! Reading in key order.

use nova_storage::{Commit, Entry, Range};

use super::backend::Backend;
use super::{Store, put};

const KEYS: [&str; 7] = ["a", "run/1", "run/10", "run/2", "run0", "run/é", "run/\u{10ffff}"];

async fn filled(backend: &dyn Backend) -> Store {
    let store = backend.open().await;
    for key in KEYS {
        put(&store, key, key).await;
    }
    store
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

pub(super) async fn a_range_is_in_key_order_and_ends_with_its_prefix(backend: &dyn Backend) {
    let store = filled(backend).await;
    let found = store.range(Range::prefix("run/")).await.unwrap();
    assert_eq!(keys(&found), ["run/1", "run/10", "run/2", "run/é", "run/\u{10ffff}"]);
    assert!(found.iter().all(|entry| entry.value == entry.key.as_bytes() && entry.version > 0));
}

pub(super) async fn a_descending_range_is_the_reverse(backend: &dyn Backend) {
    let store = filled(backend).await;
    let found = store.range(Range::prefix("run/").descending()).await.unwrap();
    assert_eq!(keys(&found), ["run/\u{10ffff}", "run/é", "run/2", "run/10", "run/1"]);
    let last = store.range(Range::prefix("run/").descending().limit(1)).await.unwrap();
    assert_eq!(keys(&last), ["run/\u{10ffff}"]);
}

pub(super) async fn pages_follow_one_another_without_gap_or_overlap(backend: &dyn Backend) {
    let store = filled(backend).await;
    for range in [Range::prefix("run/"), Range::prefix("run/").descending()] {
        let whole = store.range(range.clone()).await.unwrap();
        let mut paged = Vec::new();
        let mut next = range.clone().limit(2);
        loop {
            let page = store.range(next.clone()).await.unwrap();
            let Some(last) = page.last() else { break };
            next = next.after(last.key.clone());
            paged.extend(page);
        }
        assert_eq!(paged, whole);
    }
}

pub(super) async fn a_page_ends_with_the_entry_that_fills_its_bytes(backend: &dyn Backend) {
    let store = backend.open().await;
    for key in ["k/1", "k/2", "k/3", "k/4"] {
        put(&store, key, &"x".repeat(100)).await;
    }
    for (bytes, expected) in [(0, 1), (1, 1), (100, 1), (101, 2), (300, 3), (400, 4), (401, 4)] {
        for range in [Range::prefix("k/"), Range::prefix("k/").descending()] {
            let range = range.bytes(bytes);
            let page = store.range(range.clone()).await.unwrap();
            assert_eq!(page.len(), expected, "{bytes} bytes");
            assert_eq!(range.goes_on(&page), bytes <= 400, "{bytes} bytes");
        }
    }
    let short = Range::prefix("k/").bytes(401).limit(2);
    assert!(short.goes_on(&store.range(short.clone()).await.unwrap()), "the limit holds beside the bytes");
    let none = Range::prefix("none/").bytes(0);
    assert!(!none.goes_on(&store.range(none.clone()).await.unwrap()));
}

pub(super) async fn an_empty_prefix_ranges_over_everything(backend: &dyn Backend) {
    let store = filled(backend).await;
    assert_eq!(store.range(Range::prefix("")).await.unwrap().len(), KEYS.len());
    let backwards = store.range(Range::prefix("").descending()).await.unwrap();
    assert_eq!(keys(&backwards).first(), Some(&"run0"));
    assert_eq!(keys(&backwards).last(), Some(&"a"));
}

pub(super) async fn a_cursor_outside_of_the_prefix_is_harmless(backend: &dyn Backend) {
    let store = filled(backend).await;
    for (after, ascending, descending) in [("", 5, 0), ("a", 5, 0), ("run/2", 2, 2), ("zoo", 0, 5)] {
        let range = Range::prefix("run/").after(after);
        assert_eq!(store.range(range.clone()).await.unwrap().len(), ascending, "after {after:?}");
        assert_eq!(store.range(range.descending()).await.unwrap().len(), descending, "below {after:?}");
    }
}

pub(super) async fn a_scan_reads_more_than_a_page(backend: &dyn Backend) {
    let store = backend.open().await;
    for block in 0..3 {
        let commit = (0..900).fold(Commit::new(), |commit, n| commit.put(format!("k/{block}/{n:03}"), "v"));
        store.commit(commit).await.unwrap();
    }
    let entries = store.scan("k/").await.unwrap();
    assert_eq!(entries.len(), 2_700);
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
}
