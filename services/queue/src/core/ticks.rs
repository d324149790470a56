//! Schedules on a held clock, with restarts: what fires, what does not, and what is written with what.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Core, Keep, Limits, batch::Batch, restore::Counters};
use crate::{
    cron::Cron,
    error::Error,
    intake::Intake,
    record::{NewTask, Spec},
    schedule::{Key, Missed, Schedule},
    task::{Micros, Retry},
};

const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// 2026-03-28T12:00:00Z, the day before Berlin's clocks go forward.
const NOON: Micros = 1_774_699_200 * SECOND;

fn limits() -> Limits {
    Limits {
        tasks: 5_000,
        bytes: usize::MAX,
        queues: 10,
        schedules: 2,
        payload_cache: 0,
        ageing_step: Duration::from_secs(1),
        finished: Keep { most: 10, span: Duration::from_secs(60) },
        dead: Keep { most: 10, span: Duration::from_secs(60) },
        events: 1,
    }
}

fn task() -> NewTask {
    let spec = Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "report".into(),
        metadata: vec![("team".into(), "sales".into())],
        request_id: "".into(),
        body_hash: 0,
        priority: 3,
        retry: Retry::default(),
        attempt_timeout: None,
        traceparent: "".into(),
        group: "".into(),
        terms: None,
    };
    NewTask { spec, payload: Arc::from(&b"p"[..]), delay: Duration::ZERO, after_index: Vec::new() }
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule {
        key: key("s"),
        cron: Arc::new(Cron::parse(cron, zone).unwrap()),
        task: task(),
        said: Arc::from(&b"said"[..]),
        missed: Missed::Once,
        paused: false,
        created: 0,
        seen: 0,
        last: None,
        skipped: 0,
    }
}

fn key(name: &str) -> Key {
    ("default".into(), name.into())
}

/// A core, what it wrote, and the tasks that came with the facts.
struct Run {
    core: Core,
    facts: BTreeMap<String, String>,
    ticks: Vec<String>,
    counters: Counters,
    now: Micros,
}

impl Run {
    fn new(schedule: Schedule) -> Self {
        let core = Core::new(limits(), 1);
        let (facts, ticks) = (BTreeMap::new(), Vec::new());
        let mut run = Self { core, facts, ticks, counters: Counters::default(), now: NOON };
        run.core.put_schedule(schedule, run.now).unwrap();
        run.commit();
        run
    }

    /// Fires what is due, and commits.
    fn at(&mut self, now: Micros) {
        self.now = now;
        while self.core.next_tick().is_some_and(|next| next <= now) {
            self.core.tick(now);
            self.commit();
        }
    }

    fn commit(&mut self) {
        let batch = self.core.take_batch(self.now);
        for (key, value) in &batch.facts {
            match value {
                Some(value) => drop(self.facts.insert(key.clone(), value.clone())),
                None => drop(self.facts.remove(key)),
            }
        }
        self.ticks.extend(tick_labels(&batch));
        let rows = batch.inserts.iter().map(|task| task.row);
        self.counters.last_row = rows.max().unwrap_or_default().max(self.counters.last_row);
    }

    /// Builds the core again from the facts, as another daemon would; what was not committed is lost.
    fn restart(&mut self, now: Micros) {
        self.now = now;
        self.core = Core::new(limits(), 2);
        for (key, value) in &self.facts {
            self.core.restore_fact(key, value).unwrap();
        }
        self.core.restored(self.counters, now);
    }

    /// The ticks that fired since this was asked last.
    fn fired(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ticks)
    }

    fn schedule(&self) -> Schedule {
        self.core.schedule(&key("s")).unwrap()
    }
}

fn tick_labels(batch: &Batch) -> Vec<String> {
    let labels = batch.inserts.iter().map(|task| task.spec.label("tick").unwrap().to_owned());
    labels.collect()
}

#[test]
fn a_tick_makes_one_task_of_its_template() {
    let mut run = Run::new(schedule("0 * * * *", ""));
    run.at(NOON + HOUR - 1);
    assert!(run.fired().is_empty(), "not before its time");
    run.now = NOON + HOUR;
    run.core.tick(run.now);
    let batch = run.core.take_batch(run.now);
    let made = &batch.inserts[0];
    assert_eq!((&*made.spec.kind, made.spec.priority, &*made.payload), ("report", 3, &b"p"[..]));
    let labels = ["schedule", "team", "tick"].map(|label| made.spec.label(label).unwrap());
    assert_eq!(labels, ["s", "sales", "2026-03-28T13:00:00Z"]);
    assert!(batch.facts.contains_key("schedule/default/s"), "task and tick are one commit");
    assert_eq!(run.schedule().last.map(|last| (last.at, last.task)), Some((NOON + HOUR, made.id)));
    run.at(NOON + HOUR + MINUTE);
    assert!(run.fired().is_empty(), "once");
}

#[test]
fn each_task_begins_a_trace_of_its_own() {
    let mut run = Run::new(schedule("0 * * * *", ""));
    let mut traces = Vec::new();
    for hour in 1..=2 {
        run.core.tick(NOON + hour * HOUR);
        let batch = run.core.take_batch(NOON);
        traces.push(batch.inserts[0].spec.traceparent.clone());
    }
    let parts: Vec<Vec<&str>> = traces.iter().map(|trace| trace.split('-').collect()).collect();
    assert_eq!(parts[0].iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
    assert_ne!(parts[0][1], parts[1][1]);
}

#[test]
fn a_tick_fires_once_across_restarts_and_lost_commits() {
    let mut run = Run::new(schedule("* * * * *", ""));
    for minute in 1..=5 {
        let now = NOON + minute * MINUTE;
        run.core.tick(now);
        run.restart(now);
        run.at(now);
        run.restart(now + SECOND);
        run.at(now + SECOND);
        assert_eq!(run.fired(), [format!("2026-03-28T12:0{minute}:00Z")]);
    }
}

#[test]
fn a_clock_that_goes_back_fires_no_tick_again() {
    let mut run = Run::new(schedule("* * * * *", ""));
    run.at(NOON + MINUTE);
    run.at(NOON + 2 * MINUTE);
    assert_eq!(run.fired().len(), 2);
    run.restart(NOON - HOUR);
    for second in (0..3_720).step_by(20) {
        run.at(NOON - HOUR + second * SECOND);
    }
    run.core.put_schedule(schedule("* * * * *", ""), NOON - HOUR).unwrap();
    run.at(NOON + 2 * MINUTE);
    assert!(run.fired().is_empty());
    run.at(NOON + 3 * MINUTE);
    assert_eq!(run.fired(), ["2026-03-28T12:03:00Z"]);
}

#[test]
fn clocks_put_forward_and_back_fire_a_time_of_day_once() {
    let mut run = Run::new(schedule("30 2 * * *", "Europe/Berlin"));
    for half_hour in 0..96 {
        run.at(NOON + half_hour * 30 * MINUTE);
    }
    assert_eq!(run.fired(), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let october = NOON + 210 * 24 * HOUR;
    run.core.put_schedule(schedule("30 2 * * *", "Europe/Berlin"), october).unwrap();
    for half_hour in 0..96 {
        run.at(october + half_hour * 30 * MINUTE);
    }
    assert_eq!(run.fired(), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

/// The ticks of every minute that fire after five hours and a half, for those who were away.
fn after_an_outage(missed: Missed) -> Vec<String> {
    let mut run = Run::new(Schedule { missed, ..schedule("0 * * * *", "") });
    run.restart(NOON + 5 * HOUR + 30 * MINUTE);
    run.at(NOON + 5 * HOUR + 30 * MINUTE);
    let fired = run.fired();
    run.at(NOON + 6 * HOUR);
    assert_eq!(run.fired(), ["2026-03-28T18:00:00Z"], "and goes on");
    fired
}

#[test]
fn missed_ticks_make_one_task_or_none_or_one_each() {
    assert_eq!(after_an_outage(Missed::Once), ["2026-03-28T17:00:00Z"]);
    assert!(after_an_outage(Missed::Skip).is_empty());
    let hours: Vec<_> = (13..=17).map(|hour| format!("2026-03-28T{hour}:00:00Z")).collect();
    assert_eq!(after_an_outage(Missed::All), hours);
}

#[test]
fn the_tick_that_is_due_stands_for_the_missed_ones() {
    let mut run = Run::new(schedule("0 * * * *", ""));
    run.at(NOON + 3 * HOUR + SECOND);
    assert_eq!(run.fired(), ["2026-03-28T15:00:00Z"]);
}

#[test]
fn a_tick_seen_within_a_minute_is_not_missed() {
    let mut run = Run::new(Schedule { missed: Missed::Skip, ..schedule("0 * * * *", "") });
    run.restart(NOON + HOUR + 59 * SECOND);
    run.at(NOON + HOUR + 59 * SECOND);
    assert_eq!(run.fired(), ["2026-03-28T13:00:00Z"]);
}

#[test]
fn at_most_a_thousand_missed_ticks_are_caught_up_with() {
    let mut run = Run::new(Schedule { missed: Missed::All, ..schedule("* * * * * *", "") });
    run.at(NOON + 24 * HOUR);
    let fired = run.fired();
    assert_eq!(fired.len(), 1_060, "and the last minute, which is not missed");
    assert_eq!((&*fired[0], &*fired[999]), ("2026-03-28T12:00:01Z", "2026-03-28T12:16:40Z"));
}

#[test]
fn a_paused_schedule_fires_nothing_and_catches_up_with_nothing() {
    let mut run = Run::new(Schedule { paused: true, ..schedule("0 * * * *", "") });
    run.at(NOON + 3 * HOUR);
    run.restart(NOON + 4 * HOUR);
    run.at(NOON + 4 * HOUR);
    run.core.put_schedule(schedule("0 * * * *", ""), NOON + 4 * HOUR).unwrap();
    run.at(NOON + 4 * HOUR + 59 * MINUTE);
    assert!(run.fired().is_empty());
    run.at(NOON + 5 * HOUR);
    assert_eq!(run.fired(), ["2026-03-28T17:00:00Z"]);
}

#[test]
fn a_tick_of_a_queue_that_takes_nothing_is_skipped_and_counted() {
    let mut run = Run::new(schedule("0 * * * *", ""));
    let settings = |run: &mut Run, intake, max_tasks| {
        let change = |settings: &mut crate::record::QueueSettings| {
            (settings.intake, settings.max_tasks) = (intake, max_tasks);
        };
        run.core.configure(&"default".into(), &"q".into(), change, run.now).unwrap();
    };
    settings(&mut run, Intake::Draining, None);
    run.core.tick(NOON + HOUR);
    let batch = run.core.take_batch(NOON + HOUR);
    assert!(matches!(batch.ticks[0].made, Err(Error::Draining { .. })));
    settings(&mut run, Intake::Open, Some(1));
    run.at(NOON + HOUR + MINUTE);
    assert!(run.fired().is_empty(), "it is not tried again");
    run.at(NOON + 2 * HOUR);
    run.at(NOON + 3 * HOUR);
    assert_eq!(run.fired(), ["2026-03-28T14:00:00Z"], "the queue is full then");
    run.restart(NOON + 3 * HOUR);
    assert_eq!(run.schedule().skipped, 2);
}

#[test]
fn schedules_are_bounded_replaced_and_deleted() {
    let mut run = Run::new(schedule("0 * * * *", ""));
    run.core.put_schedule(Schedule { key: key("t"), ..schedule("5 * * * *", "") }, NOON).unwrap();
    let third = Schedule { key: key("u"), ..schedule("0 * * * *", "") };
    assert!(matches!(run.core.put_schedule(third, NOON), Err(Error::TooManySchedules(2))));
    let replaced = run.core.put_schedule(schedule("10 * * * *", ""), NOON + MINUTE).unwrap();
    assert_eq!((replaced.created, replaced.next()), (NOON, Some(NOON + 10 * MINUTE)));
    run.core.delete_schedule(&key("t")).unwrap();
    assert!(matches!(run.core.delete_schedule(&key("t")), Err(Error::NoSchedule(_))));
    run.commit();
    run.restart(NOON + MINUTE);
    assert_eq!(run.core.schedules_after(&"default".into(), "", 10).len(), 1);
    assert_eq!(run.schedule().said, schedule("0 * * * *", "").said);
    run.at(NOON + HOUR);
    assert_eq!(run.fired(), ["2026-03-28T12:10:00Z"]);
}

#[test]
fn a_damaged_schedule_is_named() {
    let mut core = Core::new(limits(), 1);
    let error = core.restore_fact("schedule/default/s", "{}").unwrap_err();
    assert!(error.to_string().contains("schedule \"s\" is damaged"), "{error}");
}
