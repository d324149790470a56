//! The way of a message to a daemon and back, on which it is lost, repeated or late; and the words of histories.

use std::{rc::Rc, sync::Arc, time::Duration};

use nova_chaos::{
    history::{Answer, Call, Grant, Hold, Level, Outcome as Said, Snapshot, State as Seen},
    seed::Seed,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{LATE, broken::Broken, mesh::Mesh};
use crate::{
    error::Error,
    record::{
        Beat, Durability, Lease, LeaseRef, LeaseRequest, NewTask, Outcome, QueueStats, Receipt, Settled,
        Settlement, Task,
    },
    store::Store,
    task::{Failure, Micros, State},
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often, of a hundred, a message is lost, repeated, or its answer lost.
const EACH: u64 = 4;

/// One client's way to the queue.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) mesh: Rc<Mesh>,
    pub(super) client: u32,
    pub(super) seed: Seed,
}

pub(super) fn namespace() -> Arc<str> {
    "default".into()
}

impl Way {
    /// Sends a message; nothing when no answer came.
    async fn send<T, F>(&mut self, ask: impl Fn(Store) -> F) -> Option<Result<T, Error>>
    where
        T: 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let faulty = !self.mesh.plan.calm && !self.mesh.stopping.get();
        let fate = if faulty { self.seed.below(100) } else { 100 };
        sleep(Duration::from_micros(self.seed.below(3_000))).await;
        if fate < EACH {
            sleep(PATIENCE).await;
            return None;
        }
        let Some(store) = self.mesh.door(&mut self.seed) else { return Some(Err(Error::Closed)) };
        if fate < 2 * EACH {
            let late = Duration::from_millis(self.seed.below(u64::try_from(LATE.as_millis()).unwrap()));
            self.again(late, &ask);
        }
        let answer = timeout(PATIENCE, ask(store)).await.ok();
        answer.filter(|_| !(2 * EACH..3 * EACH).contains(&fate))
    }

    /// Sends the same message again, later; nobody hears the answer.
    fn again<T, F>(&mut self, late: Duration, ask: &impl Fn(Store) -> F)
    where
        T: 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        if let Some(store) = self.mesh.door(&mut self.seed) {
            let message = ask(store);
            tokio::task::spawn_local(async move {
                sleep(late).await;
                drop(message.await);
            });
        }
    }

    pub(super) async fn enqueue(&mut self, call: Call, tasks: Vec<NewTask>) -> bool {
        let ticket = self.mesh.recorder.begin(self.client, call);
        let answer = self.send(|store| {
            let tasks = tasks.clone();
            async move { Ok((store.enqueue(tasks).await?, store.durability())) }
        });
        let answer = told(answer.await, |(receipts, durability)| {
            self.mesh.told.borrow_mut().extend(receipts.iter().map(|receipt| receipt.id));
            Answer::Stored(receipts.iter().map(receipt_of).collect(), level(durability))
        });
        let known = answer != Answer::Unknown;
        self.mesh.recorder.end(ticket, answer);
        known
    }

    pub(super) async fn lease(&mut self, request: LeaseRequest) -> Vec<Lease> {
        let call = Call::Lease { queue: request.queues[0].to_string(), duration: micros(request.duration) };
        let ticket = self.mesh.recorder.begin(self.client, call);
        let answer = self.send(|store| {
            let request = request.clone();
            async move { store.lease(request).await }
        });
        let mut given = Vec::new();
        let answer = told(answer.await, |leases| {
            let answer = Answer::Given(leases.iter().map(grant).collect());
            given = leases;
            answer
        });
        self.mesh.recorder.end(ticket, answer);
        for lease in &given {
            let mut newest = self.mesh.newest.borrow_mut();
            let newest = newest.entry(lease.task.id).or_default();
            *newest = lease.token.max(*newest);
        }
        given
    }

    /// The token that the queue looks at: a broken one takes the newest for granted.
    fn checked(&self, lease: LeaseRef) -> LeaseRef {
        let newest = self.mesh.newest.borrow().get(&lease.id).copied();
        match self.mesh.plan.broken {
            Some(Broken::NoTokenCheck) => LeaseRef { token: newest.unwrap_or(lease.token), ..lease },
            _ => lease,
        }
    }

    /// Whether the lease is still held; nothing when that is not known.
    pub(super) async fn heartbeat(&mut self, lease: LeaseRef, duration: Duration) -> Option<bool> {
        let call = Call::Heartbeat(vec![hold(lease)], micros(duration));
        let ticket = self.mesh.recorder.begin(self.client, call);
        let checked = self.checked(lease);
        let answer = self
            .send(
                |store| async move { store.report(&namespace(), vec![checked], Vec::new(), duration).await },
            )
            .await;
        let answer = told(answer, |ends| {
            Answer::Extended(ends.iter().map(|beat| matches!(beat, Beat::Until(_))).collect())
        });
        let held = match &answer {
            Answer::Extended(held) => held.first().copied(),
            _ => None,
        };
        self.mesh.recorder.end(ticket, answer);
        held
    }

    /// Settles, and says whether there was an answer.
    pub(super) async fn settle(&mut self, lease: LeaseRef, said: &Said) -> bool {
        let ticket = self.mesh.recorder.begin(self.client, Call::Settle(hold(lease), said.clone()));
        let settlement = Settlement { lease: self.checked(lease), outcome: outcome(said) };
        let answer = self.send(|store| {
            let settlement = settlement.clone();
            async move { store.settle(&namespace(), vec![settlement]).await }
        });
        let answer = told(answer.await, |settled| match settled[0] {
            Settled::Done { state, .. } => Answer::Settled(seen(state)),
            Settled::Lost => Answer::Lost,
        });
        let known = answer != Answer::Unknown;
        self.mesh.recorder.end(ticket, answer);
        known
    }

    pub(super) async fn read(&mut self, id: Uuid) {
        let ticket = self.mesh.recorder.begin(self.client, Call::Read(id.to_string()));
        let answer = self.send(|store| async move { store.task(&namespace(), id).await }).await;
        let answer = told(answer, |task| Answer::Seen(task.as_ref().map(snapshot)));
        self.mesh.recorder.end(ticket, answer);
    }
}

/// What an answer says. Errors that certainly changed nothing are refusals.
fn told<T>(answer: Option<Result<T, Error>>, say: impl FnOnce(T) -> Answer) -> Answer {
    match answer {
        Some(Ok(answer)) => say(answer),
        Some(Err(Error::IdempotencyMismatch { .. } | Error::Busy(_) | Error::TooManyTasks { .. })) => {
            Answer::Refused
        }
        Some(Err(_)) | None => Answer::Unknown,
    }
}

fn receipt_of(receipt: &Receipt) -> (String, bool) {
    (receipt.id.to_string(), receipt.duplicate)
}

fn level(durability: Durability) -> Level {
    match durability {
        Durability::Memory => Level::Memory,
        Durability::Aof => Level::Aof,
        Durability::Synced => Level::Synced,
        Durability::Replicated => Level::Replicated,
    }
}

fn grant(lease: &Lease) -> Grant {
    let task = &lease.task;
    Grant {
        lease: Hold { id: task.id.to_string(), token: lease.token },
        attempt: task.status.attempts,
        max_attempts: task.spec.retry.max_attempts,
    }
}

fn hold(lease: LeaseRef) -> Hold {
    Hold { id: lease.id.to_string(), token: lease.token }
}

fn outcome(said: &Said) -> Outcome {
    match said {
        Said::Completed(result) => Outcome::Completed(result.as_bytes().into()),
        Said::Released => Outcome::Released,
        Said::Failed { permanent, retry_after } => Outcome::Failed {
            error: Failure { reason: "BROKEN".into(), message: "simulated".into() },
            permanent: *permanent,
            retry_after: retry_after.map(crate::task::span),
        },
    }
}

pub(super) fn snapshot(task: &Task) -> Snapshot {
    let result = task.result.as_ref().map(|result| String::from_utf8_lossy(result).into_owned());
    Snapshot {
        id: task.id.to_string(),
        key: task.spec.request_id.to_string(),
        state: seen(task.status.state),
        attempts: task.status.attempts,
        max_attempts: task.spec.retry.max_attempts,
        result,
        firing: None,
    }
}

pub(super) fn counted(queue: &QueueStats) -> [(Seen, u64); 6] {
    [
        (Seen::Waiting, queue.waiting),
        (Seen::Ready, queue.ready),
        (Seen::Leased, queue.leased),
        (Seen::Completed, queue.completed),
        (Seen::Dead, queue.dead),
        (Seen::Cancelled, queue.cancelled),
    ]
}

fn seen(state: State) -> Seen {
    match state {
        State::Waiting => Seen::Waiting,
        State::Ready => Seen::Ready,
        State::Leased => Seen::Leased,
        State::Completed => Seen::Completed,
        State::Dead => Seen::Dead,
        State::Cancelled => Seen::Cancelled,
    }
}

pub(super) fn micros(span: Duration) -> Micros {
    i64::try_from(span.as_micros()).unwrap()
}
