//! All processes and where they are: the one place that is written by supervisions and read by everybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nova_types::ProcessId;
use tokio::sync::{broadcast, watch};

use super::log::Log;
use super::spec::Spec;
use super::status::{Process, State};
use super::usage::Account;
use crate::error::Error;

/// Changes that a watcher may be behind before it is given everything anew.
const CHANGES: usize = 1_024;

/// One process, from the request to start it until it is forgotten.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spec: Arc<Spec>,
    pub(crate) log: Arc<Log>,
    pub(crate) account: Account,
    /// Asks the supervision to end the process, within this grace.
    pub(crate) stop: watch::Sender<Option<Duration>>,
    phase: watch::Sender<Phase>,
}

/// How far the first start has come.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Starting,
    Started(Process),
    Refused(Error),
}

impl Entry {
    fn new(spec: Arc<Spec>, log: Arc<Log>) -> Self {
        let (stop, phase) = (watch::Sender::new(None), watch::Sender::new(Phase::Starting));
        Self { spec, log, account: Account::default(), stop, phase }
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The process with its usage up to now; none before its first start.
    pub(crate) fn process(&self) -> Option<Process> {
        match &*self.phase.borrow() {
            Phase::Started(process) => Some(Process { usage: self.account.usage(), ..process.clone() }),
            Phase::Starting | Phase::Refused(_) => None,
        }
    }

    fn state(&self) -> Option<State> {
        match &*self.phase.borrow() {
            Phase::Started(process) => Some(process.state),
            Phase::Starting | Phase::Refused(_) => None,
        }
    }

    fn is_live(&self) -> bool {
        self.state().is_none_or(|state| !state.is_final())
    }
}

/// What a request to start a process found.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// Nothing: the caller starts it.
    New(Arc<Entry>),
    /// The same process, started or about to be.
    There(Arc<Entry>),
}

/// All processes.
#[derive(Debug)]
pub(crate) struct Table {
    contents: Mutex<Contents>,
    max_live: usize,
    max_kept: usize,
}

#[derive(Debug)]
struct Contents {
    slots: BTreeMap<ProcessId, Slot>,
    changes: broadcast::Sender<Process>,
    is_draining: bool,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    /// What bore the id before, shown until the present one has started.
    previous: Option<Arc<Entry>>,
}

impl Slot {
    fn shown(&self) -> Option<Process> {
        self.entry.process().or_else(|| self.previous.as_ref()?.process())
    }
}

impl Table {
    pub(crate) fn new(max_live: usize, max_kept: usize) -> Self {
        let changes = broadcast::Sender::new(CHANGES);
        let contents = Mutex::new(Contents { slots: BTreeMap::new(), changes, is_draining: false });
        Self { contents, max_live, max_kept }
    }

    /// Takes the id for a process that the caller then starts, unless the same one is there.
    pub(crate) fn reserve(
        &self,
        spec: Spec,
        new_log: impl FnOnce(&ProcessId) -> Log,
    ) -> Result<Reserved, Error> {
        let mut contents = self.lock();
        if contents.is_draining {
            return Err(Error::Draining);
        }
        let previous = contents.slots.get(&spec.id).map(|slot| Arc::clone(&slot.entry));
        if let Some(entry) = previous.as_ref().filter(|entry| entry.is_live()) {
            return is_same(entry, &spec).map(|()| Reserved::There(Arc::clone(entry)));
        }
        if contents.slots.values().filter(|slot| slot.entry.is_live()).count() >= self.max_live {
            return Err(Error::TooManyProcesses(self.max_live));
        }
        let id = spec.id.clone();
        let log = previous.as_ref().map_or_else(|| Arc::new(new_log(&id)), |entry| Arc::clone(&entry.log));
        let entry = Arc::new(Entry::new(Arc::new(spec), log));
        contents.slots.insert(id, Slot { entry: Arc::clone(&entry), previous });
        Ok(Reserved::New(entry))
    }

    /// Gives the id back: the first start failed.
    pub(crate) fn refuse(&self, entry: &Entry, error: Error) {
        let mut contents = self.lock();
        let slot = contents.slots.remove(&entry.spec.id);
        if let Some(previous) = slot.and_then(|slot| slot.previous) {
            contents.slots.insert(entry.spec.id.clone(), Slot { entry: previous, previous: None });
        }
        entry.phase.send_replace(Phase::Refused(error));
    }

    /// Writes where a process is, and tells the watchers.
    pub(crate) fn publish(&self, entry: &Entry, process: Process) {
        let mut contents = self.lock();
        let shown = Process { usage: entry.account.usage(), ..process.clone() };
        let is_final = process.state.is_final();
        entry.phase.send_replace(Phase::Started(process));
        if let Some(slot) = contents.slots.get_mut(&entry.spec.id) {
            slot.previous = None;
        }
        // An error says that nobody watches.
        contents.changes.send(shown).ok();
        if is_final {
            contents.forget(self.max_kept);
        }
    }

    pub(crate) fn entry(&self, id: &ProcessId) -> Result<Arc<Entry>, Error> {
        let contents = self.lock();
        let slot = contents.slots.get(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        Ok(Arc::clone(&slot.entry))
    }

    pub(crate) fn get(&self, id: &ProcessId) -> Result<Process, Error> {
        self.lock().slots.get(id).and_then(Slot::shown).ok_or_else(|| Error::NotFound(id.clone()))
    }

    /// All processes by id, and the changes that follow.
    pub(crate) fn watch(&self) -> (Vec<Process>, broadcast::Receiver<Process>) {
        let contents = self.lock();
        (contents.shown(), contents.changes.subscribe())
    }

    pub(crate) fn list(&self) -> Vec<Process> {
        self.lock().shown()
    }

    /// Those that have not ended for good.
    pub(crate) fn live(&self) -> Vec<Arc<Entry>> {
        let contents = self.lock();
        let entries = contents.slots.values().map(|slot| &slot.entry);
        entries.filter(|entry| entry.is_live()).cloned().collect()
    }

    /// Refuses every start from now on.
    pub(crate) fn close(&self) {
        self.lock().is_draining = true;
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn shown(&self) -> Vec<Process> {
        self.slots.values().filter_map(Slot::shown).collect()
    }

    /// Forgets those that ended first, and their logs, until no more than `max` ended ones are left. Who takes one of
    /// the ids next begins a new log: the files go before that can be.
    fn forget(&mut self, max: usize) {
        let ended = self.slots.values().filter(|slot| !slot.entry.is_live());
        let mut ended: Vec<_> = ended.filter_map(|slot| slot.entry.process()).collect();
        if ended.len() <= max {
            return;
        }
        ended.sort_by_key(|process| process.ending.map(|ending| ending.time));
        for process in &ended[..ended.len() - max] {
            if let Some(slot) = self.slots.remove(&process.spec.id) {
                slot.entry.log.remove();
            }
        }
    }
}

fn is_same(entry: &Entry, spec: &Spec) -> Result<(), Error> {
    if entry.stop.borrow().is_some() {
        return Err(Error::Stopping(spec.id.clone()));
    }
    if *entry.spec != *spec {
        return Err(Error::SpecDiffers(spec.id.clone()));
    }
    Ok(())
}

/// Follows the processes of a table; one that falls too far behind is shown everything anew.
#[derive(Debug)]
pub struct Watcher {
    table: Arc<Table>,
    changes: broadcast::Receiver<Process>,
}

impl Watcher {
    /// All processes as they are now, and what tells of their changes from now on.
    pub(crate) fn new(table: Arc<Table>) -> (Vec<Process>, Self) {
        let (processes, changes) = table.watch();
        (processes, Self { table, changes })
    }

    /// What changed: one process, or all of them when changes were missed; none when there will be no more.
    pub async fn next(&mut self) -> Option<Vec<Process>> {
        match self.changes.recv().await {
            Ok(process) => Some(vec![process]),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let (processes, changes) = self.table.watch();
                self.changes = changes;
                Some(processes)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use nova_types::Timestamp;

    use super::super::spec::{Limits, Program, Restart};
    use super::super::status::{Cause, Ending, Usage};
    use super::*;
    use crate::config::LogConfig;

    fn spec(id: &str) -> Spec {
        Spec {
            id: ProcessId::parse("id", id).unwrap(),
            program: Program::Runner,
            args: Vec::new(),
            environment: BTreeMap::new(),
            working_directory: None,
            restart: Restart::Never,
            agent: None,
            limits: Limits::default(),
            labels: BTreeMap::new(),
        }
    }

    fn reserve(table: &Table, id: &str) -> Result<Arc<Entry>, Error> {
        let new_log = |id: &ProcessId| Log::new(std::path::Path::new("/nowhere"), id, LogConfig::default());
        match table.reserve(spec(id), new_log)? {
            Reserved::New(entry) | Reserved::There(entry) => Ok(entry),
        }
    }

    fn publish(table: &Table, entry: &Entry, state: State, micros: i64) {
        let ending = Ending { time: Timestamp::from_micros(micros), cause: Cause::Exit(0) };
        let process = Process {
            spec: Arc::clone(&entry.spec),
            state,
            pid: 7,
            start_time: Timestamp::from_micros(0),
            ending: Some(ending),
            restarts: u32::try_from(micros).unwrap(),
            usage: Usage::default(),
            reason: String::new(),
        };
        table.publish(entry, process);
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_shown_everything_anew() {
        let table = Arc::new(Table::new(10, 10));
        let (before, mut watcher) = Watcher::new(Arc::clone(&table));
        assert!(before.is_empty());
        let (one, other) = (reserve(&table, "one").unwrap(), reserve(&table, "other").unwrap());
        publish(&table, &other, State::Running, 0);
        let changes = i64::try_from(CHANGES).unwrap() + 1;
        (1..=changes).for_each(|change| publish(&table, &one, State::Running, change));
        let shown = watcher.next().await.unwrap();
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].restarts, u32::try_from(changes).unwrap());
        publish(&table, &other, State::Exited, 1);
        assert_eq!(watcher.next().await.unwrap()[0].state, State::Exited);
    }

    #[test]
    fn those_that_ended_first_are_forgotten_first() {
        let table = Table::new(10, 2);
        for (micros, id) in [(3, "a"), (1, "b"), (2, "c")] {
            publish(&table, &reserve(&table, id).unwrap(), State::Exited, micros);
        }
        let kept: Vec<String> = table.list().iter().map(|process| process.spec.id.to_string()).collect();
        assert_eq!(kept, ["a", "c"]);
    }

    #[test]
    fn no_more_processes_live_than_may() {
        let table = Table::new(1, 10);
        let entry = reserve(&table, "a").unwrap();
        assert!(matches!(reserve(&table, "b"), Err(Error::TooManyProcesses(1))));
        publish(&table, &entry, State::Exited, 1);
        assert!(reserve(&table, "b").is_ok());
    }

    #[test]
    fn a_refused_start_brings_back_what_was_there() {
        let table = Table::new(10, 10);
        publish(&table, &reserve(&table, "a").unwrap(), State::Exited, 5);
        let again = reserve(&table, "a").unwrap();
        table.refuse(&again, Error::NoRunner);
        assert_eq!(table.list()[0].restarts, 5);
    }
}
