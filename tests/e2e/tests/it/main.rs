//! The whole mesh, as its users meet it: the real command, real processes, TLS.

mod bad_input;
mod denied;
mod ended_runs;
mod examples;
mod garbage;
mod jaeger;
mod kill;
mod metrics;
mod namespaces;
mod orchestrate;
mod partition;
mod places;
mod plaintext;
mod policy_command;
mod python;
mod queue_command;
mod readme;
mod redis_store;
mod reserved_queues;
mod restart;
mod rotation;
mod run;
mod schedule_command;
mod shared_agents;
mod silence;
mod start;
mod task_command;
mod task_file;
mod trace;

/// Instantiates every claim for both stores.
macro_rules! on_both_stores {
    ($($module:ident :: $claim:ident,)*) => {
        mod on_sqlite {
            $(#[test]
            fn $claim() {
                super::$module::$claim("sqlite");
            })*
        }
        mod on_redis {
            $(#[test]
            fn $claim() {
                super::$module::$claim(&nova_testkit::redis::RedisServer::start().url());
            })*
        }
    };
}

on_both_stores! {
    kill::a_run_survives_the_death_of_the_queue,
    kill::a_run_survives_the_death_of_lifecycle,
    kill::a_run_survives_the_death_of_policy,
    kill::a_run_survives_the_death_of_identity,
    kill::a_run_survives_the_death_of_the_node_agent,
    kill::a_run_survives_the_death_of_an_agent,
    kill::a_run_on_a_kept_mesh_goes_on_when_nova_is_killed,
    kill::a_run_on_a_kept_mesh_goes_on_when_nova_is_terminated,
    kill::a_mesh_for_one_run_goes_down_when_nova_is_terminated_and_the_next_goes_on,
    kill::a_mesh_for_one_run_is_gone_when_nova_is_killed_and_the_next_goes_on,
    queue_command::an_operator_runs_a_queue,
    queue_command::settings_are_shown_with_what_they_come_to,
    queue_command::what_is_not_there_is_not_found,
    queue_command::namespaces_are_apart,
    task_command::dead_tasks_live_again,
    task_command::a_task_is_tried_as_it_was_said,
    task_command::a_task_starts_when_and_before_whom_it_was_said,
    task_command::a_task_is_waited_for,
    task_command::a_unique_key_is_free_again_in_time,
    task_command::a_task_waits_for_another,
    task_command::a_watch_goes_on_from_its_cursor,
    schedule_command::an_operator_keeps_schedules,
    schedule_command::a_schedule_keeps_all_that_is_said_of_its_tasks,
    ended_runs::nobody_does_what_a_run_without_time_left,
    ended_runs::a_run_is_cancelled_and_nobody_does_what_it_left,
    ended_runs::a_run_that_was_cancelled_ends_though_lifecycle_is_killed,
    restart::a_step_in_progress_outlives_down_and_up,
    trace::one_run_is_one_connected_trace_through_every_part,
}
