//! The queue through its own front door: a real server, a real client, both stores.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempts;
mod bounds;
mod control;
mod crash;
mod durability;
mod fair;
mod flows;
mod harness;
mod input;
mod leaders;
mod leases;
mod life;
mod many;
mod pages;
mod reserved;
mod schedules;
mod wait;
mod watch;
mod work;

/// Instantiates every claim for both stores.
macro_rules! on_both_stores {
    ($($module:ident :: $claim:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$module::$claim(&super::harness::Home::sqlite()).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$module::$claim(&super::harness::Home::redis()).await;
            })*
        }
    };
}

on_both_stores! {
    life::a_task_is_enqueued_leased_heartbeated_and_completed,
    life::a_failed_task_is_retried_after_its_backoff,
    life::a_worker_may_say_when_to_retry,
    life::the_last_attempt_leads_to_the_dead_letters,
    life::a_repeated_request_is_the_same_task,
    life::another_body_under_a_known_key_is_a_mismatch,
    life::lists_show_tasks_and_queues,
    life::a_denied_caller_reaches_nothing,
    pages::queues_come_a_page_at_a_time,
    pages::workers_come_a_page_at_a_time,
    pages::tasks_of_other_queues_do_not_fill_a_page,
    reserved::queues_of_agents_are_filled_by_the_engine_and_emptied_by_agents,
    reserved::the_queue_of_one_agent_is_emptied_by_no_other,
    reserved::nobody_but_the_engine_gives_a_task_of_an_agent_another_life,
    leases::a_stale_token_is_refused_as_lease_lost,
    leases::a_lease_is_its_holders_alone,
    leases::a_held_lease_is_proven_and_a_lost_one_is_not,
    leases::what_holds_its_task_no_more_enqueues_nothing_under_its_proof,
    leases::a_repeated_completion_is_answered_as_the_first,
    leases::an_expired_lease_is_given_to_the_next_worker,
    leases::an_attempt_ends_at_its_timeout,
    leases::a_long_poll_wakes_when_work_arrives,
    leases::a_long_poll_ends_with_the_daemon,
    flows::a_flow_runs_in_order_across_restarts,
    flows::a_failed_parent_decides_over_those_that_wait_for_it,
    flows::a_unique_task_is_stored_once_while_it_lives,
    flows::a_task_dies_at_its_deadline,
    flows::a_released_task_may_be_put_off,
    wait::a_call_waits_until_its_task_has_ended,
    wait::a_wait_that_is_over_tells_the_state_of_then,
    wait::who_waits_for_a_task_is_told_when_it_is_purged,
    wait::a_wait_for_a_task_ends_with_the_daemon,
    watch::a_watch_tells_every_change_of_its_tasks,
    watch::a_watch_resumes_after_a_restart_of_the_daemon,
    watch::a_cursor_that_is_gone_answers_cursor_expired,
    work::a_stream_leases_heartbeats_and_settles,
    work::a_stream_never_sends_more_than_its_credit,
    work::a_settlement_asks_for_what_comes_next,
    work::a_dropped_stream_keeps_its_leases,
    work::leases_that_a_stream_has_not_taken_go_back_with_it,
    work::a_stream_waits_where_a_call_is_refused,
    work::a_draining_daemon_says_so,
    work::a_stream_that_does_not_open_is_refused,
    work::a_stream_that_says_nothing_ends,
    work::there_are_only_so_many_streams,
    control::tasks_are_cancelled_by_what_they_are_like,
    control::dead_tasks_are_found_redriven_and_purged,
    control::a_queue_is_paused_drained_and_resumed,
    control::a_queue_keeps_its_settings,
    control::a_queue_is_deleted_with_its_settings_and_what_has_ended,
    control::only_force_deletes_a_queue_that_holds_tasks,
    bounds::a_backlog_is_bounded_in_bytes,
    bounds::calls_without_number_are_refused_and_their_connection_stays,
    bounds::what_there_is_no_room_for_is_refused_before_it_is_read,
    bounds::queues_that_hold_nothing_make_room_for_others,
    bounds::a_call_that_waits_makes_no_queue,
    work::a_stream_hears_at_once_of_a_cancelled_task,
    many::very_many_tasks_are_redriven_and_cancelled_a_page_at_a_time,
    schedules::a_schedule_is_stored_shown_and_deleted,
    schedules::a_schedule_fires_pauses_and_goes_on,
    schedules::only_the_engine_schedules_for_agents,
    schedules::a_bad_schedule_names_its_field,
    fair::settings_change_by_mask_and_are_shown,
    fair::groups_share_and_keep_to_their_limits,
    fair::what_has_a_higher_priority_starts_first,
    fair::a_low_priority_is_not_starved_unless_the_queue_is_strict,
    fair::groups_are_served_by_their_weights,
    fair::a_stream_is_woken_when_a_bucket_refills,
    fair::bad_settings_name_their_fields,
    attempts::a_report_reaches_readers_and_the_next_attempt,
    attempts::a_dead_task_shows_each_attempt_after_a_restart,
    attempts::bad_reports_name_their_field,
    attempts::a_queue_shows_how_it_performs,
    attempts::a_queue_says_how_long_it_keeps_ended_tasks,
    attempts::workers_are_listed_with_what_they_hold,
    work::a_stream_takes_reports_and_shows_its_worker,
    input::bad_input_names_its_field,
    input::an_unknown_task_is_not_found,
    crash::a_killed_daemon_loses_nothing_and_gives_no_token_twice,
}
