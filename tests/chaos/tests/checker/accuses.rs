//! Each thing that must not be is found, and what may be is let be.

use nova_chaos::history::{Answer, Call, Job, Level, Limits, Outcome, Snapshot, State};

use crate::story::{LEASE, Story, completed, done, hold, job, task};

fn life() -> Story {
    let mut story = Story::default();
    story.stored("a", job("k")).given("a", 5, 1).completes("a", 5).left(done("a", 5));
    story
}

#[test]
fn a_plain_life_is_fine() {
    assert_eq!(life().broken(), []);
}

#[test]
fn a_lost_task_is_found() {
    let mut story = Story::default();
    story.stored("a", job(""));
    assert_eq!(story.broken(), [1]);
}

#[test]
fn what_a_failover_may_lose_is_no_violation() {
    let mut story = Story::default();
    story.stored_at("a", job(""), Level::Aof);
    let from = story.moment().order;
    story.stored_at("b", job(""), Level::Aof).lossy(from).left(task("a", State::Dead));
    story.rest.tasks[0].attempts = 3;
    assert_eq!(story.broken(), []);
    story.rest.tasks.clear();
    assert_eq!(story.broken(), [1], "what was replicated may not go");
}

#[test]
fn a_loss_that_is_no_suffix_is_found() {
    let mut story = Story::default();
    let from = story.moment().order;
    story.stored_at("a", job(""), Level::Aof).stored_at("b", job(""), Level::Aof).lossy(from);
    story.left(Snapshot { attempts: 3, ..task("b", State::Dead) });
    assert_eq!(story.broken(), [1]);
}

#[test]
fn a_failover_excuses_no_synced_task() {
    let mut story = Story::default();
    let from = story.moment().order;
    story.stored("a", job("")).lossy(from);
    assert_eq!(story.broken(), [1]);
}

#[test]
fn a_completion_that_was_undone_is_found() {
    let mut story = life();
    story.rest.tasks[0] = task("a", State::Ready);
    assert_eq!(story.broken(), [1, 5]);
}

#[test]
fn a_token_given_twice_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).stored("b", job("")).given("a", 5, 1).given("b", 5, 1);
    story.left(Snapshot { attempts: 3, ..task("a", State::Dead) });
    story.left(Snapshot { attempts: 3, ..task("b", State::Dead) });
    assert_eq!(story.broken(), [2]);
}

#[test]
fn a_failover_excuses_no_token_given_twice() {
    let mut story = Story::default();
    let from = story.moment().order;
    story.stored_at("a", job(""), Level::Aof).given("a", 5, 1).lossy(from).given("b", 5, 1);
    assert_eq!(story.broken(), [2]);
}

#[test]
fn a_task_given_while_it_is_held_is_found() {
    let mut story = life();
    story.history.operations.pop();
    story.given("a", 7, 2).completes("a", 7);
    story.rest.tasks[0] = done("a", 7);
    assert_eq!(story.broken(), [2]);
}

#[test]
fn a_task_given_again_after_its_lease_is_fine() {
    let mut story = life();
    story.history.operations.pop();
    story.pass(LEASE).given("a", 7, 2).completes("a", 7);
    story.rest.tasks[0] = done("a", 7);
    assert_eq!(story.broken(), []);
}

#[test]
fn a_stale_settlement_that_takes_effect_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1).pass(LEASE).given("a", 7, 2);
    story.completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), [3]);
}

#[test]
fn a_stale_settlement_that_was_refused_and_took_effect_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1);
    story.settles("a", 5, completed(5), Answer::Lost).left(done("a", 5));
    assert_eq!(story.broken(), [3]);
}

#[test]
fn a_settlement_whose_refusal_was_lost_may_take_effect() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1);
    let from = story.moment().order;
    story.settles("a", 5, completed(5), Answer::Lost).lossy(from).left(done("a", 5));
    assert_eq!(story.broken(), []);
}

#[test]
fn a_stale_heartbeat_that_extends_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1).pass(LEASE).given("a", 7, 2);
    story.tell(Call::Heartbeat(vec![hold("a", 5)], LEASE), Answer::Extended(vec![true]));
    story.completes("a", 7).left(done("a", 7));
    assert_eq!(story.broken(), [3]);
}

#[test]
fn a_task_in_two_states_is_found() {
    let mut story = life();
    story.left(done("a", 5));
    assert_eq!(story.broken(), [4]);
    let mut story = life();
    story.rest.counted = vec![(State::Completed, 2)];
    assert_eq!(story.broken(), [4]);
}

#[test]
fn a_second_ending_is_found() {
    let mut story = life();
    story.given("a", 7, 2);
    assert_eq!(story.broken(), [5]);
    let mut story = life();
    story.reads(Snapshot { result: Some("by another".into()), ..done("a", 5) });
    assert_eq!(story.broken(), [5]);
}

#[test]
fn too_many_attempts_are_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 4).completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), [6]);
}

#[test]
fn an_expired_attempt_that_is_not_counted_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1).pass(LEASE).given("a", 7, 1);
    story.completes("a", 7).left(done("a", 7));
    assert_eq!(story.broken(), [6]);
}

#[test]
fn a_death_before_the_last_attempt_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).left(task("a", State::Dead));
    assert_eq!(story.broken(), [6]);
}

#[test]
fn a_key_of_two_tasks_is_found() {
    let mut story = life();
    story.stored("b", job("k")).given("b", 7, 1).completes("b", 7).left(done("b", 7));
    assert_eq!(story.broken(), [7]);
}

#[test]
fn an_early_start_is_found() {
    let mut story = Story::default();
    story
        .stored("a", Job { delay: 1_000_000, ..job("") })
        .given("a", 5, 1)
        .completes("a", 5)
        .left(done("a", 5));
    assert_eq!(story.broken(), [8]);
}

#[test]
fn an_early_retry_is_found() {
    let mut story = Story::default();
    let failed = Outcome::Failed { permanent: false, retry_after: Some(1_000_000) };
    story.stored("a", job("")).given("a", 5, 1).settles("a", 5, failed, Answer::Settled(State::Waiting));
    story.given("a", 7, 2).completes("a", 7).left(done("a", 7));
    assert_eq!(story.broken(), [8]);
}

#[test]
fn a_start_in_a_pause_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).tell(Call::Pause("q".into()), Answer::Done).given("a", 5, 1);
    story.completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), [8]);
}

#[test]
fn a_group_beyond_its_limit_is_found() {
    let mut story = Story::default();
    story.limits(Limits { group_running: Some(1), ..Limits::default() });
    let grouped = || Job { group: "g".into(), ..job("") };
    story.stored("a", grouped()).stored("b", grouped()).given("a", 5, 1).given("b", 6, 1);
    story.completes("a", 5).completes("b", 6).left(done("a", 5)).left(done("b", 6));
    assert_eq!(story.broken(), [9]);
}

#[test]
fn a_queue_beyond_its_limit_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).stored("b", job("")).given("a", 5, 1);
    story.limits(Limits { running: Some(1), ..Limits::default() }).given("b", 6, 1);
    story.completes("a", 5).completes("b", 6).left(done("a", 5)).left(done("b", 6));
    assert_eq!(story.broken(), [9]);
}

#[test]
fn what_ran_before_a_limit_was_lowered_is_fine() {
    let mut story = Story::default();
    story.stored("a", job("")).stored("b", job("")).given("a", 5, 1).given("b", 6, 1);
    story.limits(Limits { running: Some(1), ..Limits::default() });
    story.completes("a", 5).completes("b", 6).left(done("a", 5)).left(done("b", 6));
    assert_eq!(story.broken(), []);
}

#[test]
fn a_rate_that_is_exceeded_is_found() {
    let mut story = Story::default();
    story.limits(Limits { rate: Some((1, 1_000_000)), ..Limits::default() });
    for (id, token) in [("a", 5), ("b", 6), ("c", 7)] {
        story.stored(id, job("")).given(id, token, 1).completes(id, token).left(done(id, token));
    }
    assert_eq!(story.broken(), [9]);
}

#[test]
fn a_leaked_slot_is_found() {
    let mut story = life();
    story.rest.counted = vec![(State::Leased, 1)];
    assert_eq!(story.broken(), [4, 9]);
}

#[test]
fn a_task_that_is_passed_over_is_found() {
    let mut story = Story::default();
    story.rules.ageing_step = Some(1_000);
    story.stored("a", Job { priority: 0, ..job("") }).pass(20_000).stored("b", job(""));
    story.given("b", 5, 1).given("a", 6, 1).completes("a", 6).completes("b", 5);
    story.left(done("a", 6)).left(done("b", 5));
    assert_eq!(story.broken(), [10]);
}

#[test]
fn a_share_far_from_its_weight_is_found() {
    let mut story = Story::default();
    story.rules.weights = [("g".to_owned(), 1), ("h".to_owned(), 1)].into();
    for number in 0..200_u64 {
        let (id, group) = (format!("t{number}"), if number < 150 { "g" } else { "h" });
        story.stored(&id, Job { group: group.into(), ..job("") }).given(&id, number + 1, 1);
        story.completes(&id, number + 1).left(done(&id, number + 1));
    }
    assert_eq!(story.broken(), [10]);
}

#[test]
fn a_child_before_its_parent_is_found() {
    let mut story = Story::default();
    story.stored("a", job("k")).stored("b", Job { parents: vec!["a".into()], ..job("c") });
    story.given("b", 5, 1).given("a", 6, 1).completes("a", 6).completes("b", 5);
    story.left(done("a", 6)).left(done("b", 5));
    assert_eq!(story.broken(), [11]);
}

#[test]
fn a_child_after_a_parent_that_failed_is_fine_where_that_was_said() {
    let mut story = Story::default();
    let failed = Outcome::Failed { permanent: true, retry_after: None };
    story.stored("a", job("")).given("a", 5, 1).settles("a", 5, failed, Answer::Settled(State::Dead));
    let child = Job { parents: vec!["a".into()], after_failure: true, ..job("") };
    story.stored("b", child).given("b", 6, 1).completes("b", 6);
    story.left(task("a", State::Dead)).left(done("b", 6));
    assert_eq!(story.broken(), []);
}

#[test]
fn two_tasks_under_one_unique_key_are_found() {
    let mut story = Story::default();
    for id in ["a", "b"] {
        let unique = Job { unique: "u".into(), delay: 1_000_000, ..job("") };
        story.stored(id, unique).left(Snapshot { attempts: 3, ..task(id, State::Dead) });
    }
    assert_eq!(story.broken(), [7]);
}

#[test]
fn a_start_after_the_deadline_is_found() {
    let mut story = Story::default();
    story.stored("a", Job { deadline: Some(1_000_000), ..job("") }).pass(2_000_000).given("a", 5, 1);
    story.completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), [8]);
}

#[test]
fn a_cancelled_task_that_goes_on_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).tell(Call::Cancel("a".into()), Answer::Removed(true));
    story.given("a", 5, 1).completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), [5]);
}

#[test]
fn a_held_task_that_is_purged_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1).tell(Call::Purge("a".into()), Answer::Removed(true));
    assert_eq!(story.broken(), [2]);
}

#[test]
fn a_purged_task_is_no_lost_one() {
    let mut story = Story::default();
    story.stored("a", job("")).tell(Call::Purge("a".into()), Answer::Removed(true));
    assert_eq!(story.broken(), []);
}

#[test]
fn a_lease_that_a_failover_has_brought_back_may_be_proven() {
    let mut story = Story::default();
    story.stored_at("a", job(""), Level::Aof).given("a", 5, 1).pass(2 * LEASE);
    let from = story.moment().order;
    story.given("a", 7, 2).lossy(from);
    story.tell(Call::Prove(hold("a", 5)), Answer::Proven(Some(LEASE))).completes("a", 5).left(done("a", 5));
    assert_eq!(story.broken(), []);
}

#[test]
fn a_proven_task_that_is_handed_on_is_found() {
    let mut story = life();
    story.history.operations.pop();
    story.tell(Call::Prove(hold("a", 5)), Answer::Proven(Some(LEASE))).pass(LEASE);
    story.given("a", 7, 2).completes("a", 7);
    story.rest.tasks[0] = done("a", 7);
    assert_eq!(story.broken(), [2]);
}

#[test]
fn a_checkpoint_that_is_lost_is_found() {
    let mut story = life();
    story.history.operations.pop();
    let left = Call::Report(hold("a", 5), "half".into(), LEASE);
    story.tell(left, Answer::Extended(vec![true])).pass(2 * LEASE);
    story.given("a", 7, 2).completes("a", 7);
    story.rest.tasks[0] = done("a", 7);
    assert_eq!(story.broken(), [1]);
}

#[test]
fn an_attempt_more_than_the_producer_allowed_is_found() {
    let mut story = Story::default();
    story.stored("a", Job { max_attempts: 1, ..job("") }).given("a", 5, 1).pass(LEASE).given("a", 7, 2);
    story.completes("a", 7).left(done("a", 7));
    assert_eq!(story.broken(), [6]);
}

#[test]
fn an_early_start_after_a_snooze_is_found() {
    let mut story = Story::default();
    let snoozed = Outcome::Snoozed(1_000_000);
    story.stored("a", job("")).given("a", 5, 1).settles("a", 5, snoozed, Answer::Settled(State::Waiting));
    story.given("a", 7, 1).completes("a", 7).left(done("a", 7));
    assert_eq!(story.broken(), [8]);
}

#[test]
fn a_second_firing_is_found() {
    let mut story = Story::default();
    for id in ["a", "b"] {
        let firing = Some(("hourly".to_owned(), 3_600));
        story.left(Snapshot { attempts: 3, firing, ..task(id, State::Dead) });
    }
    assert_eq!(story.broken(), [12]);
}

#[test]
fn a_lease_that_nobody_reclaims_is_found() {
    let mut story = Story::default();
    story.stored("a", job("")).given("a", 5, 1).pass(2 * LEASE).reads(task("a", State::Leased));
    story.left(Snapshot { attempts: 3, ..task("a", State::Dead) });
    assert_eq!(story.broken(), [13]);
}
