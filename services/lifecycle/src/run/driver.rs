//! Drives one run: asks the engine what to do, does it, records what came of it, and waits for news.
//!
//! It holds nothing that the log does not: dropped at any point, another driver goes on from the log.
//! An effect that was done and not recorded is done again, and is the same effect (its request_id is
//! the run's and the step's). Entries are recorded before the next effect is chosen. A phase begins beside all else: the
//! node agent may be away for long.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{BoxStream, ReadyChunks};
use nova_storage::Revision;
use nova_types::{Namespace, RunId, StepId, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::beginning::Beginning;
use super::engine::{self, Command, TaskSpec};
use super::event::{Entry, Event, StepError};
use super::executor::Executor;
use super::mesh::{MeshError, News};
use super::observe::{TaskView, observe};
use super::state::{State, StepStatus};
use crate::error::Error;

/// News that are recorded in one commit at most.
const MAX_NEWS: usize = 256;

type Chunks = ReadyChunks<BoxStream<'static, Result<News, MeshError>>>;

/// Drives a run until it has ended. After an error, call it again. `cancel` fires when somebody asks that the run be
/// cancelled; who asked before is in the store.
pub async fn drive(
    executor: &Executor,
    namespace: &Namespace,
    run_id: RunId,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let (_, fence) = executor.runs.head(namespace, run_id).await?;
    let state = executor.runs.state(run_id).await?;
    executor.want_agents(&state);
    if executor.runs.cancelled_by(run_id).await?.is_some() {
        cancel.cancel();
    }
    let (beginning, leaving) = (Beginning::default(), JoinSet::new());
    let mut driver =
        Driver { executor, cancel, state, fence, unsaved: Vec::new(), watch: None, beginning, leaving };
    while driver.state.end.is_none() {
        driver.advance().await?;
    }
    Ok(())
}

struct Driver<'a> {
    executor: &'a Executor,
    cancel: &'a CancellationToken,
    state: State,
    fence: Revision,
    unsaved: Vec<Entry>,
    watch: Option<Chunks>,
    beginning: Beginning,
    /// Agents that are let go.
    leaving: JoinSet<()>,
}

impl Driver<'_> {
    async fn advance(&mut self) -> Result<(), Error> {
        if !self.state.is_settled() {
            if let Some(event) = self.reason_to_give_up().await? {
                self.beginning.stop().await;
                self.note(event, None);
                return self.save(None).await;
            }
            if self.state.cursor.is_some() && self.watch.is_none() {
                return self.resume().await;
            }
        }
        let mut commands = engine::next(&self.state);
        commands
            .retain(|command| !matches!(command, Command::BeginPhase(phase) if self.beginning.has(*phase)));
        if commands.is_empty() {
            return self.wait().await;
        }
        for command in commands {
            self.execute(command).await?;
        }
        Ok(())
    }

    /// Why what is open is not waited for.
    async fn reason_to_give_up(&mut self) -> Result<Option<Event>, Error> {
        if self.cancel.is_cancelled() {
            let by = self.executor.runs.cancelled_by(self.state.start.run_id).await?.unwrap_or_default();
            return Ok(Some(Event::RunCancelled { by }));
        }
        let is_late = self.executor.runs.clock().now() >= self.state.deadline();
        Ok(is_late.then_some(Event::RunTimedOut))
    }

    async fn execute(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Record(events) => events.into_iter().for_each(|event| self.note(event, None)),
            Command::OpenWatch => self.open_watch(None).await?,
            Command::BeginPhase(phase) => self.beginning.add(self.executor, &self.state.start, phase),
            Command::Enqueue(tasks) => return self.enqueue(tasks).await,
            Command::EndPhase(phase) => {
                self.executor.end_phase(&self.state, phase).await?;
                let phase = self.state.phase(phase).name.clone();
                self.note(Event::PhaseEnded { phase }, None);
                self.dismiss();
            }
            Command::Finish { succeeded, message } => return self.finish(succeeded, message).await,
        }
        self.save(None).await
    }

    /// Lets agents go that nothing needs at present, beside all else: the end of the run does it again.
    fn dismiss(&mut self) {
        if self.state.is_settled() {
            return;
        }
        let mut needed = self.state.agents_needed();
        needed
            .extend(self.beginning.phases().flat_map(|phase| self.state.phase(phase).agents.iter().cloned()));
        let agents = self.state.agents();
        let idle = self.executor.give_up(&self.state.start, agents.difference(&needed));
        if !idle.is_empty() {
            let (executor, start) = (self.executor.clone(), Arc::clone(&self.state.start));
            self.leaving.spawn(async move { executor.dismiss(&start, idle).await });
        }
    }

    /// A task that an earlier driver stored may have ended already. Its news are to come, unless they are lost.
    async fn enqueue(&mut self, tasks: Vec<TaskSpec>) -> Result<(), Error> {
        let enqueued = self.executor.enqueue(&self.state, tasks).await?;
        let any_known = enqueued.iter().any(|enqueued| enqueued.known);
        enqueued.into_iter().for_each(|enqueued| self.note(enqueued.event, None));
        self.save(None).await?;
        if any_known && self.state.news_lost { self.read_open_tasks().await } else { Ok(()) }
    }

    async fn finish(&mut self, succeeded: bool, message: String) -> Result<(), Error> {
        if let Some(why) = &self.state.given_up {
            self.executor.withdraw(&self.state, why).await?;
        }
        let evidence = self.executor.finish(&self.state).await;
        self.note(Event::RunEnded { succeeded, message }, None);
        let report = super::report::report(&self.state, &evidence);
        self.save(Some(&report)).await
    }

    /// Goes on where the log's cursor stands: what happened meanwhile comes as news, in order. If news
    /// were lost once, whoever noticed may have been killed before it had read every open task.
    async fn resume(&mut self) -> Result<(), Error> {
        let cursor = self.state.cursor.clone();
        match self.open_watch(cursor).await {
            Err(Error::Mesh(MeshError::CursorExpired)) => self.begin_anew().await,
            Ok(()) if self.state.news_lost => self.read_open_tasks().await,
            opened => opened,
        }
    }

    async fn open_watch(&mut self, cursor: Option<String>) -> Result<(), Error> {
        let anew = cursor.is_none();
        let mut watch = self.executor.watch(&self.state, cursor).await?;
        if anew {
            let first = watch.next().await.unwrap_or_else(|| Err(ended()))?;
            self.note(Event::WatchOpened, Some(first.cursor));
            self.save(None).await?;
        }
        self.watch = Some(watch.ready_chunks(MAX_NEWS));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let left = self.state.deadline().since(self.executor.runs.clock().now());
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let news = tokio::select! {
            news = watch.next() => news.unwrap_or_else(|| vec![Err(ended())]),
            event = self.beginning.next() => {
                let waits = matches!(event, Event::PhaseWaits { .. });
                self.note(event, None);
                if waits {
                    self.dismiss();
                }
                return self.save(None).await;
            }
            () = tokio::time::sleep(left) => return Ok(()),
            () = self.cancel.cancelled() => return Ok(()),
        };
        for news in news {
            match news {
                Ok(news) => news.task.iter().for_each(|task| self.observe(task, Some(&news.cursor))),
                Err(MeshError::CursorExpired) => {
                    self.save(None).await?;
                    return self.begin_anew().await;
                }
                Err(error) => {
                    self.watch = None;
                    self.save(None).await?;
                    return Err(error.into());
                }
            }
        }
        self.save(None).await
    }

    /// The queue's log has passed our cursor: watch from now, then read every open task.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        self.open_watch(None).await?;
        self.read_open_tasks().await
    }

    async fn read_open_tasks(&mut self) -> Result<(), Error> {
        for (step, task_id) in open_tasks(&self.state) {
            match self.executor.task(&self.state, &task_id).await? {
                Some(task) => self.observe(&task, None),
                None => {
                    let error =
                        StepError::new("TASK_LOST", format!("the queue does not keep task {task_id}"));
                    self.note(Event::StepFailed { step, error }, None);
                }
            }
        }
        self.save(None).await
    }

    fn observe(&mut self, task: &TaskView, cursor: Option<&str>) {
        for event in observe(&self.state, task) {
            self.note_at(task.time, event, cursor.map(str::to_owned));
        }
    }

    /// Takes an event into the state; [`Driver::save`] makes it last.
    fn note(&mut self, event: Event, cursor: Option<String>) {
        self.note_at(self.executor.runs.clock().now(), event, cursor);
    }

    fn note_at(&mut self, time: Timestamp, event: Event, cursor: Option<String>) {
        let entry = Entry { sequence: self.state.sequence + 1, time, cursor, event };
        self.state.apply(&entry).expect("the sequence is the next one");
        self.unsaved.push(entry);
    }

    async fn save(&mut self, report: Option<&str>) -> Result<(), Error> {
        if !self.unsaved.is_empty() {
            self.fence = self.executor.runs.append(&self.state, &self.unsaved, report, self.fence).await?;
            self.unsaved.clear();
        }
        Ok(())
    }
}

/// Steps that wait for their tasks.
fn open_tasks(state: &State) -> Vec<(StepId, String)> {
    let open = |index: &usize| matches!(state.steps[*index].status, StepStatus::Queued | StepStatus::Running);
    let task = |index: usize| Some((state.step(index).id.clone(), state.steps[index].task_id.clone()?));
    (0..state.steps.len()).filter(open).filter_map(task).collect()
}

fn ended() -> MeshError {
    MeshError::Unavailable("the watch of the queue ended".to_owned())
}
