//! The ledger in Redis, which several daemons can reach and one owns at a time.
//!
//! Ownership is a claim with an epoch ([`claim`](RedisLedger::claim)). Every write names its epoch and the commit
//! that it follows, and Redis applies it whole or not at all: a daemon that was deposed while it slept can write
//! no more, a write whose answer was lost is repeated without harm, and when Redis itself has lost its last
//! commits (a failover, a power cut) the owner notices with its next one and reads again what is left.

mod claimant;
mod events;
mod heads;
mod lead;
mod read;
mod recover;
mod rows;
mod write;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nova_storage::redis::{Functions, Library, RedisUrl};
use tokio::{sync::watch, time::sleep};

use self::write::{Commands, Writer, text};
pub(crate) use self::{
    claimant::Claimant,
    lead::{Role, lead},
    read::RedisReader,
};
use crate::{
    core::{Core, Limits, batch::Batch, entry::Row},
    error::Error,
    ledger::{Ledger, Standing},
    record::Durability,
    task::{Micros, after},
};

/// The functions that run in Redis.
fn library() -> Library {
    Library::new("nova_queue", include_str!("ledger.lua"))
}

/// How long a claim lasts without a write.
const CLAIM: Duration = Duration::from_secs(3);

/// How long a write is repeated before the caller is told that Redis is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rest between two tries.
const REST: Duration = Duration::from_millis(100);

/// How far the tokens of an owner begin above all that is known. Further than tokens can be given that Redis has then
/// lost, though it knows of the owner's claim: as many leases as a queue gives in half an hour at its fastest.
const STRIDE: u64 = 1 << 28;

/// How long replicas have to confirm a claim.
const CONFIRM: Duration = Duration::from_millis(800);

/// The ledger in Redis.
#[derive(Debug)]
pub(crate) struct RedisLedger {
    functions: Functions,
    reader: RedisReader,
    claimant: Claimant,
    /// Epoch whose owner is known to be gone.
    gone: u64,
    epoch: u64,
    /// Greatest token that this daemon knows of, whatever Redis has lost since.
    token: u64,
    commit: u64,
    written: Instant,
    offset: Micros,
    /// How long a claim lasts without a write.
    lasts: Duration,
    writer: Writer,
    standing: watch::Sender<Standing>,
}

impl RedisLedger {
    /// A ledger that owns nothing yet. It tells how it stands: what its commits survive, which a failover may change, and
    /// whether it is silent.
    ///
    /// # Errors
    /// The server cannot be reached, is too old, or may lose what it holds.
    pub(crate) async fn open(
        url: &RedisUrl,
        claimant: Claimant,
        standing: watch::Sender<Standing>,
    ) -> Result<Self, Error> {
        let reader = RedisReader::open(url).await?;
        Ok(Self {
            functions: reader.functions.clone(),
            reader,
            claimant,
            gone: 0,
            epoch: 0,
            token: 0,
            commit: 0,
            written: Instant::now(),
            offset: 0,
            lasts: CLAIM,
            writer: Writer::default(),
            standing,
        })
    }

    /// Claims the ledger, and answers how many replicas it has; `clock` is the daemon's own.
    ///
    /// # Errors
    /// [`Error::Owned`] while another daemon owns it.
    async fn claim(&mut self, clock: Micros) -> Result<u64, Error> {
        let args = [
            self.claimant.instance.as_bytes().to_vec(),
            self.claimant.url.as_bytes().to_vec(),
            text(self.lasts.as_micros()),
            text(self.gone),
            text(self.token),
            text(STRIDE),
            self.claimant.host.as_bytes().to_vec(),
        ];
        let answer: Vec<String> = self.functions.call("claim", &[rows::facts()], &args).await?;
        let number = |at: usize| answer.get(at).and_then(|text| text.parse::<u64>().ok());
        let (Some(won), Some(epoch)) = (number(0), number(1)) else { return Err(unreadable()) };
        if won == 0 {
            let url = answer.get(2).map(|url| Arc::from(url.as_str())).unwrap_or_default();
            let left = Duration::from_micros(number(3).unwrap_or(0));
            self.token = self.token.max(number(4).unwrap_or(epoch));
            let host = answer.get(5).map(|host| Arc::from(host.as_str())).unwrap_or_default();
            return Err(Error::Owned { url, host, epoch, left });
        }
        let now = answer.get(3).and_then(|text| text.parse::<Micros>().ok()).ok_or_else(unreadable)?;
        (self.epoch, self.token) = (epoch, epoch);
        self.commit = number(2).ok_or_else(unreadable)?;
        self.offset = now - clock;
        self.written = Instant::now();
        number(4).ok_or_else(unreadable)
    }

    /// Waits until the replicas have the claim: then whichever is promoted knows it, and no later owner gives a token of
    /// this one. Nothing else is sent on this connection meanwhile.
    async fn confirm(&self, replicas: u64) -> Result<(), Error> {
        if replicas == 0 {
            return Ok(());
        }
        let mut wait = ::redis::cmd("WAIT");
        wait.arg(replicas).arg(u64::try_from(CONFIRM.as_millis()).unwrap_or(0));
        let confirmed: u64 = self.functions.store().query(&wait).await?;
        if confirmed < replicas {
            tracing::warn!(
                confirmed,
                replicas,
                "not every replica of redis has confirmed who leads the queue"
            );
        }
        Ok(())
    }

    /// Lets the next owner in without a wait.
    async fn resign(&self) {
        let resigned: Result<String, _> =
            self.functions.call("resign", &[rows::facts()], &[text(self.epoch)]).await;
        if let Err(error) = resigned {
            tracing::debug!(%error, "the claim on the ledger was not given back: it ends by itself");
        }
    }

    /// Applies commands as the next commit.
    async fn apply(&mut self, commands: Commands) -> Result<(), Error> {
        let mut keys = vec![rows::facts()];
        keys.extend(commands.keys);
        let claim = u64::try_from(self.lasts.as_micros()).unwrap_or(0);
        let head = [self.epoch, self.commit, self.commit + 1, claim, self.token];
        let mut args: Vec<Vec<u8>> = head.iter().map(text).collect();
        args.extend(commands.words);
        let answer = self.call_until_answered(&keys, &args).await?;
        self.written = Instant::now();
        match answer.as_str() {
            "DONE" => {
                self.commit += 1;
                self.tell_durability().await
            }
            "DEPOSED" => Err(Error::Deposed),
            _ => Err(Error::Store("redis has lost the last commits of the queue".into())),
        }
    }

    /// What an acknowledgement survives, where the last commit went.
    async fn tell_durability(&self) -> Result<(), Error> {
        let server = self.functions.store();
        let level = match (server.replicas(), server.appends().await?) {
            (1.., _) => Durability::Replicated,
            (0, true) => Durability::Aof,
            (0, false) => Durability::Memory,
        };
        self.standing.send_if_modified(|told| std::mem::replace(&mut told.durability, level) != level);
        Ok(())
    }

    fn tell_silent(&self, why: Option<Error>) {
        self.standing.send_if_modified(|told| {
            let before = std::mem::replace(&mut told.silent, why);
            before != told.silent
        });
    }

    /// Repeats a write that had no answer: its number tells Redis whether it was applied.
    async fn call_until_answered(&self, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Result<String, Error> {
        let begun = Instant::now();
        loop {
            match self.functions.write("write", keys, args).await {
                Ok(answer) => {
                    self.tell_silent(None);
                    return Ok(answer);
                }
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "redis did not answer a write: it is repeated");
                    self.tell_silent(Some(error.into()));
                }
            }
            sleep(REST).await;
        }
    }
}

impl Ledger for RedisLedger {
    async fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error> {
        let begun = Instant::now();
        let replicas = self.claim(clock).await?;
        let mut core = Core::new(limits, noise);
        self.writer = Writer::default();
        let counters = self.restore(&mut core).await?;
        self.writer.start_from(counters.last_row, counters.floor);
        // Leases last for their length from when they can be extended again, not from when this began.
        self.place(&mut core, counters, after(clock + self.offset, begun.elapsed())).await?;
        core.continue_tokens(self.epoch);
        // Tells whether the ledger was still ours when all of it had been read.
        self.apply(Commands::default()).await?;
        self.confirm(replicas).await?;
        Ok(core)
    }

    async fn write(&mut self, batch: Batch) -> Result<Batch, Error> {
        let commands = self.writer.commands(&batch);
        self.token = self.token.max(batch.last_token);
        self.apply(commands).await.map(|()| batch)
    }

    async fn payloads(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.reader.payloads(&rows).await
    }

    async fn checkpoints(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.reader.checkpoints(&rows).await
    }

    async fn keep(&mut self) -> Result<(), Error> {
        if self.written.elapsed() < self.lasts / 3 {
            return Ok(());
        }
        self.apply(Commands::default()).await
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn clock_offset(&self) -> Micros {
        self.offset
    }
}

fn unreadable() -> Error {
    Error::Store("redis answered what the queue does not understand".into())
}
