//! The engine: one task that owns memory, and one commit after the other.
//!
//! What has gathered while a commit was written is decided in memory ([`desk`]) and goes down together in the next
//! one. While that is written, those are told who waited for the one before, and what comes meanwhile is decided:
//! memory is ahead of the ledger by one commit at most, and nobody is told of it before it stands. There are no
//! timers on the way: one caller alone waits for nobody.

mod answer;
pub(crate) mod awaited;
mod desk;
pub(crate) mod inbox;
mod parked;
pub(crate) mod ring;

use std::{sync::Arc, time::Duration};

use nova_types::Clock;
use tokio::time::sleep;

use self::{
    answer::Answer,
    awaited::Awaited,
    desk::Desk,
    inbox::{Charge, Outlet},
    ring::Ring,
};
use crate::{
    core::{Core, Limits, batch::Batch, entry::row_of, proven::Proven},
    error::Error,
    ledger::Ledger,
    record::Lease,
};

/// Rest after a commit that failed: what is due of itself, such as a tick, tries again at once.
const REST: Duration = Duration::from_millis(100);

/// What an engine runs with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Bounds of what is held.
    pub(crate) limits: Limits,
    /// Most lease calls, those of streams aside, that may wait for work.
    pub(crate) waiting_leases: usize,
    /// Seed of jitter and ids.
    pub(crate) noise: u64,
    /// The daemon's clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where calls come from.
    pub(crate) outlet: Outlet,
    /// Where events go to.
    pub(crate) ring: Arc<Ring>,
    /// Who waits for tasks to end.
    pub(crate) awaited: Arc<Awaited>,
    /// What memory that was thrown away has proven, on the daemon's clock.
    pub(crate) proven: Proven,
}

/// What one commit writes, and who waits for it.
#[derive(Debug)]
struct Round {
    batch: Batch,
    answers: Vec<Answer>,
    /// Given back once everybody has been told.
    charges: Vec<Charge>,
}

impl Round {
    fn fail(self, error: &Error) {
        self.answers.into_iter().for_each(|answer| answer.fail(error));
    }
}

/// A ledger, and the desk where memory is.
#[derive(Debug)]
pub(crate) struct Engine<'a, L> {
    ledger: &'a mut L,
    desk: Desk<'a>,
}

impl<'a, L: Ledger> Engine<'a, L> {
    /// An engine over what the ledger holds.
    ///
    /// # Errors
    /// The ledger cannot be read, or belongs to another daemon.
    pub(crate) async fn over(parts: &'a mut Parts, ledger: &'a mut L) -> Result<Self, Error> {
        let core = recover(ledger, parts).await?;
        let desk = Desk::new(parts, core, ledger.clock_offset());
        Ok(Self { ledger, desk })
    }

    /// Number of the ownership that it runs under.
    pub(crate) fn epoch(&self) -> u64 {
        self.ledger.epoch()
    }

    /// Runs until every caller's end is dropped.
    ///
    /// # Errors
    /// [`Error::Deposed`] when another daemon owns the ledger now, or memory could not be built again after a
    /// commit that failed. Every caller has been told.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let ran = self.run_all().await;
        if let Err(error) = &ran {
            self.desk.fail(error);
        }
        ran
    }

    async fn run_all(&mut self) -> Result<(), Error> {
        let mut stands: Option<Round> = None;
        loop {
            if self.desk.is_idle() {
                self.desk.announce(stands.take());
            }
            if self.desk.is_idle() && !self.desk.hear().await {
                return Ok(());
            }
            stands = self.commit(stands).await?;
        }
    }

    /// Writes what memory has changed; meanwhile announces what stands already, and decides what has come. Gives what
    /// stands now.
    async fn commit(&mut self, stands: Option<Round>) -> Result<Option<Round>, Error> {
        let Round { batch, answers, charges } = self.desk.close();
        let desk = &mut self.desk;
        let meanwhile = async {
            desk.announce(stands);
            desk.hear_more();
        };
        let (written, ()) = tokio::join!(write(self.ledger, batch), meanwhile);
        match written {
            Ok(batch) => {
                let round = Round { batch, answers: self.load(answers).await, charges };
                self.desk.hear_more();
                Ok(Some(round))
            }
            Err(error) => {
                Round { batch: Batch::default(), answers, charges }.fail(&error);
                if matches!(error, Error::Deposed) { Err(error) } else { self.start_over(&error).await }
            }
        }
    }

    /// Reads the payloads that memory did not hold, and checkpoints, which it never holds. Leases that cannot be given
    /// without them go back, unstarted, and their caller is told why; a task whose payload is gone dies of it alone.
    async fn load(&mut self, mut answers: Vec<Answer>) -> Vec<Answer> {
        for answer in &mut answers {
            let Answer::Leases(_, namespace, leases) = answer else { continue };
            let Ok(given) = leases else { continue };
            match load(self.ledger, given).await {
                Ok(()) => self.desk.bury(namespace, given.extract_if(.., |lease| is_bare(lease)).collect()),
                Err(error) => {
                    self.desk.give_back(namespace, std::mem::take(given));
                    *leases = Err(error);
                }
            }
        }
        answers
    }

    /// After a commit that failed: every caller is told, and memory is built again from the ledger.
    async fn start_over(&mut self, error: &Error) -> Result<Option<Round>, Error> {
        tracing::error!(%error, "a commit failed: the queue is read again from its ledger");
        self.desk.fail(error);
        sleep(REST).await;
        let core = recover(self.ledger, self.desk.parts).await?;
        self.desk.replace(core, self.ledger.clock_offset());
        Ok(None)
    }
}

async fn recover<L: Ledger>(ledger: &mut L, parts: &Parts) -> Result<Core, Error> {
    ledger.recover(parts.limits.clone(), parts.noise, parts.clock.now().micros()).await
}

async fn write<L: Ledger>(ledger: &mut L, batch: Batch) -> Result<Batch, Error> {
    if batch.is_empty() {
        return ledger.keep().await.map(|()| batch);
    }
    ledger.write(batch).await
}

/// Whether the payload is not there.
fn is_bare(lease: &Lease) -> bool {
    lease.task.payload.is_none()
}

/// Fills in what there is.
async fn load<L: Ledger>(ledger: &mut L, leases: &mut [Lease]) -> Result<(), Error> {
    let bare = |lease: &&mut Lease| is_bare(lease);
    let rows: Vec<_> = leases.iter_mut().filter(bare).map(|lease| row_of(lease.task.id)).collect();
    if !rows.is_empty() {
        let payloads = ledger.payloads(rows).await?;
        for (lease, payload) in leases.iter_mut().filter(bare).zip(payloads) {
            lease.task.payload = payload;
        }
    }
    let left = |lease: &&mut Lease| lease.task.status.has_checkpoint();
    let rows: Vec<_> = leases.iter_mut().filter(left).map(|lease| row_of(lease.task.id)).collect();
    if !rows.is_empty() {
        let checkpoints = ledger.checkpoints(rows).await?;
        for (lease, checkpoint) in leases.iter_mut().filter(left).zip(checkpoints) {
            lease.task.checkpoint = checkpoint;
        }
    }
    Ok(())
}
