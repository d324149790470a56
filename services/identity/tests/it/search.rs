//! Search: what is found, in which order, and how the index heals.

use std::collections::HashMap;
use std::time::Duration;

use nova_proto::memory::v1::{PutMemoryRequest, SearchMemoriesRequest, SearchMemoriesResponse};
use proptest::test_runner::{Config, TestRunner};

use crate::daemon::{Daemon, Place, assert_invalid};
use crate::memories::{draft, put};

fn words(query: &str) -> SearchMemoriesRequest {
    SearchMemoriesRequest { query: query.to_owned(), ..SearchMemoriesRequest::default() }
}

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

async fn search(daemon: &Daemon, request: SearchMemoriesRequest) -> SearchMemoriesResponse {
    daemon.memory("agent/vega").search_memories(request).await.unwrap().into_inner()
}

fn texts_of(answer: SearchMemoriesResponse) -> Vec<String> {
    answer.hits.into_iter().map(|hit| hit.memory.unwrap().text).collect()
}

/// The texts that a query finds, best first.
pub(crate) async fn texts(daemon: &Daemon, query: &str) -> Vec<String> {
    texts_of(search(daemon, words(query)).await)
}

async fn put_all(place: &Place, daemon: &Daemon, texts: &[&str]) {
    for text in texts {
        place.clock.advance(Duration::from_secs(1));
        put(daemon, draft(text)).await;
    }
}

#[tokio::test]
async fn what_matches_best_comes_first() {
    for place in Place::both() {
        let daemon = place.start().await;
        let full = "the disk is nearly full";
        let memories =
            [full, "disk disk disk", "the memory is fine and so is the processor", "nothing of note here"];
        put_all(&place, &daemon, &memories).await;
        let answer = search(&daemon, words("full disk")).await;
        assert!(answer.hits.windows(2).all(|pair| pair[0].score >= pair[1].score && pair[1].score > 0.0));
        assert_eq!(texts_of(answer), [full, "disk disk disk"]);
    }
}

#[tokio::test]
async fn a_writer_finds_at_once_what_it_wrote() {
    for place in Place::both() {
        let daemon = place.start().await;
        for number in 0..50 {
            put(&daemon, draft(&format!("finding{number}"))).await;
            assert_eq!(texts(&daemon, &format!("finding{number}")).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn words_match_in_other_forms_cases_and_accents() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    put_all(&place, &daemon, &["Processes were STARTED in the café"]).await;
    for query in ["process", "starting", "cafe", "CAFÉ", "cafe\u{301}"] {
        assert_eq!(texts(&daemon, query).await.len(), 1, "{query}");
    }
    assert!(texts(&daemon, "tea").await.is_empty());
}

#[tokio::test]
async fn an_empty_query_lists_the_newest_first_page_by_page() {
    for place in Place::both() {
        let daemon = place.start().await;
        put_all(&place, &daemon, &["one", "two", "three", "four", "five"]).await;
        let mut listed = Vec::new();
        let mut request = SearchMemoriesRequest { page_size: 2, ..words("") };
        loop {
            let answer = search(&daemon, request.clone()).await;
            request.page_token.clone_from(&answer.next_page_token);
            listed.extend(texts_of(answer));
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, ["five", "four", "three", "two", "one"]);
    }
}

#[tokio::test]
async fn hits_come_page_by_page_each_once() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    for number in 0..25 {
        put(&daemon, draft(&format!("disk report {number}"))).await;
    }
    let mut found = Vec::new();
    let mut request = SearchMemoriesRequest { page_size: 10, ..words("disk") };
    for page in [10, 10, 5] {
        let answer = search(&daemon, request.clone()).await;
        request.page_token.clone_from(&answer.next_page_token);
        assert_eq!(answer.hits.len(), page);
        found.extend(texts_of(answer));
    }
    assert!(request.page_token.is_empty());
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 25);
}

#[tokio::test]
async fn large_memories_make_smaller_pages_and_none_is_left_out() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    for number in 0..20 {
        let data_json = format!("\"{}\"", "x".repeat(250 * 1024));
        put(&daemon, PutMemoryRequest { data_json, ..draft(&format!("large {number}")) }).await;
    }
    for query in ["", "large"] {
        let mut request = SearchMemoriesRequest { page_size: 1_000, ..words(query) };
        let first = search(&daemon, request.clone()).await;
        request.page_token.clone_from(&first.next_page_token);
        let second = search(&daemon, request).await;
        assert!(first.hits.len() < 20);
        assert_eq!(first.hits.len() + second.hits.len(), 20);
        assert!(second.next_page_token.is_empty());
    }
}

#[tokio::test]
async fn only_memories_with_all_labels_are_found() {
    for place in Place::both() {
        let daemon = place.start().await;
        let labelled =
            |text: &str, pairs: &[(&str, &str)]| PutMemoryRequest { labels: labels(pairs), ..draft(text) };
        put(&daemon, labelled("disk a", &[("run", "1"), ("step", "a")])).await;
        put(&daemon, labelled("disk b", &[("run", "1"), ("step", "b")])).await;
        put(&daemon, labelled("disk c", &[("run", "2")])).await;
        for (query, pairs, count) in [
            ("disk", &[("run", "1")][..], 2),
            ("disk", &[("run", "1"), ("step", "b")], 1),
            ("disk", &[("run", "2"), ("step", "b")], 0),
            ("", &[("run", "1")], 2),
            ("", &[("run", "' OR 1=1 --")], 0),
        ] {
            let request = SearchMemoriesRequest { labels: labels(pairs), ..words(query) };
            assert_eq!(search(&daemon, request).await.hits.len(), count, "{query:?} {pairs:?}");
        }
    }
}

#[tokio::test]
async fn a_namespace_sees_only_its_own() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    put(&daemon, draft("disk here")).await;
    put(&daemon, PutMemoryRequest { namespace: "other".to_owned(), ..draft("disk there") }).await;
    assert_eq!(texts(&daemon, "disk").await, ["disk here"]);
    let elsewhere = SearchMemoriesRequest { namespace: "nobody".to_owned(), ..words("disk") };
    assert!(search(&daemon, elsewhere).await.hits.is_empty());
}

#[tokio::test]
async fn no_query_is_a_syntax_error() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    put_all(&place, &daemon, &["the disk is full"]).await;
    for query in
        ["\"", "'", "disk OR", "NEAR(", "text:", "disk*", "-disk", "(", "^", "a AND", "\0", "{", "disk\0\""]
    {
        texts(&daemon, query).await;
    }
    assert_eq!(texts(&daemon, "disk OR (full NEAR").await.len(), 1);
    assert!(texts(&daemon, "\"*?!").await.is_empty(), "no word, no hit");
}

#[test]
fn garbage_is_searched_for_or_refused_but_breaks_nothing() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let place = Place::sqlite();
    let daemon = tokio.block_on(place.start());
    tokio.block_on(put(&daemon, draft("the disk is full")));
    let calls = tokio.block_on(async { daemon.memory("agent/vega") });
    let garbage = ("\\PC{0,80}|[\"'*()^:{}+\\-\0 a-zA-Z]{0,60}", "[a-zA-Z0-9_%-]{0,40}", 0_u32..2_000);
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&garbage, |(query, page_token, page_size)| {
        let request =
            SearchMemoriesRequest { query, page_token, page_size, ..SearchMemoriesRequest::default() };
        let answer = tokio.block_on(calls.clone().search_memories(request));
        let good = answer.map_or_else(|status| status.code() == tonic::Code::InvalidArgument, |_| true);
        proptest::prop_assert!(good);
        Ok(())
    });
    checked.unwrap();
    assert_eq!(tokio.block_on(texts(&daemon, "disk")).len(), 1);
}

#[tokio::test]
async fn bad_fields_and_the_token_of_another_search_are_named() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    put_all(&place, &daemon, &["disk one", "disk two"]).await;
    let token =
        search(&daemon, SearchMemoriesRequest { page_size: 1, ..words("disk") }).await.next_page_token;
    let mut calls = daemon.memory("agent/vega");
    for (field, bad) in [
        ("namespace", SearchMemoriesRequest { namespace: "No!".to_owned(), ..words("") }),
        ("query", words(&"x".repeat(1_025))),
        ("labels", SearchMemoriesRequest { labels: labels(&[("", "")]), ..words("") }),
        ("page_size", SearchMemoriesRequest { page_size: 1_001, ..words("") }),
        ("page_token", SearchMemoriesRequest { page_token: "%".to_owned(), ..words("") }),
        ("page_token", SearchMemoriesRequest { page_token: token, ..words("memory") }),
    ] {
        assert_invalid(calls.search_memories(bad).await, field);
    }
}

#[tokio::test]
async fn a_lost_or_broken_index_is_made_anew() {
    for place in Place::both() {
        let daemon = place.start().await;
        for number in 0..300 {
            put(&daemon, draft(&format!("disk report {number}"))).await;
        }
        assert_eq!(texts(&daemon, "reporting").await.len(), 20);
        daemon.stop().await;

        // Another folder has no index at all: on Redis, that is another instance. Here it is the same after a loss.
        let index = place.dir.path().join("data").join("memory-index.db");
        for content in [None, Some("this is no database, but it is long enough to be looked at ".repeat(40))]
        {
            remove(&index);
            if let Some(content) = content {
                std::fs::write(&index, content).unwrap();
            }
            let daemon = place.start().await;
            let request = SearchMemoriesRequest { page_size: 1_000, ..words("disk") };
            assert_eq!(search(&daemon, request).await.hits.len(), 300);
            daemon.stop().await;
        }
    }
}

fn remove(index: &std::path::Path) {
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", index.display())).ok();
    }
}

#[tokio::test]
async fn an_index_of_another_store_is_not_believed() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    put_all(&place, &daemon, &["of the old store"]).await;
    assert_eq!(texts(&daemon, "store").await.len(), 1);
    daemon.stop().await;

    let data = place.dir.path().join("data");
    remove(&data.join("kv.db"));
    let daemon = place.start().await;
    put_all(&place, &daemon, &["one", "two", "of the new store"]).await;
    assert_eq!(texts(&daemon, "store").await, ["of the new store"]);
}

#[tokio::test]
async fn one_instance_finds_what_another_one_wrote() {
    let place = Place::redis();
    let (one, two) = (place.start_in("one", &[]).await, place.start_in("two", &[]).await);
    put(&one, draft("written on one")).await;
    assert_eq!(texts(&two, "written").await, ["written on one"]);
    put(&two, draft("written on two")).await;
    assert_eq!(texts(&one, "two").await, ["written on two"]);
}
