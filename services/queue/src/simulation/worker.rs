//! Workers: some complete, some fail, some forget what they hold, some settle late; their clocks jump.

use std::{rc::Rc, time::Duration};

use nova_chaos::{
    history::{Outcome as Said, State},
    seed::Seed,
};
use tokio::time::sleep;

use super::{
    front::{HOUR, Way},
    mesh::Mesh,
    operator::reopen,
    producer::POISON,
    words::{micros, namespace},
};
use crate::{
    mark::Mark,
    record::{Lease, LeaseRequest},
    task::Micros,
};

/// How often a worker repeats a settlement that is not answered.
const TRIES: usize = 4;

/// Longest that draining may take, in rounds.
const ROUNDS: usize = 20_000;

struct Worker {
    way: Way,
    seed: Seed,
    duration: Duration,
    said: u64,
}

pub(super) async fn work(mesh: Rc<Mesh>, client: u32, mut seed: Seed) {
    let mut worker = Worker::new(mesh, client, &mut seed);
    while !worker.way.mesh.stopping.get() {
        let max = usize::try_from(worker.seed.between(1, 3)).unwrap();
        let wait = Duration::from_millis(worker.seed.below(1_500));
        for lease in worker.take(max, wait).await {
            worker.handle(lease).await;
        }
        sleep(Duration::from_millis(worker.seed.between(20, 400))).await;
    }
}

/// Works well until there is nothing left.
pub(super) async fn drain(mesh: &Rc<Mesh>, mut seed: Seed) {
    reopen(mesh).await;
    let mut worker = Worker::new(Rc::clone(mesh), 30, &mut seed);
    for _ in 0..ROUNDS {
        if worker.round().await == 0 {
            let live = |(state, count): &(State, u64)| !state.is_terminal() && *count > 0;
            if !mesh.counted().await.iter().any(live) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Works well until so many leases were given.
pub(super) async fn work_off(mesh: &Rc<Mesh>, mut leases: usize, mut seed: Seed) {
    let mut worker = Worker::new(Rc::clone(mesh), 31, &mut seed);
    while leases > 0 {
        leases = leases.saturating_sub(worker.round().await);
    }
}

impl Worker {
    fn new(mesh: Rc<Mesh>, client: u32, seed: &mut Seed) -> Self {
        let way = Way::new(mesh, client, seed.fork());
        let duration = Duration::from_millis(seed.between(1_000, 5_000));
        Self { way, seed: seed.fork(), duration, said: 0 }
    }

    /// Takes tasks and ends them as they are meant to end; answers how many there were.
    async fn round(&mut self) -> usize {
        let leases = self.take(10, Duration::ZERO).await;
        for lease in &leases {
            let said = if *lease.task.spec.kind == *POISON { self.fails() } else { self.completes(lease) };
            self.say(lease, &said).await;
        }
        leases.len()
    }

    async fn take(&mut self, max: usize, wait: Duration) -> Vec<Lease> {
        let name = self.way.client.to_string();
        let request = LeaseRequest {
            namespace: namespace(),
            queues: vec!["q".into()],
            mark: Mark::of(&name),
            worker: name.into(),
            max,
            duration: self.duration,
            wait,
            stream: 0,
        };
        self.way.lease(request).await
    }

    /// The time, as this worker believes.
    fn believes(&mut self) -> Micros {
        if self.seed.chance(10) {
            self.way.wrong = if self.seed.chance(50) { HOUR } else { -HOUR };
        }
        self.way.mesh.clock.micros() + self.way.wrong
    }

    async fn handle(&mut self, lease: Lease) {
        let poison = *lease.task.spec.kind == *POISON;
        match self.seed.below(100) {
            0..10 => self.prove(&lease, 100).await,
            10..15 => self.say(&lease, &Said::Released).await,
            15..20 => {
                let snoozed = Said::Snoozed(i64::try_from(self.seed.below(3_000_000)).unwrap());
                self.say(&lease, &snoozed).await;
            }
            20..40 => {
                let fails = self.fails();
                self.say(&lease, &fails).await;
            }
            _ if poison => {}
            40..60 => self.work_long(&lease).await,
            60..75 => self.work_too_long(&lease).await,
            _ => {
                let completes = self.completes(&lease);
                self.say(&lease, &completes).await;
            }
        }
    }

    fn fails(&mut self) -> Said {
        let rest = i64::try_from(self.seed.below(2_000_000)).unwrap();
        Said::Failed { permanent: self.seed.chance(5), retry_after: self.seed.chance(50).then_some(rest) }
    }

    /// A result that is said once.
    fn completes(&mut self, lease: &Lease) -> Said {
        self.said += 1;
        Said::Completed(format!("{} by {} as {}", lease.token, self.way.client, self.said))
    }

    async fn say(&mut self, lease: &Lease, said: &Said) {
        for _ in 0..TRIES {
            if self.way.settle(lease.refer(), said).await {
                return;
            }
        }
    }

    /// Heartbeats for as long as it believes that it holds the lease, then completes.
    async fn work_long(&mut self, lease: &Lease) {
        let mut believed = self.believes() + micros(self.duration);
        for _ in 0..self.seed.between(1, 4) {
            sleep(self.duration / 2).await;
            if self.believes() > believed {
                return;
            }
            self.prove(lease, 20).await;
            match self.beat(lease).await {
                Some(true) => believed = self.believes() + micros(self.duration),
                Some(false) => return,
                None => {}
            }
        }
        let completes = self.completes(lease);
        self.say(lease, &completes).await;
    }

    /// Extends a lease; now and then it leaves something for the next attempt as well.
    async fn beat(&mut self, lease: &Lease) -> Option<bool> {
        if self.seed.chance(50) {
            return self.way.heartbeat(lease.refer(), self.duration).await;
        }
        self.said += 1;
        let left = format!("left by {} as {}", self.way.client, self.said);
        self.way.report(lease.refer(), left, self.duration).await
    }

    /// Asks for a proof, so often of a hundred.
    async fn prove(&mut self, lease: &Lease, percent: u64) {
        if self.seed.chance(percent) {
            self.way.prove(lease.refer(), self.duration).await;
        }
    }

    /// Settles what it does not hold any more.
    async fn work_too_long(&mut self, lease: &Lease) {
        if self.seed.chance(30) {
            self.beat(lease).await;
        }
        sleep(self.duration * 2).await;
        if self.seed.chance(30) {
            self.way.heartbeat(lease.refer(), self.duration).await;
        }
        let late = if self.seed.chance(70) { self.completes(lease) } else { self.fails() };
        self.say(lease, &late).await;
    }
}
