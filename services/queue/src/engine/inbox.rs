//! The way into the engine: bounded in calls and in bytes.
//!
//! Three lanes, so that a flood of new tasks crowds out neither what workers owe nor those who ask for work or look.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{
    core::Core,
    error::Error,
    record::{Beat, Lease, LeaseRef, LeaseRequest, NewTask, Outcome, Receipt, Report, Settled, Settlement},
    task::Micros,
};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A look at memory; what it saw is told once all of that stands.
pub(crate) struct Look(Box<Glance>);

type Glance = dyn FnOnce(Result<&Core, Error>) -> Told + Send;

impl Look {
    /// Takes it; or learns why there is no memory to look at.
    pub(crate) fn at(self, core: Result<&Core, Error>) -> Told {
        (self.0)(core)
    }
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// A change of memory that is rare; what it gives is told once the commit stands, or has failed.
pub(crate) struct Alter(Box<Change>);

type Change = dyn FnOnce(Result<(&mut Core, Micros), Error>) -> Told + Send;

/// Tells the caller of a [`Look`] or an [`Alter`] what came of it.
pub(crate) struct Told(Box<dyn FnOnce(Result<(), Error>) + Send>);

impl Alter {
    /// Changes memory as of now; or learns why there is none.
    pub(crate) fn apply(self, core: Result<(&mut Core, Micros), Error>) -> Told {
        (self.0)(core)
    }
}

impl Told {
    /// Tells it.
    pub(crate) fn tell(self, committed: Result<(), Error>) {
        (self.0)(committed);
    }
}

impl std::fmt::Debug for Alter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alter")
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// What the engine is asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Store tasks, under a lease of a namespace where one is shown.
    Enqueue(Option<(Arc<str>, LeaseRef)>, Vec<NewTask>, Reply<Vec<Receipt>>),
    /// Take tasks.
    Lease(LeaseRequest, Reply<Vec<Lease>>),
    /// Extend leases, and those that are reported on.
    Heartbeat(Arc<str>, Vec<LeaseRef>, Vec<Report>, Option<Duration>, Reply<Vec<Beat>>),
    /// End leases.
    Settle(Arc<str>, Vec<Settlement>, Reply<Vec<Settled>>),
    /// Change something that is rarely changed.
    Alter(Alter),
    /// Look.
    Look(Look),
}

/// A command and the bytes that it holds; the bytes are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Posted {
    /// The command.
    pub(crate) command: Command,
    /// Released when the engine is done with the command's bytes.
    pub(crate) charge: Charge,
}

/// Bytes in flight, of a bounded number.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Charge {
    /// How many.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One bounded way in.
#[derive(Debug, Clone)]
struct Lane {
    sender: mpsc::Sender<Posted>,
    held: Arc<AtomicUsize>,
    bytes: usize,
    what: &'static str,
}

impl Lane {
    fn new(calls: usize, bytes: usize, what: &'static str) -> (Self, mpsc::Receiver<Posted>) {
        let (sender, receiver) = mpsc::channel(calls);
        (Self { sender, held: Arc::default(), bytes, what }, receiver)
    }

    /// Takes room for so many bytes, if there is any; what is larger than all of it has its turn when there is nothing else.
    fn charge(&self, bytes: usize) -> Option<Charge> {
        let charge = Charge { bytes, held: Arc::clone(&self.held) };
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        (before == 0 || before + bytes <= self.bytes).then_some(charge)
    }

    /// Whether the next call would hardly find room: there is no place left, or less than an eighth of the bytes.
    fn is_full(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        self.sender.capacity() == 0 || held > self.bytes - self.bytes / 8
    }

    fn post(&self, command: Command) -> Result<(), Error> {
        let charge = self.charge(weight(&command)).ok_or(Error::Busy(self.what))?;
        self.sender.try_send(Posted { command, charge }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy(self.what),
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })
    }

    /// The same, and waits for room in place of refusing.
    async fn post_in_turn(&self, command: Command) -> Result<(), Error> {
        loop {
            let place = self.sender.reserve().await.map_err(|_| Error::Closed)?;
            if let Some(charge) = self.charge(weight(&command)) {
                place.send(Posted { command, charge });
                return Ok(());
            }
            drop(place);
            sleep(REST).await;
        }
    }
}

/// The callers' end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    tasks: Lane,
    calls: Lane,
    settlements: Lane,
    /// Whether calls wait for room in place of being refused.
    patient: bool,
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Enqueues.
    pub(crate) tasks: mpsc::Receiver<Posted>,
    /// Leases, looks, and what operators change.
    pub(crate) calls: mpsc::Receiver<Posted>,
    /// Settlements and heartbeats.
    pub(crate) settlements: mpsc::Receiver<Posted>,
}

impl Outlet {
    /// True when every caller's end is dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.tasks.is_closed() && self.tasks.is_empty() && self.calls.is_empty()
    }

    /// Refuses every call for a while: this daemon does not lead, and this is why.
    pub(crate) async fn refuse_for(&mut self, rest: Duration, why: &Error) {
        let refuse = async {
            loop {
                let posted = tokio::select! {
                    biased;
                    posted = self.settlements.recv() => posted,
                    posted = self.calls.recv() => posted,
                    posted = self.tasks.recv() => posted,
                };
                let Some(posted) = posted else { return };
                posted.command.refuse(why.clone());
            }
        };
        // Either way the time is over.
        drop(tokio::time::timeout(rest, refuse).await);
    }
}

impl Command {
    /// Tells the caller why this daemon does not lead; one that is gone needs no answer.
    fn refuse(self, why: Error) {
        match self {
            Self::Enqueue(_, _, reply) => drop(reply.send(Err(why))),
            Self::Lease(_, reply) => drop(reply.send(Err(why))),
            Self::Heartbeat(.., reply) => drop(reply.send(Err(why))),
            Self::Settle(.., reply) => drop(reply.send(Err(why))),
            Self::Alter(alter) => alter.apply(Err(why)).tell(Ok(())),
            Self::Look(look) => look.at(Err(why)).tell(Ok(())),
        }
    }
}

/// Both ends; each way holds `calls` calls and `bytes` bytes.
pub(crate) fn inbox(calls: usize, bytes: usize) -> (Inbox, Outlet) {
    let (tasks, from_tasks) = Lane::new(calls, bytes, "tasks");
    let (settlements, from_settlements) = Lane::new(calls, bytes, "settlements");
    let (calls, from_calls) = Lane::new(calls, bytes, "calls");
    let outlet = Outlet { tasks: from_tasks, calls: from_calls, settlements: from_settlements };
    (Inbox { tasks, calls, settlements, patient: false }, outlet)
}

impl Inbox {
    /// The same, for who has a bounded number of calls under way: they wait for room in place of being refused.
    pub(crate) fn patient(&self) -> Self {
        Self { patient: true, ..self.clone() }
    }

    /// Whether more new tasks may wait.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        if self.tasks.is_full() { Err(Error::Busy(self.tasks.what)) } else { Ok(()) }
    }

    /// Asks the engine and waits for its answer.
    ///
    /// # Errors
    /// There is no room, the engine is gone, or the verb fails.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.post(command(reply)).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Asks for leases and waits for them; a caller that is dropped takes none, not even those that were just given.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>, Error> {
        let (reply, answer) = oneshot::channel();
        let mut awaited = Awaited { inbox: self, namespace: Arc::clone(&request.namespace), answer };
        self.post(Command::Lease(request, reply)).await?;
        (&mut awaited.answer).await.map_err(|_| Error::Closed)?
    }

    /// Ends leases as if they had never been given, without waiting for it.
    pub(crate) fn hand_back(&self, namespace: &Arc<str>, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let settlement = |lease| Settlement { lease, outcome: Outcome::Released };
        let settlements = leases.into_iter().map(settlement).collect();
        // Nobody waits for the answer.
        let (reply, _) = oneshot::channel();
        if let Err(error) = self.settlements.post(Command::Settle(Arc::clone(namespace), settlements, reply))
        {
            tracing::warn!(%error, "leases without a worker could not be handed back; they will expire");
        }
    }

    async fn post(&self, command: Command) -> Result<(), Error> {
        let lane = match command {
            Command::Settle(..) | Command::Heartbeat(..) => &self.settlements,
            Command::Enqueue(..) => &self.tasks,
            Command::Lease(..) | Command::Alter(_) | Command::Look(_) => &self.calls,
        };
        if self.patient { lane.post_in_turn(command).await } else { lane.post(command) }
    }

    /// Changes memory; answers what the change gives once it is committed.
    ///
    /// # Errors
    /// There is no room, the engine is gone, the change is refused, or the commit failed.
    pub(crate) async fn alter<T: Send + 'static>(
        &self,
        alter: impl FnOnce(&mut Core, Micros) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(|reply: Reply<T>| {
            Command::Alter(Alter(Box::new(move |core| {
                let altered = core.and_then(|(core, now)| alter(core, now));
                // A caller that is gone needs no answer.
                Told(Box::new(move |committed| drop(reply.send(committed.and(altered)))))
            })))
        })
        .await
    }

    /// Looks at memory; answers once what it saw is committed.
    ///
    /// # Errors
    /// There is no room, the engine is gone, or the commit failed.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(|reply: Reply<T>| {
            Command::Look(Look(Box::new(move |core| {
                let seen = core.map(look);
                // A caller that is gone needs no answer.
                Told(Box::new(move |committed| drop(reply.send(committed.and(seen)))))
            })))
        })
        .await
    }
}

/// Leases that somebody waits for; dropped with them in hand, it hands them back.
struct Awaited<'a> {
    inbox: &'a Inbox,
    namespace: Arc<str>,
    answer: oneshot::Receiver<Result<Vec<Lease>, Error>>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(leases)) = self.answer.try_recv() {
            self.inbox.hand_back(&self.namespace, leases.iter().map(Lease::refer).collect());
        }
    }
}

/// Rest before room for bytes is looked for again.
const REST: Duration = Duration::from_millis(5);

/// What a command holds beside its payloads.
const FRAME: usize = 256;

fn weight(command: &Command) -> usize {
    match command {
        Command::Enqueue(_, tasks, _) => tasks.iter().map(|task| task.spec.size() + task.payload.len()).sum(),
        Command::Settle(_, settlements, _) => settlements
            .iter()
            .map(|settlement| match &settlement.outcome {
                Outcome::Completed(result) => FRAME + result.len(),
                Outcome::Failed { error, .. } => FRAME + error.message.len(),
                Outcome::Released | Outcome::Snoozed(_) => FRAME,
            })
            .sum(),
        Command::Heartbeat(_, leases, reports, ..) => {
            let checkpoint = |report: &Report| report.checkpoint.as_ref().map_or(0, |bytes| bytes.len());
            let reported = reports.iter().map(|report| FRAME + checkpoint(report));
            FRAME + size_of_val(leases.as_slice()) + reported.sum::<usize>()
        }
        Command::Lease(..) | Command::Alter(_) | Command::Look(_) => FRAME,
    }
}
