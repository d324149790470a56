//! The other daemons in memory: a queue whose workers answer at once, and processes that are names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt as _;
use nova_lifecycle::run::{
    AgentProcess, Denial, Mesh, MeshError, News, ProcessView, StepError, Stored, TaskPlace, TaskSpec,
    TaskView, Watch,
};
use nova_types::{AgentId, Namespace, RunId, Timestamp};
use serde_json::json;
use tokio::sync::Notify;

use crate::fuse::Fuse;

/// What the other daemons remember; it outlives any driver.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Tasks by request_id: their payload, and how they stand.
    pub(crate) tasks: BTreeMap<String, (Vec<u8>, TaskView)>,
    /// Every change of a task; a cursor is an index.
    news: Vec<TaskView>,
    /// Wakes who waits for more of them.
    told: Arc<Notify>,
    /// Cursors below this one have expired.
    pub(crate) oldest: usize,
    /// Processes that run.
    pub(crate) running: BTreeMap<String, AgentProcess>,
    /// How many were started.
    pub(crate) starts: usize,
    /// Agents whose node is away: it never answers.
    pub(crate) away: BTreeSet<String>,
    /// Agents for which their node has no place.
    pub(crate) crowded_out: BTreeSet<String>,
}

impl World {
    /// Forgets all news, as a capped log does.
    pub(crate) fn forget_news(&mut self) {
        self.oldest = self.news.len();
    }

    fn tell(&mut self, request_id: &str, state: TaskPlace, attempts: u32, error: Option<StepError>) {
        let (_, task) = self.tasks.get_mut(request_id).unwrap();
        task.worker = if state == TaskPlace::Leased { "orion".to_owned() } else { String::new() };
        task.state = state;
        task.attempts = attempts;
        task.last_error = error;
        task.time = Timestamp::from_micros(self.news.len() as i64 + 1);
        self.news.push(task.clone());
        self.told.notify_waiters();
    }

    /// Ends what is open of a run, as the queue does.
    fn cancel(&mut self, run: RunId) {
        let of_the_run = format!("{run}/");
        let is_open = |task: &TaskView| matches!(task.state, TaskPlace::Waiting | TaskPlace::Leased);
        let open = self.tasks.iter().filter(|(id, (_, task))| id.starts_with(&of_the_run) && is_open(task));
        let open: Vec<_> = open.map(|(id, (_, task))| (id.clone(), task.attempts)).collect();
        open.iter().for_each(|(id, attempts)| self.tell(id, TaskPlace::Cancelled, *attempts, None));
    }

    /// A worker takes the task at once: what it does is in its kind.
    fn work(&mut self, request_id: &str, kind: &str) {
        let exit = Some(StepError::new("EXIT", "code 1"));
        self.tell(request_id, TaskPlace::Leased, 1, None);
        match kind {
            "flaky" => {
                self.tell(request_id, TaskPlace::Waiting, 1, exit.clone());
                self.tell(request_id, TaskPlace::Leased, 2, exit.clone());
                self.tell(request_id, TaskPlace::Completed(json!({"n": 2})), 2, exit);
            }
            "endless" => {}
            "broken" => self.tell(request_id, TaskPlace::Dead, 1, exit),
            "forbidden" => {
                let denied = StepError::new("PERMISSION_DENIED", "no");
                self.tell(request_id, TaskPlace::Dead, 1, Some(denied));
            }
            _ => self.tell(request_id, TaskPlace::Completed(json!({"n": 1})), 1, None),
        }
    }
}

/// A driver's way to the world, until its fuse has burnt.
#[derive(Debug)]
pub(crate) struct FakeMesh {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) fuse: Fuse,
}

impl FakeMesh {
    fn effect<T>(&self, effect: impl FnOnce(&mut World) -> T) -> Result<T, MeshError> {
        let killed = || MeshError::Unavailable("killed".to_owned());
        if self.fuse.touch() {
            return Err(killed());
        }
        let done = effect(&mut self.world.lock().unwrap());
        if self.fuse.touch() { Err(killed()) } else { Ok(done) }
    }
}

#[async_trait]
impl Mesh for FakeMesh {
    async fn enqueue(&self, _: &Namespace, tasks: &[TaskSpec]) -> Result<Vec<Stored>, MeshError> {
        self.effect(|world| tasks.iter().map(|task| store(world, task)).collect())
    }

    async fn cancel_tasks(&self, _: &Namespace, run: RunId, _: &str, _: &str) -> Result<(), MeshError> {
        self.effect(|world| world.cancel(run))
    }

    async fn task(&self, _: &Namespace, task_id: &str) -> Result<Option<TaskView>, MeshError> {
        self.effect(|world| world.tasks.get(task_id).map(|(_, task)| task.clone()))
    }

    async fn watch(&self, _: &Namespace, _: RunId, cursor: Option<String>) -> Result<Watch, MeshError> {
        let (present, oldest) = self.effect(|world| (world.news.len(), world.oldest))?;
        let begin = cursor.map_or(present, |cursor| cursor.parse().unwrap());
        if begin < oldest {
            return Err(MeshError::CursorExpired);
        }
        let first = futures::stream::iter([Ok(News { cursor: begin.to_string(), task: None })]);
        let follow = futures::stream::unfold((self.world.clone(), begin), |(world, at)| async move {
            let told = world.lock().unwrap().told.clone();
            loop {
                let more = told.notified();
                if let Some(task) = world.lock().unwrap().news.get(at).cloned() {
                    let news = News { cursor: (at + 1).to_string(), task: Some(task) };
                    return Some((Ok(news), (world.clone(), at + 1)));
                }
                more.await;
            }
        });
        Ok(first.chain(follow).boxed())
    }

    async fn register_identity(&self, _: &Namespace, _: &AgentId) -> Result<(), MeshError> {
        self.effect(|_| ())
    }

    async fn start_process(&self, process: &AgentProcess) -> Result<(), MeshError> {
        if self.world.lock().unwrap().crowded_out.contains(process.agent.as_ref()) {
            return Err(MeshError::Unavailable("the node is full".to_owned()));
        }
        if self.world.lock().unwrap().away.contains(process.agent.as_ref()) {
            std::future::pending::<()>().await;
        }
        self.effect(|world| match world.running.get(&process.id()) {
            Some(other) if other != process => Err(MeshError::Refused("another spec".to_owned())),
            Some(_) => Ok(()),
            None => {
                world.starts += 1;
                world.running.insert(process.id(), process.clone());
                Ok(())
            }
        })?
    }

    async fn stop_process(&self, id: &str) -> Result<(), MeshError> {
        self.effect(|world| world.running.remove(id)).map(|_| ())
    }

    async fn processes(&self) -> Result<Vec<ProcessView>, MeshError> {
        let view = |process: &AgentProcess| ProcessView {
            id: process.id(),
            agent: process.agent.to_string(),
            alive: true,
            ..ProcessView::default()
        };
        self.effect(|world| world.running.values().map(view).collect())
    }

    async fn denials(&self, _: &str) -> Result<Vec<Denial>, MeshError> {
        self.effect(|_| Vec::new())
    }
}

/// Stores a task once; the same request must be the same task.
fn store(world: &mut World, task: &TaskSpec) -> Stored {
    let stored = |known| Stored { task_id: task.request_id.clone(), known };
    if let Some((payload, _)) = world.tasks.get(&task.request_id) {
        assert_eq!(*payload, task.payload, "{} came again with another body", task.request_id);
        return stored(true);
    }
    let view = TaskView {
        step: task.step.clone(),
        state: TaskPlace::Waiting,
        attempts: 0,
        worker: String::new(),
        last_error: None,
        time: Timestamp::default(),
    };
    world.tasks.insert(task.request_id.clone(), (task.payload.clone(), view));
    world.work(&task.request_id, &task.kind);
    stored(false)
}
