//! Where tasks live: the queue's verbs, each atomic and durable when it answers.
//!
//! A handle on the engine's task ([`crate::engine`]), which decides in memory and writes to a ledger
//! ([`crate::ledger`]); what has ended, lists and old events are read beside it. Both ledgers keep the same
//! promises, which `conformance` states.

#[cfg(test)]
mod conformance;
mod deletion;
#[cfg(test)]
mod failing;
mod open;
mod schedules;
mod streams;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

#[cfg(test)]
pub(crate) use self::open::assemble;
pub(crate) use self::open::{Settings, open_redis, open_sqlite};
pub(crate) use self::streams::Place;
use self::streams::Streams;
use crate::{
    core::{Core, Holding, Listed, entry::row_of},
    engine::{
        awaited::Awaited,
        inbox::{Command, Inbox},
        ring::{Passage, Ring, Wanted},
    },
    error::Error,
    figures::Figures,
    ledger::{Reader, Standing, redis::Role},
    record::{
        Beat, Cursor, Durability, Lease, LeaseRef, LeaseRequest, NewTask, Proof, QueueSettings, QueueStats,
        QueueView, Receipt, Report, Settled, Settlement, Task, TaskFilter, TaskPage,
    },
    task::State,
};

/// Most steps of one list call; each looks at about 1,000 tasks of those queues that it is about.
const STEPS: usize = 16;

/// How the engine's task ended.
type Stopped = oneshot::Receiver<Result<(), Error>>;

/// The verbs of a queue; clones share one engine, which ends when the last is dropped.
///
/// Each verb is atomic, and durable at [`durability`](Store::durability) when it answers. On an error nothing
/// has changed, or (a reply that was lost) repeating the verb gives the answer that was lost. Dropping a call
/// midway leaves either all of its effect or none.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inbox: Inbox,
    ring: Arc<Ring>,
    awaited: Arc<Awaited>,
    reader: Arc<dyn Reader>,
    standing: watch::Receiver<Standing>,
    role: watch::Receiver<Role>,
    streams: Arc<Streams>,
    stopped: Arc<Mutex<Option<Stopped>>>,
}

impl Store {
    /// Waits until the engine ends, which it does on its own only when it cannot go on.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) fn stopped(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match stopped {
                Some(stopped) => stopped.await.unwrap_or(Err(Error::Closed)),
                None => Ok(()),
            }
        }
    }

    /// Whether this daemon owns its ledger, or who does; changes as ownership does.
    pub(crate) fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// The same store, whose calls wait for room in place of being refused: for streams, which are not read further
    /// while too many are under way.
    pub(crate) fn patient(&self) -> Self {
        Self { inbox: self.inbox.patient(), ..self.clone() }
    }

    /// Stores tasks of one namespace, all or none; a known idempotency key answers its earlier task.
    #[cfg(test)]
    pub(crate) async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<Vec<Receipt>, Error> {
        self.enqueue_under(None, tasks).await
    }

    /// The same under a lease, if there is one: only while it is held.
    pub(crate) async fn enqueue_under(
        &self,
        lease: Option<(Arc<str>, LeaseRef)>,
        tasks: Vec<NewTask>,
    ) -> Result<Vec<Receipt>, Error> {
        self.inbox.ask(|reply| Command::Enqueue(lease, tasks, reply)).await
    }

    /// Whether more tasks may wait to be stored.
    ///
    /// # Errors
    /// None may: too many calls wait already.
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        self.inbox.has_room()
    }

    /// Takes ready tasks, and waits up to `request.wait` for the first.
    /// A call that is dropped takes nothing.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>, Error> {
        self.inbox.lease(request).await
    }

    /// Ends leases as if they had never been given, without waiting for it.
    pub(crate) fn hand_back(&self, namespace: &Arc<str>, leases: Vec<LeaseRef>) {
        self.inbox.hand_back(namespace, leases);
    }

    /// Extends leases to `duration` from now, or each to its own length, and takes what is reported on others; each answers its new end, or how it was lost, first the
    /// leases and then the reports. What is reported is durable; that leases are extended is not, and need not be.
    pub(crate) async fn report(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        reports: Vec<Report>,
        duration: Option<Duration>,
    ) -> Result<Vec<Beat>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.ask(|reply| Command::Heartbeat(namespace, leases, reports, duration, reply)).await
    }

    /// Ends leases in one commit. A stale token changes nothing; a repeated settlement gets its first answer.
    pub(crate) async fn settle(
        &self,
        namespace: &Arc<str>,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Settled>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.ask(|reply| Command::Settle(namespace, settlements, reply)).await
    }

    /// One task, payload and result included.
    pub(crate) async fn task(&self, namespace: &Arc<str>, id: Uuid) -> Result<Option<Task>, Error> {
        let wanted = Arc::clone(namespace);
        let live = self.inbox.look(move |core| core.task(&wanted, id)).await?;
        let Some(mut task) = live else {
            let ended = self.reader.ended(id).await?;
            return Ok(ended.filter(|task| task.spec.namespace == *namespace));
        };
        if task.payload.is_none() {
            task.payload = self.reader.payload(id).await?;
        }
        if task.status.has_checkpoint() {
            task.checkpoint = self.reader.checkpoint(id).await?;
        }
        Ok(Some(task))
    }

    /// The same once the task has ended, or as it is after `wait`.
    pub(crate) async fn task_at_its_end(
        &self,
        namespace: &Arc<str>,
        id: Uuid,
        wait: Duration,
    ) -> Result<Option<Task>, Error> {
        let over = Instant::now() + wait;
        let place = self.awaited.enter(row_of(id));
        let mut place = place.ok_or(Error::Busy("calls that wait for a task to end"))?;
        // Many may be told at once: they look one after the other.
        let store = self.patient();
        loop {
            let last = Instant::now() >= over;
            let task = store.task(namespace, id).await?;
            if last || task.as_ref().is_none_or(|task| task.status.state.is_terminal()) {
                return Ok(task);
            }
            // Told or not, it is looked at again.
            drop(timeout_at(over, place.told()).await);
        }
    }

    /// A page of tasks, newest first. A page may hold fewer tasks than its limit and still have a next one.
    pub(crate) async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Error> {
        let mut page = TaskPage::default();
        let mut before = filter.before.map_or(u64::MAX, row_of);
        let filter = Arc::new(filter);
        for _ in 0..STEPS {
            let wanted = Arc::clone(&filter);
            let stretch = self.inbox.look(move |core| core.list(&wanted, before)).await?;
            page.next = stretch.next;
            for task in self.read(stretch.tasks).await?.into_iter().filter(|task| filter.admits(task)) {
                if page.tasks.len() == filter.limit {
                    page.next = page.tasks.last().map(|task| task.id);
                    return Ok(page);
                }
                page.tasks.push(task);
            }
            let Some(last) = stretch.next else { break };
            before = row_of(last);
        }
        Ok(page)
    }

    /// Tasks of a list: those that ended from the ledger, unless they are gone since.
    async fn read(&self, listed: Vec<Listed>) -> Result<Vec<Task>, Error> {
        let ended = listed.iter().filter_map(|listed| match listed {
            Listed::Live(_) => None,
            Listed::Ended(id) => Some(*id),
        });
        let mut ended = self.reader.endings(ended.collect()).await?.into_iter();
        let tasks = listed.into_iter().filter_map(|listed| match listed {
            Listed::Live(task) => Some(*task),
            Listed::Ended(_) => ended.next().flatten(),
        });
        Ok(tasks.collect())
    }

    /// Ends the live ones of these tasks; answers how many. Whoever holds one is told.
    pub(crate) async fn cancel(
        &self,
        namespace: &Arc<str>,
        ids: Vec<Uuid>,
        message: String,
    ) -> Result<usize, Error> {
        let namespace = Arc::clone(namespace);
        let cancel = move |core: &mut Core, now| Ok(core.cancel(&namespace, &ids, &message, now));
        let cancelled = self.inbox.alter(cancel).await?;
        self.streams.recall(&cancelled);
        Ok(cancelled.len())
    }

    /// Gives a word for each lease that is held; nothing for the others.
    pub(crate) async fn prove(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
    ) -> Result<Vec<Option<Proof>>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.alter(move |core, now| Ok(core.prove(&namespace, &leases, now))).await
    }

    /// Forgets those of these tasks that nobody holds and that are in one of `states`, or in any when there is none;
    /// answers how many.
    pub(crate) async fn purge(
        &self,
        namespace: &Arc<str>,
        ids: Vec<Uuid>,
        states: Vec<State>,
    ) -> Result<usize, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.alter(move |core, now| Ok(core.purge(&namespace, &ids, &states, now))).await
    }

    /// Gives those of these tasks that are dead another life; answers how many.
    pub(crate) async fn redrive(&self, tasks: Vec<Task>) -> Result<usize, Error> {
        self.inbox.alter(move |core, now| Ok(core.redrive(&tasks, now))).await
    }

    /// A queue as a whole, if anybody has named it.
    pub(crate) async fn queue(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<Option<QueueView>, Error> {
        let (namespace, name) = (Arc::clone(namespace), Arc::clone(name));
        self.inbox.look(move |core| core.queue(&namespace, &name)).await
    }

    /// Changes the settings of a queue, and makes it when it is new.
    pub(crate) async fn configure(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        change: impl FnOnce(&mut QueueSettings) + Send + 'static,
    ) -> Result<QueueView, Error> {
        let (namespace, name) = (Arc::clone(namespace), Arc::clone(name));
        self.inbox.alter(move |core, now| core.configure(&namespace, &name, change, now)).await
    }

    /// The streams that hear of cancellations.
    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Figures of the first `most` queues by themselves, and of all others together.
    pub(crate) async fn figures(&self, most: usize) -> Result<Vec<Figures>, Error> {
        self.inbox.look(move |core| core.figures(most)).await
    }

    /// What workers of a namespace hold, by name.
    pub(crate) async fn held_by(
        &self,
        namespace: &Arc<str>,
        workers: Vec<Arc<str>>,
    ) -> Result<Vec<Holding>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.look(move |core| core.held_by(&namespace, &workers)).await
    }

    /// Counts of up to `limit` queues of a namespace after a name, by name.
    pub(crate) async fn queues(
        &self,
        namespace: &Arc<str>,
        after: String,
        limit: usize,
    ) -> Result<Vec<QueueStats>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.look(move |core| core.stats(&namespace, &after, limit)).await
    }

    /// The newest place of the event log.
    pub(crate) fn head(&self) -> Cursor {
        self.ring.head()
    }

    /// About `limit` of the events after a place that are wanted; [`Error::CursorExpired`] when the log has passed it.
    pub(crate) async fn events(
        &self,
        after: Cursor,
        limit: usize,
        wanted: Wanted<'_>,
    ) -> Result<Passage, Error> {
        if after.0 > self.ring.head().0 {
            return Err(Error::CursorExpired);
        }
        // Memory knows also of tasks that a queue with a short retention has forgotten since.
        match self.ring.after(after, limit, wanted) {
            Some(passage) => Ok(passage),
            None if after.0 < self.ring.floor() => Err(Error::CursorExpired),
            None => self.old_events(after, limit, wanted).await,
        }
    }

    async fn old_events(&self, after: Cursor, limit: usize, wanted: Wanted<'_>) -> Result<Passage, Error> {
        let mut events = self.reader.events(after.0, limit).await?;
        let reached = events.last().map_or(after, |event| event.cursor);
        events.retain(wanted);
        Ok(Passage { events, reached })
    }

    /// Changes whenever there may be new events.
    pub(crate) fn news(&self) -> watch::Receiver<Cursor> {
        self.ring.subscribe()
    }

    /// How the ledger stands; changes as it falls silent and answers again.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// What an acknowledged change survives.
    pub(crate) fn durability(&self) -> Durability {
        self.standing.borrow().durability
    }
}
