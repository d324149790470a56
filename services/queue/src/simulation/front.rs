//! The way of a message to a daemon and back, on which it is lost, repeated or late.

use std::{rc::Rc, time::Duration};

use nova_chaos::{
    history::{Answer, Call, Job, Outcome as Said},
    seed::Seed,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    LATE,
    broken::Broken,
    mesh::Mesh,
    words::{grant, hold, level, micros, namespace, outcome, receipt_of, seen, snapshot, told},
};
use crate::{
    error::Error,
    record::{Beat, Lease, LeaseRef, LeaseRequest, NewTask, Report, Settled, Settlement},
    store::Store,
    task::{Micros, span},
    trail::Progress,
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a worker's clock jumps, either way.
pub(super) const HOUR: Micros = 3_600_000_000;

/// How much longer than it was asked to a broken queue lets a lease last: for the rest of a run.
const BEYOND: Duration = Duration::from_secs(60);

/// How often, of a hundred, a message is lost, repeated, or its answer lost.
const EACH: u64 = 4;
const REPEATED: u64 = 2 * EACH;
const UNHEARD: u64 = 3 * EACH;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Lost,
    Repeated,
    /// Its answer is lost.
    Unheard,
}

/// One client's way to the queue.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) mesh: Rc<Mesh>,
    pub(super) client: u32,
    pub(super) seed: Seed,
    /// What the clock of the client is wrong by.
    pub(super) wrong: Micros,
}

impl Way {
    pub(super) fn new(mesh: Rc<Mesh>, client: u32, seed: Seed) -> Self {
        // What would believe them is to meet wrong ones from the start.
        let wrong = if mesh.plan.broken == Some(Broken::TrustsWorkerClock) { HOUR } else { 0 };
        Self { mesh, client, seed, wrong }
    }

    /// Sends a message that may come again, later; nothing when no answer came.
    async fn send<T, F>(&mut self, ask: impl Fn(Store) -> F) -> Option<Result<T, Error>>
    where
        T: 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let late = Duration::from_millis(self.seed.below(u64::try_from(LATE.as_millis()).unwrap()));
        let fate = self.fate();
        if fate == Fate::Repeated {
            self.again(late, &ask);
        }
        self.deliver(fate, ask).await
    }

    /// Sends a message that comes once at most; nothing when no answer came.
    pub(super) async fn send_once<T, F>(&mut self, ask: impl Fn(Store) -> F) -> Option<Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let fate = self.fate();
        self.deliver(fate, ask).await
    }

    fn fate(&mut self) -> Fate {
        let faulty = !self.mesh.plan.calm && !self.mesh.stopping.get();
        match if faulty { self.seed.below(100) } else { 100 } {
            0..EACH => Fate::Lost,
            EACH..REPEATED => Fate::Repeated,
            REPEATED..UNHEARD => Fate::Unheard,
            _ => Fate::Well,
        }
    }

    async fn deliver<T, F>(&mut self, fate: Fate, ask: impl Fn(Store) -> F) -> Option<Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        sleep(Duration::from_micros(self.seed.below(3_000))).await;
        if fate == Fate::Lost {
            sleep(PATIENCE).await;
            return None;
        }
        let Some(store) = self.mesh.door(&mut self.seed) else { return Some(Err(Error::Closed)) };
        let answer = timeout(PATIENCE, ask(store)).await.ok();
        answer.filter(|_| fate != Fate::Unheard)
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

    pub(super) async fn enqueue(&mut self, jobs: &[Job], tasks: Vec<NewTask>) -> bool {
        let ticket = self.mesh.recorder.begin(self.client, Call::Enqueue(jobs.to_vec()));
        let answer = self.send(|store| {
            let tasks = tasks.clone();
            async move { Ok((store.enqueue(tasks).await?, store.durability())) }
        });
        let answer = told(answer.await, |(receipts, durability)| {
            let told = receipts.iter().zip(jobs).map(|(receipt, job)| (receipt.id, job.key.is_empty()));
            self.mesh.told.borrow_mut().extend(told);
            Answer::Stored(receipts.iter().map(receipt_of).collect(), level(durability))
        });
        let known = answer != Answer::Unknown;
        self.mesh.recorder.end(ticket, answer);
        known
    }

    pub(super) async fn lease(&mut self, request: LeaseRequest) -> Vec<Lease> {
        let call = Call::Lease { queue: request.queues[0].to_string(), duration: micros(request.duration) };
        let ticket = self.mesh.recorder.begin(self.client, call);
        let request = LeaseRequest { duration: self.lasting(request.duration), ..request };
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
        if self.is(Broken::NoTokenCheck) {
            return LeaseRef { token: newest.unwrap_or(lease.token), ..lease };
        }
        lease
    }

    /// How long a lease lasts that is to last so long. A broken queue adds to it.
    fn lasting(&self, duration: Duration) -> Duration {
        let wrong = span(self.wrong.max(0)).min(BEYOND);
        duration
            + match self.mesh.plan.broken {
                Some(Broken::NeverReclaims) => BEYOND,
                Some(Broken::TrustsWorkerClock) => wrong,
                _ => Duration::ZERO,
            }
    }

    pub(super) fn is(&self, broken: Broken) -> bool {
        self.mesh.plan.broken == Some(broken)
    }

    /// Whether the lease is still held; nothing when that is not known.
    pub(super) async fn heartbeat(&mut self, lease: LeaseRef, duration: Duration) -> Option<bool> {
        let call = Call::Heartbeat(vec![hold(lease)], micros(duration));
        let ticket = self.mesh.recorder.begin(self.client, call);
        let (checked, lasting) = (self.checked(lease), Some(self.lasting(duration)));
        let answer = self
            .send(|store| async move { store.report(&namespace(), vec![checked], Vec::new(), lasting).await })
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

    /// Leaves something for the next attempt, and says whether the lease is still held.
    pub(super) async fn report(&mut self, lease: LeaseRef, left: String, duration: Duration) -> Option<bool> {
        let call = Call::Report(hold(lease), left.clone(), micros(duration));
        let ticket = self.mesh.recorder.begin(self.client, call);
        let report = Report {
            lease: self.checked(lease),
            progress: Some(Progress::new(0.5, "half")),
            checkpoint: Some(left.into_bytes().into()),
        };
        let lasting = Some(self.lasting(duration));
        let answer = self.send_once(|store| {
            let report = report.clone();
            async move { store.report(&namespace(), Vec::new(), vec![report], lasting).await }
        });
        let answer = told(answer.await, |ends| Answer::Extended(vec![matches!(ends[0], Beat::Until(_))]));
        let held = match &answer {
            Answer::Extended(held) => held.first().copied(),
            _ => None,
        };
        self.mesh.recorder.end(ticket, answer);
        held
    }

    /// Asks for a proof of a lease. A broken queue proves what it does not wait for.
    pub(super) async fn prove(&mut self, lease: LeaseRef, duration: Duration) {
        let ticket = self.mesh.recorder.begin(self.client, Call::Prove(hold(lease)));
        let broken = self.is(Broken::HandsOnProven);
        let answer = self.send_once(|store| async move {
            if broken {
                let beats = store.report(&namespace(), vec![lease], Vec::new(), Some(duration)).await?;
                return Ok(matches!(beats[0], Beat::Until(_)).then_some(duration));
            }
            let proofs = store.prove(&namespace(), vec![lease]).await?;
            Ok(proofs[0].map(|proof| proof.duration))
        });
        let answer = told(answer.await, |good| Answer::Proven(good.map(micros)));
        self.mesh.recorder.end(ticket, answer);
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
