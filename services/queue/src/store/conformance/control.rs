//! What operators do: cancel, purge, redrive, pause, drain.

use uuid::Uuid;

use super::{Home, Verbs as _, ask, completed, failed, flows::unique, keyed, refer, task};
use crate::{
    Error,
    intake::Intake,
    record::{Beat, Fits, NewTask, QueueSettings, Receipt, Settled, Spec, Task, TaskFilter},
    store::Store,
    task::State,
};

async fn cancel(store: &Store, ids: Vec<Uuid>) -> usize {
    store.cancel(&"default".into(), ids, "no longer wanted".into()).await.unwrap()
}

async fn purge(store: &Store, ids: Vec<Uuid>) -> usize {
    purge_in(store, ids, Vec::new()).await
}

async fn purge_in(store: &Store, ids: Vec<Uuid>, states: Vec<State>) -> usize {
    store.purge(&"default".into(), ids, states).await.unwrap()
}

async fn configure(store: &Store, change: impl FnOnce(&mut QueueSettings) + Send + 'static) {
    store.configure(&"default".into(), &"q".into(), change).await.unwrap();
}

async fn intake(store: &Store, intake: Intake) {
    configure(store, move |settings| settings.intake = intake).await;
}

/// Dead tasks of queue `q`.
async fn dead(store: &Store) -> Vec<Task> {
    let filter = TaskFilter {
        namespace: "default".into(),
        queue: Some("q".into()),
        states: vec![State::Dead],
        before: None,
        limit: 100,
        fits: Fits { error_reason: Some("BROKEN".into()), ..Fits::default() },
    };
    store.tasks(filter).await.unwrap().tasks
}

async fn die(store: &Store) -> Uuid {
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    store.end(refer(&lease), failed(true)).await;
    id
}

pub(super) async fn a_cancelled_task_ends_and_its_holder_is_told(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    assert_eq!(cancel(&store, vec![id]).await, 1);
    assert_eq!(cancel(&store, vec![id]).await, 0, "it ended before");
    let minute = std::time::Duration::from_secs(60);
    let beats = store.heartbeat(&"default".into(), vec![refer(&lease)], minute).await.unwrap();
    assert_eq!(beats, [Beat::Cancelled]);
    assert_eq!(store.end(refer(&lease), completed("late")).await, Settled::Lost);
    let ended = store.task(&"default".into(), id).await.unwrap().unwrap();
    assert_eq!(ended.status.state, State::Cancelled);
    assert_eq!(ended.status.last_error.unwrap().message, "no longer wanted");
}

pub(super) async fn a_cancelled_task_is_never_leased(home: &dyn Home) {
    let store = home.open().await;
    let gone = store.put(task("gone")).await.id;
    let next = store.put(task("next")).await.id;
    cancel(&store, vec![gone]).await;
    assert_eq!(store.take_one().await.task.id, next);
    drop(store);
    let store = home.open().await;
    assert_eq!(store.state(gone).await, Some(State::Cancelled));
    assert!(store.take(ask(10)).await.is_empty());
}

pub(super) async fn a_purged_task_is_forgotten_unless_it_is_held(home: &dyn Home) {
    let store = home.open().await;
    let held = store.put(task("held")).await.id;
    let lease = store.take_one().await;
    let ready = store.put(keyed("ready", "key")).await.id;
    let ended = {
        let id = store.put(task("ended")).await.id;
        cancel(&store, vec![id]).await;
        id
    };
    assert_eq!(purge(&store, vec![held, ready, ended]).await, 2);
    assert_eq!(store.state(ready).await, None);
    assert_eq!(store.state(ended).await, None);
    assert!(matches!(store.end(refer(&lease), completed("r")).await, Settled::Done { .. }));
    let Receipt { id, duplicate } = store.put(keyed("ready", "key")).await;
    assert!(!duplicate && id != ready, "a key is forgotten with its task");
    drop(store);
    let store = home.open().await;
    assert_eq!(store.state(ready).await, None);
    assert_eq!(store.take_one().await.task.id, id);
}

pub(super) async fn a_purge_spares_what_has_left_the_states_it_was_picked_by(home: &dyn Home) {
    let store = home.open().await;
    let id = die(&store).await;
    let picked = dead(&store).await;
    store.redrive(picked).await.unwrap();
    assert_eq!(purge_in(&store, vec![id], vec![State::Dead]).await, 0, "it lives again");
    assert_eq!(store.state(id).await, Some(State::Ready));
    store.end(refer(&store.take_one().await), completed("r")).await;
    assert_eq!(purge_in(&store, vec![id], vec![State::Dead, State::Ready]).await, 0, "it completed");
    assert_eq!(store.state(id).await, Some(State::Completed));
    assert_eq!(purge_in(&store, vec![id], vec![State::Completed]).await, 1);
    assert_eq!(store.state(id).await, None);
}

pub(super) async fn tasks_of_other_namespaces_are_not_touched(home: &dyn Home) {
    let store = home.open().await;
    let (live, dead) = (store.put(task("t")).await.id, die(&store).await);
    let other = "other".into();
    assert_eq!(store.purge(&other, vec![live, dead], Vec::new()).await.unwrap(), 0);
    assert_eq!(store.cancel(&other, vec![live], String::new()).await.unwrap(), 0);
}

pub(super) async fn a_redriven_task_lives_again(home: &dyn Home) {
    let store = home.open().await;
    let id = die(&store).await;
    let found = dead(&store).await;
    assert_eq!(found.iter().map(|task| task.id).collect::<Vec<_>>(), [id]);
    assert_eq!(store.redrive(found.clone()).await.unwrap(), 1);
    assert_eq!(store.redrive(found).await.unwrap(), 0, "it lives");
    drop(store);
    let store = home.open().await;
    assert_eq!(store.state(id).await, Some(State::Ready));
    let lease = store.take_one().await;
    assert_eq!((lease.task.id, lease.task.status.attempts), (id, 1));
    assert_eq!(lease.task.payload.as_deref(), Some(&b"t"[..]));
    store.end(refer(&lease), completed("r")).await;
    assert_eq!(store.state(id).await, Some(State::Completed));
    assert!(dead(&store).await.is_empty());
}

pub(super) async fn a_paused_queue_starts_nothing_and_takes_all(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("held")).await;
    let lease = store.take_one().await;
    intake(&store, Intake::Paused).await;
    let id = store.put(task("t")).await.id;
    assert!(store.take(ask(1)).await.is_empty());
    assert!(matches!(store.end(refer(&lease), completed("r")).await, Settled::Done { .. }));
    drop(store);
    let store = home.open().await;
    assert!(store.take(ask(1)).await.is_empty(), "a pause outlives the daemon");
    let waiting = store.take_one();
    let resumed = intake(&store, Intake::Open);
    let (lease, ()) = tokio::join!(waiting, resumed);
    assert_eq!(lease.task.id, id);
}

pub(super) async fn a_draining_queue_takes_nothing_and_is_worked_off(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    intake(&store, Intake::Draining).await;
    let refused = store.enqueue(vec![task("more")]).await;
    assert!(matches!(refused, Err(Error::Draining { .. })), "{refused:?}");
    assert_eq!(store.take_one().await.task.id, id);
    intake(&store, Intake::Open).await;
    store.put(task("again")).await;
}

pub(super) async fn a_queue_holds_no_more_than_its_settings_say(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.max_tasks = Some(2)).await;
    store.put(task("1")).await;
    let refused = store.enqueue(vec![task("2"), task("3")]).await;
    assert!(matches!(refused, Err(Error::QueueFull { limit: 2, .. })), "{refused:?}");
    store.put(task("2")).await;
    let other =
        |name: &str| NewTask { spec: Spec { queue: "other".into(), ..task(name).spec }, ..task(name) };
    let refused = store.enqueue(vec![other("3"), task("4"), other("5"), task("6")]).await;
    assert!(matches!(refused, Err(Error::QueueFull { limit: 2, .. })), "wherever they stand: {refused:?}");
    let view = store.queue(&"default".into(), &"q".into()).await.unwrap().unwrap();
    assert_eq!((view.settings.max_tasks, view.stats.ready), (Some(2), 2));
    assert_eq!(store.queue(&"default".into(), &"none".into()).await.unwrap(), None);
}

pub(super) async fn a_repeated_task_needs_no_room(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(keyed("t", "key")).await.id;
    let locked = store.put(unique("u", None)).await.id;
    configure(&store, |settings| settings.max_tasks = Some(2)).await;
    for intake_of in [Intake::Open, Intake::Draining] {
        intake(&store, intake_of).await;
        assert_eq!(store.put(keyed("t", "key")).await, Receipt { id, duplicate: true });
        assert_eq!(store.put(unique("u", None)).await, Receipt { id: locked, duplicate: true });
        assert!(store.enqueue(vec![keyed("t", "key"), task("new")]).await.is_err(), "one of them is new");
    }
}
