//! An operator: pauses and resumes, sets limits, cancels, forgets, and keeps a schedule.

use std::{rc::Rc, sync::Arc, time::Duration};

use nova_chaos::{
    history::{Answer, Call, Job, Limits},
    seed::Seed,
};
use tokio::time::sleep;

use super::{
    broken::Broken,
    front::Way,
    mesh::Mesh,
    producer::task,
    words::{limit, namespace, told},
};
use crate::{
    cron::Cron,
    intake::Intake,
    record::QueueSettings,
    schedule::{Missed, Schedule},
};

/// The one queue.
const QUEUE: &str = "q";

/// The one schedule.
const SCHEDULE: &str = "s";

/// How often an order is repeated that is not answered.
const TRIES: usize = 4;

/// Number of whoever opens everything again.
const CARETAKER: u32 = 40;

pub(super) async fn operate(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut way = Way::new(mesh, client, seed.fork());
    way.schedule(&mut seed).await;
    while !way.mesh.stopping.get() {
        sleep(Duration::from_millis(seed.between(100, 1_500))).await;
        match seed.below(10) {
            0..2 => way.pause_for(Duration::from_millis(seed.between(100, 2_500))).await,
            2..4 => way.limit(&limits(&mut seed)).await,
            4..6 => way.remove(false, &mut seed).await,
            6..9 => way.remove(true, &mut seed).await,
            _ => way.schedule(&mut seed).await,
        }
    }
}

/// Ends pauses, limits and the schedule, so that everything can be worked off.
pub(super) async fn reopen(mesh: &Mesh) {
    let calls = [Call::Resume(QUEUE.into()), Call::Limit(QUEUE.into(), Limits::default())];
    let tickets = calls.map(|call| mesh.recorder.begin(CARETAKER, call));
    mesh.ask_leader(async |store| {
        let open = |settings: &mut QueueSettings| {
            settings.intake = Intake::Open;
            limit(settings, &Limits::default());
        };
        store.configure(&namespace(), &QUEUE.into(), open).await
    })
    .await;
    tickets.into_iter().for_each(|ticket| mesh.recorder.end(ticket, Answer::Done));
    mesh.ask_leader(async |store| match store.schedule(key()).await? {
        Some(_) => store.delete_schedule(key()).await,
        None => Ok(()),
    })
    .await;
}

fn key() -> (Arc<str>, Arc<str>) {
    (namespace(), SCHEDULE.into())
}

fn limits(seed: &mut Seed) -> Limits {
    let some = |most, seed: &mut Seed| seed.chance(50).then(|| u32::try_from(seed.between(1, most)).unwrap());
    let (running, group_running, count) = (some(4, seed), some(2, seed), some(4, seed));
    Limits { running, group_running, rate: count.map(|count| (count, 1_000_000)) }
}

fn schedule(seed: &mut Seed) -> Schedule {
    let (expression, missed) = match seed.below(3) {
        0 => ("*/2 * * * * *", Missed::Once),
        1 => ("*/3 * * * * *", Missed::Skip),
        _ => ("* * * * *", Missed::All),
    };
    let job = Job { queue: QUEUE.into(), max_attempts: 3, priority: 5, ..Job::default() };
    Schedule {
        key: key(),
        cron: Arc::new(Cron::parse(expression, "").unwrap()),
        task: task(&job),
        said: Arc::from(&b"said"[..]),
        missed,
        paused: false,
        created: 0,
        seen: 0,
        last: None,
        skipped: 0,
    }
}

impl Way {
    async fn pause_for(&mut self, span: Duration) {
        let ignored = self.is(Broken::IgnoresPauses);
        let pauses = move |settings: &mut QueueSettings| {
            if !ignored {
                settings.intake = Intake::Paused;
            }
        };
        self.order(Call::Pause(QUEUE.into()), pauses).await;
        sleep(span).await;
        self.order(Call::Resume(QUEUE.into()), |settings| settings.intake = Intake::Open).await;
    }

    async fn limit(&mut self, limits: &Limits) {
        let mut real = limits.clone();
        if self.is(Broken::IgnoresLimits) {
            (real.running, real.group_running) = (None, None);
        }
        if self.is(Broken::IgnoresRates) {
            real.rate = None;
        }
        let call = Call::Limit(QUEUE.into(), limits.clone());
        self.order(call, move |settings| limit(settings, &real)).await;
    }

    /// Changes settings, and asks again until it is answered.
    async fn order(&mut self, call: Call, change: impl Fn(&mut QueueSettings) + Clone + Send + 'static) {
        for _ in 0..TRIES {
            let ticket = self.mesh.recorder.begin(self.client, call.clone());
            let answer = self.send_once(|store| {
                let change = change.clone();
                async move { store.configure(&namespace(), &QUEUE.into(), change).await }
            });
            let answer = told(answer.await, |_| Answer::Done);
            let known = answer != Answer::Unknown;
            self.mesh.recorder.end(ticket, answer);
            if known {
                return;
            }
        }
    }

    /// Cancels a task, or forgets one that no key names.
    async fn remove(&mut self, purge: bool, seed: &mut Seed) {
        let Some((id, nameless)) = self.mesh.any_task(seed) else { return };
        if purge && !nameless {
            return;
        }
        let call = if purge { Call::Purge(id.to_string()) } else { Call::Cancel(id.to_string()) };
        let ticket = self.mesh.recorder.begin(self.client, call);
        let (idle, takes_held) = (self.is(Broken::IgnoresCancels), self.is(Broken::PurgesHeld));
        let answer = self.send_once(|store| async move {
            let message = "no longer wanted".to_owned();
            if purge && takes_held {
                store.cancel(&namespace(), vec![id], message.clone()).await?;
            }
            if purge {
                return Ok(store.purge(&namespace(), vec![id], Vec::new()).await? > 0);
            }
            Ok(idle || store.cancel(&namespace(), vec![id], message).await? > 0)
        });
        let answer = told(answer.await, Answer::Removed);
        self.mesh.recorder.end(ticket, answer);
    }

    async fn schedule(&mut self, seed: &mut Seed) {
        let made = schedule(seed);
        let ticket = self.mesh.recorder.begin(self.client, Call::Schedule(SCHEDULE.into()));
        let answer = self.send_once(|store| {
            let made = made.clone();
            async move { store.put_schedule(made).await }
        });
        let answer = told(answer.await, |_| Answer::Done);
        self.mesh.recorder.end(ticket, answer);
    }
}
