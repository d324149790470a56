//! A ledger in memory that fails: alone as a file, or shared as a server with an owner, epochs and numbered commits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use nova_chaos::{recorder::Recorder, seed::Seed};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Plan, broken::Broken, clock::SimClock, disk::Disk};
use crate::{
    core::{
        Core, Limits,
        batch::Batch,
        entry::{Row, row_of},
    },
    error::Error,
    ledger::{Ledger, Reader},
    record::{Task, TaskEvent},
    task::Micros,
};

/// How long a claim lasts without a write.
const CLAIM: Duration = Duration::from_secs(3);

/// Most commits that a failover may lose.
pub(super) const LOSABLE: usize = 4;

/// How far tokens of an owner begin above all that is known.
const STRIDE: u64 = 1_000;

/// How often, of a hundred, a commit fails before it stands, and after.
const FAILS: u64 = 2;

/// What the server, or the file, holds.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) disk: Disk,
    /// What was there before each of the last commits that the replicas may not have, and the order of the moment
    /// before it.
    past: VecDeque<(Disk, u64, u64)>,
    commit: u64,
    epoch: u64,
    owner: Option<u32>,
    until: Micros,
    /// What the server's clock is ahead.
    skew: Micros,
    /// Order since which acknowledgements are gone, and when they were lost, until an owner reads again.
    lost: Option<(u64, u64)>,
    /// Daemons that do not run at all.
    pub(super) down: Vec<u32>,
    /// Daemon that is stopped.
    pub(super) frozen: Option<u32>,
    /// Commits do not fail any more.
    pub(super) sound: bool,
}

/// The shelf, from many hands.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Shelf>>);

impl Shared {
    pub(super) fn get(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn keep_past(&mut self, order: u64) {
        self.past.push_back((self.disk.clone(), self.epoch, order));
        if self.past.len() > LOSABLE {
            self.past.pop_front();
        }
    }

    /// Another server takes over: the last commits are gone, and its clock is another.
    pub(super) fn fail_over(&mut self, lost: usize, skew: Micros, now: u64) {
        self.skew = skew;
        for _ in 0..lost {
            let Some((disk, epoch, order)) = self.past.pop_back() else { return };
            (self.disk, self.epoch) = (disk, epoch);
            self.commit -= 1;
            let (from, at) = self.lost.unwrap_or((order, now));
            self.lost = Some((order.min(from), at));
        }
    }
}

/// One daemon's hand on the shelf.
#[derive(Debug)]
pub(super) struct SimLedger {
    pub(super) shelf: Shared,
    pub(super) daemon: u32,
    pub(super) plan: Plan,
    pub(super) clock: Arc<SimClock>,
    pub(super) recorder: Recorder,
    pub(super) seed: Seed,
    epoch: u64,
    /// Greatest token that it knows of.
    token: u64,
    commit: u64,
    offset: Micros,
    written: Instant,
    /// What a broken queue has acknowledged and not written.
    unwritten: Option<Disk>,
}

impl SimLedger {
    pub(super) fn new(
        shelf: Shared,
        daemon: u32,
        plan: Plan,
        clock: Arc<SimClock>,
        recorder: Recorder,
        seed: Seed,
    ) -> Self {
        let written = Instant::now();
        Self {
            shelf,
            daemon,
            plan,
            clock,
            recorder,
            seed,
            epoch: 0,
            token: 0,
            commit: 0,
            offset: 0,
            written,
            unwritten: None,
        }
    }

    fn is(&self, broken: Broken) -> bool {
        self.plan.broken == Some(broken)
    }

    /// Time that passes on the way; a stopped daemon stays on it.
    async fn travel(&mut self) {
        sleep(Duration::from_micros(self.seed.below(2_000))).await;
        while self.shelf.get().frozen == Some(self.daemon) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn fails(&mut self, how: &str) -> Result<(), Error> {
        let sound = self.plan.calm || self.shelf.get().sound;
        if !sound && self.seed.chance(FAILS) {
            return Err(Error::Store(format!("simulated: {how}")));
        }
        Ok(())
    }

    fn claim(&mut self, clock: Micros) -> Result<(), Error> {
        let mut shelf = self.shelf.get();
        let now = clock + shelf.skew;
        let other = shelf.owner.filter(|owner| *owner != self.daemon && shelf.until > now);
        if let Some(owner) = other.filter(|owner| !shelf.down.contains(owner)) {
            let left = crate::task::span(shelf.until - now);
            self.token = self.token.max(shelf.epoch).max(shelf.disk.last_token());
            let (url, epoch) = (owner.to_string().into(), shelf.epoch);
            return Err(Error::Owned { url, host: Arc::default(), epoch, left });
        }
        let (greatest, by_clock) = (shelf.epoch.max(shelf.disk.last_token()), u64::try_from(now).unwrap());
        if self.is(Broken::TrustsClocks) {
            shelf.epoch = (shelf.epoch + 1).max(by_clock);
        } else {
            shelf.epoch = (greatest.max(self.token) + STRIDE).max(by_clock);
        }
        if self.plan.shared {
            self.token = shelf.epoch;
        }
        shelf.owner = Some(self.daemon);
        shelf.until = now + i64::try_from(CLAIM.as_micros()).unwrap();
        (self.epoch, self.commit, self.offset) = (shelf.epoch, shelf.commit, shelf.skew);
        Ok(())
    }

    /// Writes as the next commit, if this daemon still owns the shelf and the shelf has what it wrote last.
    fn apply(&mut self, write: impl FnOnce(&mut Disk)) -> Result<(), Error> {
        let order = self.recorder.now().order;
        let mut shelf = self.shelf.get();
        if !self.is(Broken::NoFence) {
            if shelf.epoch != self.epoch {
                return Err(Error::Deposed);
            }
            if shelf.commit != self.commit {
                return Err(Error::Store("simulated: the last commits are lost".into()));
            }
        }
        if self.plan.shared {
            shelf.keep_past(order);
        }
        write(&mut shelf.disk);
        shelf.commit += 1;
        self.commit += 1;
        shelf.until = self.clock.micros() + shelf.skew + i64::try_from(CLAIM.as_micros()).unwrap();
        drop(shelf);
        self.written = Instant::now();
        Ok(())
    }

    /// Waits until the replicas have the claim, and all before it. Those of a lone daemon never answer.
    async fn confirm(&mut self) {
        self.travel().await;
        if !self.plan.lone && !self.is(Broken::TrustsClocks) {
            self.shelf.get().past.clear();
        }
    }

    /// What a broken queue does: it holds a commit back until the next one.
    fn put_off(&mut self, batch: &Batch) {
        if let Some(before) = self.unwritten.take() {
            self.shelf.get().disk = before;
        }
        let mut disk = self.shelf.get().disk.clone();
        disk.write(batch, self.plan.broken);
        self.unwritten = Some(disk);
    }

    fn disk<T>(&self, read: impl FnOnce(&Disk) -> T) -> T {
        match &self.unwritten {
            Some(disk) => read(disk),
            None => read(&self.shelf.get().disk),
        }
    }
}

impl Ledger for SimLedger {
    async fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error> {
        self.travel().await;
        if let Some(before) = self.unwritten.take() {
            self.shelf.get().disk = before;
        }
        self.claim(clock)?;
        let mut core = self.shelf.get().disk.read(limits, noise, clock + self.offset, self.plan.broken);
        core.continue_tokens(if self.plan.shared { self.epoch } else { u64::try_from(clock).unwrap() });
        self.travel().await;
        self.fails("the ledger cannot be read")?;
        if self.plan.shared {
            self.apply(|_| {})?;
            self.confirm().await;
        }
        self.recorder.restarted();
        let lost = self.shelf.get().lost.take();
        if let Some((from, at)) = lost {
            self.recorder.lossy(from, at, self.recorder.now().order);
        }
        Ok(core)
    }

    async fn write(&mut self, batch: Batch) -> Result<Batch, Error> {
        if self.is(Broken::AnswersBeforeCommit) {
            self.put_off(&batch);
            return Ok(batch);
        }
        self.travel().await;
        if let Err(error) = self.fails("before the commit") {
            if self.is(Broken::HalfCommits) {
                self.shelf.get().disk.write_changes(&batch);
            }
            return Err(error);
        }
        self.token = self.token.max(batch.last_token);
        let broken = self.plan.broken;
        self.apply(|disk| disk.write(&batch, broken))?;
        self.travel().await;
        self.fails("after the commit").map(|()| batch)
    }

    async fn payloads(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.travel().await;
        Ok(rows.iter().map(|row| self.disk(|disk| disk.payload(*row))).collect())
    }

    async fn checkpoints(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.travel().await;
        Ok(rows.iter().map(|row| self.disk(|disk| disk.checkpoint(*row))).collect())
    }

    async fn keep(&mut self) -> Result<(), Error> {
        if !self.plan.shared || self.written.elapsed() < CLAIM / 3 {
            return Ok(());
        }
        self.travel().await;
        self.apply(|_| {})
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn clock_offset(&self) -> Micros {
        self.offset
    }
}

#[async_trait]
impl Reader for Shared {
    async fn endings(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Task>>, Error> {
        let listed = |id| self.get().disk.ended(id).map(|task| Task { result: None, ..task });
        Ok(ids.into_iter().map(listed).collect())
    }

    async fn ended(&self, id: Uuid) -> Result<Option<Task>, Error> {
        Ok(self.get().disk.ended(id))
    }

    async fn payload(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(self.get().disk.payload(row_of(id)))
    }

    async fn checkpoint(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(self.get().disk.checkpoint(row_of(id)))
    }

    async fn events(&self, _after: u64, _limit: usize) -> Result<Vec<TaskEvent>, Error> {
        Err(Error::CursorExpired)
    }
}
