//! Schedules: each tick once, across restarts, on both ledgers.

use std::{sync::Arc, time::Duration};

use nova_testkit::soon;
use nova_types::{Clock as _, HeldClock, SystemClock, Timestamp};

use super::{Home, LONGEST, task};
use crate::{
    Error,
    config::Config,
    cron::Cron,
    intake::Intake,
    record::{Fits, Task, TaskFilter},
    schedule::{Key, Missed, Schedule},
    store::Store,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn key(name: &str) -> Key {
    ("default".into(), name.into())
}

fn schedule(cron: &str) -> Schedule {
    Schedule {
        key: key("s"),
        cron: Arc::new(Cron::parse(cron, "Europe/Berlin").unwrap()),
        task: task("t"),
        said: Arc::from(&b"said"[..]),
        missed: Missed::Once,
        paused: false,
        created: 0,
        seen: 0,
        last: None,
        skipped: 0,
    }
}

/// A store on a clock that stands at the present.
async fn held(home: &dyn Home) -> (Store, Arc<HeldClock>) {
    let clock = Arc::new(HeldClock::at(SystemClock.now()));
    (home.open_at(Config::default(), Arc::clone(&clock) as _).await, clock)
}

/// The tasks that schedule `s` made, oldest first.
async fn made(store: &Store) -> Vec<Task> {
    let filter = TaskFilter {
        namespace: "default".into(),
        queue: Some("q".into()),
        states: Vec::new(),
        before: None,
        limit: 1_000,
        fits: Fits { metadata: vec![("schedule".into(), "s".into())], ..Fits::default() },
    };
    // Fires what is due first: lists are read beside the engine.
    store.schedule(key("s")).await.unwrap();
    let mut tasks = store.tasks(filter).await.unwrap().tasks;
    tasks.reverse();
    tasks
}

fn ticks(tasks: &[Task]) -> Vec<i64> {
    let tick = |task: &Task| task.spec.label("tick").unwrap().parse::<jiff::Timestamp>().unwrap();
    tasks.iter().map(|task| tick(task).as_second()).collect()
}

/// Waits until `count` tasks were made.
async fn until_made(store: &Store, count: usize) {
    let enough = || async { (made(store).await.len() >= count).then_some(()) };
    soon("the schedule ticks", LONGEST, enough).await;
}

pub(super) async fn each_tick_fires_once_across_restarts(home: &dyn Home) {
    let mut store = home.open().await;
    store.put_schedule(schedule("* * * * * *")).await.unwrap();
    for restarts in 1..=4 {
        until_made(&store, restarts).await;
        drop(store);
        store = home.open().await;
    }
    until_made(&store, 5).await;
    let ticks = ticks(&made(&store).await);
    let from = ticks[0];
    assert_eq!(ticks, (from..from + ticks.len() as i64).collect::<Vec<_>>(), "none twice, none left out");
}

pub(super) async fn a_schedule_survives_a_restart(home: &dyn Home) {
    let store = home.open().await;
    let stored = store.put_schedule(schedule("0 3 1 1 *")).await.unwrap();
    store.put_schedule(Schedule { key: key("gone"), ..schedule("0 3 * * *") }).await.unwrap();
    store.delete_schedule(key("gone")).await.unwrap();
    drop(store);
    let store = home.open().await;
    let kept = store.schedules(&"default".into(), String::new(), 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].fact(), stored.fact());
    let none = store.delete_schedule(key("gone")).await;
    assert!(matches!(none, Err(Error::NoSchedule(_))), "{none:?}");
}

pub(super) async fn missed_ticks_are_caught_up_with_as_they_should(home: &dyn Home) {
    for (missed, fired) in [(Missed::Skip, 0), (Missed::Once, 1), (Missed::All, 7)] {
        let (store, clock) = held(home).await;
        let name = format!("{missed:?}");
        let mut scheduled = Schedule { key: key(&name), missed, ..schedule("30 7 * * * *") };
        scheduled.task.spec.queue = name.clone().into();
        store.put_schedule(scheduled).await.unwrap();
        let first = store.schedule(key(&name)).await.unwrap().unwrap().next().unwrap();
        clock.set(Timestamp::from_micros(first) + HOUR * 6 + HOUR / 30);
        let seen = store.schedule(key(&name)).await.unwrap().unwrap();
        let counted = store.queues(&"default".into(), String::new(), 10).await.unwrap();
        let ready = counted.iter().find(|queue| *queue.queue == *name).map_or(0, |queue| queue.ready);
        assert_eq!(ready, fired, "{missed:?}");
        assert_eq!(seen.last.is_some(), fired > 0);
    }
}

pub(super) async fn a_clock_that_goes_back_fires_no_tick_again(home: &dyn Home) {
    let (store, clock) = held(home).await;
    store.put_schedule(schedule("0 * * * *")).await.unwrap();
    clock.advance(HOUR);
    assert_eq!(made(&store).await.len(), 1);
    clock.set(SystemClock.now());
    store.put_schedule(schedule("0 * * * *")).await.unwrap();
    clock.advance(HOUR);
    assert_eq!(made(&store).await.len(), 1);
    drop(store);
    let (store, clock) = held(home).await;
    clock.advance(HOUR / 2);
    assert_eq!(made(&store).await.len(), 1);
    clock.advance(HOUR * 2);
    assert_eq!(made(&store).await.len(), 2, "and it goes on");
}

pub(super) async fn a_tick_of_a_draining_queue_is_skipped_and_counted(home: &dyn Home) {
    let (store, clock) = held(home).await;
    store.put_schedule(schedule("0 * * * *")).await.unwrap();
    let intake = async |intake| {
        let change = move |settings: &mut crate::record::QueueSettings| settings.intake = intake;
        store.configure(&"default".into(), &"q".into(), change).await.unwrap();
    };
    intake(Intake::Draining).await;
    clock.advance(HOUR);
    assert_eq!(store.schedule(key("s")).await.unwrap().unwrap().skipped, 1);
    intake(Intake::Open).await;
    assert!(made(&store).await.is_empty(), "it is not tried again");
    clock.advance(HOUR);
    assert_eq!(made(&store).await.len(), 1);
}
