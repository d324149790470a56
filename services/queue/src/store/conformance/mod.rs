//! What every store promises, as tests that each store runs.
//!
//! A [`Home`] is where a store keeps its state: opening it twice is a restart. Stores keep their own time, so
//! the tests use short spans and [`eventually`], never a sleep that is hoped to be long enough.

mod attempts;
mod control;
mod fair;
mod flows;
mod leases;
mod life;
mod log;
mod proofs;
mod schedules;
mod upkeep;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nova_testkit::{
    redis::{RedisServer, shared_cluster, shared_sentinel},
    soon,
};
use nova_types::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::{
    Error,
    config::Config,
    core::body_hash,
    ledger::redis::Claimant,
    mark::Mark,
    record::{Beat, Lease, LeaseRef, LeaseRequest, NewTask, Outcome, Receipt, Settled, Settlement, Spec},
    store::{Store, open_redis, open_sqlite},
    task::{Failure, Retry, State},
};

/// A lease, a delay or a long poll that outlasts its claim.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest that a claim waits for what must come.
const LONGEST: Duration = Duration::from_secs(60);

/// Where a store keeps its state.
#[async_trait]
trait Home: Debug + Send + Sync {
    /// Opens the store on a clock.
    async fn open_at(&self, config: Config, clock: Arc<dyn Clock>) -> Store;

    /// Opens the store with these settings.
    async fn open_with(&self, config: Config) -> Store {
        self.open_at(config, Arc::new(SystemClock)).await
    }

    /// Opens the store.
    async fn open(&self) -> Store {
        self.open_with(Config::default()).await
    }
}

#[derive(Debug)]
struct SqliteHome(TempDir);

#[async_trait]
impl Home for SqliteHome {
    async fn open_at(&self, config: Config, clock: Arc<dyn Clock>) -> Store {
        let path = self.0.path().join("queue.db");
        open_sqlite(path, config.settings(), clock).await.unwrap()
    }
}

async fn open_at_redis(url: &str, config: Config, clock: Arc<dyn Clock>) -> Store {
    let claimant = Claimant::new("http://here:1").unwrap();
    open_redis(&url.parse().unwrap(), claimant, config.settings(), clock).await.unwrap()
}

#[derive(Debug)]
struct RedisHome(RedisServer);

#[async_trait]
impl Home for RedisHome {
    async fn open_at(&self, config: Config, clock: Arc<dyn Clock>) -> Store {
        open_at_redis(&self.0.url(), config, clock).await
    }
}

/// A database of its own in the Redis that all tests share.
#[derive(Debug)]
struct SentinelHome(usize);

impl SentinelHome {
    fn new() -> Self {
        static DATABASES: AtomicUsize = AtomicUsize::new(0);
        Self(DATABASES.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Home for SentinelHome {
    async fn open_at(&self, config: Config, clock: Arc<dyn Clock>) -> Store {
        open_at_redis(&shared_sentinel().database(self.0), config, clock).await
    }
}

/// The cluster that all tests share, one after the other: it has one database, and a queue is alone in it.
#[derive(Debug)]
struct ClusterHome(
    #[expect(dead_code, reason = "it is this test's turn while it is held")] MutexGuard<'static, ()>,
);

impl ClusterHome {
    async fn new() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let home = Self(TURN.lock().await);
        shared_cluster().flush();
        home
    }
}

#[async_trait]
impl Home for ClusterHome {
    async fn open_at(&self, config: Config, clock: Arc<dyn Clock>) -> Store {
        open_at_redis(&shared_cluster().url(), config, clock).await
    }
}

/// Instantiates every claim for every store.
macro_rules! conformance {
    ($($module:ident :: $claim:ident,)*) => {
        mod sqlite_store {
            $(#[tokio::test]
            async fn $claim() {
                let home = super::SqliteHome(tempfile::TempDir::new().unwrap());
                super::$module::$claim(&home).await;
            })*
        }
        mod redis_store {
            $(#[tokio::test]
            async fn $claim() {
                let home = super::RedisHome(nova_testkit::redis::RedisServer::start());
                super::$module::$claim(&home).await;
            })*
        }
        mod cluster_store {
            $(#[tokio::test]
            async fn $claim() {
                super::$module::$claim(&super::ClusterHome::new().await).await;
            })*
        }
        mod sentinel_store {
            $(#[tokio::test]
            async fn $claim() {
                super::$module::$claim(&super::SentinelHome::new()).await;
            })*
        }
    };
}

conformance! {
    life::a_task_lives_from_enqueue_to_completion,
    life::tasks_leave_by_priority_and_then_in_order,
    life::a_delayed_task_waits_for_its_time,
    life::a_failed_attempt_is_repeated_after_its_backoff,
    life::the_last_failed_attempt_leads_to_the_dead_letters,
    life::a_permanent_failure_is_not_repeated,
    life::the_same_key_is_the_same_task,
    life::a_known_key_with_another_body_stores_nothing,
    life::a_key_names_one_task_within_a_request,
    life::namespaces_do_not_see_each_other,
    life::everything_survives_a_restart,
    life::ended_tasks_go_when_their_retention_is_over,
    life::a_full_queue_refuses_more,
    leases::a_released_task_is_ready_again_and_its_attempt_does_not_count,
    leases::an_expired_lease_returns_the_task_and_counts_as_an_attempt,
    leases::a_task_that_only_expires_dies_of_it,
    leases::a_stale_token_changes_nothing,
    leases::a_repeated_settlement_gets_the_first_answer,
    leases::a_heartbeat_extends_and_tells_what_is_lost,
    leases::a_heartbeat_that_names_no_length_keeps_that_of_the_lease,
    leases::an_attempt_ends_at_its_timeout_whatever_its_heartbeats,
    leases::tokens_grow_across_restarts,
    leases::a_live_lease_survives_a_restart,
    leases::a_waiting_call_wakes_when_work_arrives,
    leases::a_waiting_call_wakes_when_a_task_falls_due,
    leases::a_waiting_call_that_is_dropped_takes_nothing,
    leases::a_call_that_is_dropped_with_its_answer_takes_nothing,
    leases::a_waiting_call_ends_empty_after_its_wait,
    leases::queues_are_served_in_order_of_preference,
    proofs::an_expired_task_is_handed_on_only_after_its_proof,
    proofs::a_proof_from_before_a_restart_is_waited_for,
    proofs::a_task_that_was_not_proven_waits_for_nobody,
    proofs::a_settled_lease_is_not_proven,
    control::a_cancelled_task_ends_and_its_holder_is_told,
    control::a_cancelled_task_is_never_leased,
    control::a_purged_task_is_forgotten_unless_it_is_held,
    control::a_purge_spares_what_has_left_the_states_it_was_picked_by,
    control::tasks_of_other_namespaces_are_not_touched,
    control::a_redriven_task_lives_again,
    control::a_paused_queue_starts_nothing_and_takes_all,
    control::a_draining_queue_takes_nothing_and_is_worked_off,
    control::a_queue_holds_no_more_than_its_settings_say,
    control::a_repeated_task_needs_no_room,
    schedules::each_tick_fires_once_across_restarts,
    schedules::a_schedule_survives_a_restart,
    schedules::missed_ticks_are_caught_up_with_as_they_should,
    schedules::a_clock_that_goes_back_fires_no_tick_again,
    schedules::a_tick_of_a_draining_queue_is_skipped_and_counted,
    fair::groups_share_a_queue_by_weight,
    fair::a_group_runs_no_more_than_its_limit_even_after_a_restart,
    fair::every_end_of_a_lease_gives_its_slot_back,
    fair::a_waiting_call_wakes_when_a_slot_is_free,
    fair::a_waiting_call_wakes_when_a_bucket_refills,
    fair::a_rate_outlives_a_restart,
    fair::a_waiting_call_wakes_when_a_limit_is_lifted,
    fair::a_strict_queue_never_starts_a_lower_priority_first,
    fair::lists_find_a_group,
    flows::a_child_starts_after_its_parents_across_restarts,
    flows::a_call_stores_a_whole_flow,
    flows::a_child_waits_for_its_time_too,
    flows::a_parent_that_completed_counts_as_done,
    flows::a_parent_that_is_forgotten_after_it_completed_stays_done,
    flows::a_child_waits_while_its_parent_is_dead,
    flows::a_cancelled_parent_cancels_those_that_wait_for_it,
    flows::a_purged_parent_cancels_those_that_wait_for_it,
    flows::a_child_may_run_whatever_became_of_its_parents,
    flows::a_parent_that_is_not_there_is_refused,
    flows::a_repeated_call_needs_no_parents_any_more,
    flows::a_unique_key_keeps_others_away_until_its_task_ends,
    flows::a_unique_key_is_free_again_after_its_time,
    flows::a_dead_task_stays_dead_while_another_holds_its_key,
    flows::a_task_dies_at_its_deadline_in_every_state,
    flows::a_redriven_task_has_as_long_again,
    flows::a_completed_task_has_no_deadline,
    flows::a_snoozed_task_comes_back_later_and_its_attempt_does_not_count,
    log::events_tell_every_change,
    log::a_reader_passes_over_what_it_does_not_want,
    log::a_cursor_resumes_after_a_restart,
    log::a_cursor_that_the_log_has_passed_is_expired,
    log::a_cursor_from_elsewhere_is_expired,
    log::lists_page_through_every_task_newest_first,
    log::lists_keep_to_their_filters,
    log::lists_leave_payloads_and_results_in_the_ledger,
    log::queues_count_their_tasks,
    attempts::a_report_is_durable_when_it_is_answered,
    attempts::a_checkpoint_is_carried_to_the_next_attempt,
    attempts::a_checkpoint_goes_with_its_task,
    attempts::a_stale_report_changes_nothing,
    attempts::a_plain_heartbeat_writes_nothing,
    attempts::a_dead_task_tells_how_each_attempt_ended,
    attempts::a_task_that_completes_at_once_has_no_history,
    attempts::a_redriven_task_keeps_its_history,
    attempts::leases_are_counted_by_worker,
    attempts::a_queue_tells_how_it_performs,
    upkeep::a_queue_keeps_ended_tasks_as_long_as_it_says,
    upkeep::a_queue_keeps_as_many_bytes_of_ended_tasks_as_it_says,
    upkeep::the_limits_of_the_daemon_bound_those_of_queues,
    upkeep::a_watch_that_keeps_up_sees_what_is_kept_for_no_time,
    upkeep::dead_letters_outlive_what_completes,
}

/// A task of queue `q`.
fn task(payload: &str) -> NewTask {
    let retry = Retry { initial: Duration::from_millis(5), ..Retry::default() };
    let spec = Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "k".into(),
        metadata: vec![("run".into(), "7".into())],
        request_id: "".into(),
        body_hash: 0,
        priority: 0,
        retry,
        attempt_timeout: None,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        group: "".into(),
        terms: None,
    };
    NewTask { spec, payload: payload.as_bytes().into(), delay: Duration::ZERO, after_index: Vec::new() }
}

/// The same with a key.
fn keyed(payload: &str, key: &str) -> NewTask {
    let mut task = task(payload);
    task.spec.request_id = key.into();
    task.spec.body_hash = body_hash(&task);
    task
}

/// Asks queue `q` for up to `max` tasks, without waiting.
fn ask(max: usize) -> LeaseRequest {
    LeaseRequest {
        namespace: "default".into(),
        queues: vec!["q".into()],
        worker: "w-1".into(),
        max,
        duration: Duration::from_secs(30),
        wait: Duration::ZERO,
        stream: 0,
        mark: Mark::of("w-1"),
    }
}

/// The same for leases that end soon.
fn ask_briefly(max: usize) -> LeaseRequest {
    LeaseRequest { duration: Duration::from_millis(60), wait: PATIENCE, ..ask(max) }
}

fn refer(lease: &Lease) -> LeaseRef {
    lease.refer()
}

fn failed(permanent: bool) -> Outcome {
    let error = Failure::new("BROKEN", "it broke");
    Outcome::Failed { error, permanent, retry_after: None }
}

fn completed(result: &str) -> Outcome {
    Outcome::Completed(result.as_bytes().into())
}

/// Verbs as the tests say them, each of which must go well.
#[async_trait]
trait Verbs {
    async fn put(&self, task: NewTask) -> Receipt;
    async fn take(&self, request: LeaseRequest) -> Vec<Lease>;
    async fn take_one(&self) -> Lease;
    async fn end(&self, lease: LeaseRef, outcome: Outcome) -> Settled;
    async fn state(&self, id: Uuid) -> Option<State>;
    async fn heartbeat(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        duration: Duration,
    ) -> Result<Vec<Beat>, Error>;
}

#[async_trait]
impl Verbs for Store {
    async fn put(&self, task: NewTask) -> Receipt {
        self.enqueue(vec![task]).await.unwrap()[0]
    }

    async fn take(&self, request: LeaseRequest) -> Vec<Lease> {
        self.lease(request).await.unwrap()
    }

    async fn take_one(&self) -> Lease {
        let leases = self.take(LeaseRequest { wait: PATIENCE, ..ask(1) }).await;
        leases.into_iter().next().expect("a task becomes ready in time")
    }

    async fn end(&self, lease: LeaseRef, outcome: Outcome) -> Settled {
        self.settle(&"default".into(), vec![Settlement { lease, outcome }]).await.unwrap()[0]
    }

    async fn state(&self, id: Uuid) -> Option<State> {
        self.task(&"default".into(), id).await.unwrap().map(|task| task.status.state)
    }

    async fn heartbeat(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        duration: Duration,
    ) -> Result<Vec<Beat>, Error> {
        self.report(namespace, leases, Vec::new(), Some(duration)).await
    }
}

/// Waits until a task is in a state.
async fn eventually(store: &Store, id: Uuid, state: State) {
    let reached = || async { (store.state(id).await == Some(state)).then_some(()) };
    soon(&format!("task {id} becomes {state:?}"), LONGEST, reached).await;
}
