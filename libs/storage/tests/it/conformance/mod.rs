//! What [`nova_storage::Kv`] promises, claimed once and proved for each engine.

mod backend;
mod changes;
mod commits;
mod garbage;
mod ranges;
mod waiting;

use std::sync::Arc;

use nova_storage::{Commit, Kv};

/// Makes one test per claim and engine.
macro_rules! conformance {
    ($($subject:ident: $($claim:ident),+ $(,)?;)+) => {
        mod over_sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let backend = super::backend::Sqlite::start();
                    super::$subject::$claim(&backend).await;
                }
            )+)+
        }
        mod over_redis {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let backend = super::backend::Redis::start();
                    super::$subject::$claim(&backend).await;
                }
            )+)+
        }
        mod over_a_cluster {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let backend = super::backend::SharedRedis::cluster();
                    super::$subject::$claim(&backend).await;
                }
            )+)+
        }
        mod over_sentinels {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let backend = super::backend::SharedRedis::sentinel();
                    super::$subject::$claim(&backend).await;
                }
            )+)+
        }
    };
}

conformance! {
    commits:
        what_was_put_is_read_with_its_version,
        a_put_replaces_value_and_version,
        an_absent_key_has_no_entry,
        a_deleted_key_is_absent,
        a_check_for_absence_fails_on_a_present_key,
        a_commit_that_comes_in_time_is_applied_and_a_late_one_changes_nothing,
        a_check_of_the_exact_version_passes_and_of_an_older_one_fails,
        a_key_created_anew_does_not_get_its_old_version,
        a_failed_check_names_the_key_and_nothing_is_written,
        the_keys_of_one_commit_share_its_revision,
        a_commit_that_changes_nothing_keeps_the_revision,
        of_many_commits_on_one_version_one_wins,
        concurrent_increments_are_all_counted,
        everything_is_there_after_reopening;
    ranges:
        a_range_is_in_key_order_and_ends_with_its_prefix,
        a_descending_range_is_the_reverse,
        pages_follow_one_another_without_gap_or_overlap,
        a_page_ends_with_the_entry_that_fills_its_bytes,
        an_empty_prefix_ranges_over_everything,
        a_cursor_outside_of_the_prefix_is_harmless,
        a_scan_reads_more_than_a_page;
    changes:
        the_log_has_puts_and_deletes_in_order,
        the_log_shows_only_the_prefix,
        a_revision_is_never_cut,
        a_page_moves_the_cursor_past_changes_of_others,
        a_cursor_of_the_future_has_expired,
        the_log_keeps_the_last_hundred_thousand_changes;
    waiting:
        waiting_ends_with_the_next_commit,
        waiting_past_an_old_revision_ends_at_once,
        waiting_sees_commits_of_a_clone;
    garbage:
        strange_keys_come_back_as_they_were,
        strange_values_come_back_as_they_were,
        a_key_without_a_character_is_refused,
        keys_are_limited_to_512_bytes,
        values_are_limited_to_one_mebibyte,
        a_commit_is_limited_in_operations,
        a_key_written_twice_in_one_commit_is_refused,
        a_page_is_limited;
}

type Store = Arc<dyn Kv>;

async fn put(store: &Store, key: &str, value: &str) -> u64 {
    store.commit(Commit::new().put(key, value)).await.unwrap()
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value).unwrap())
}
