//! The other side: how tasks are put into queues.

use std::time::Duration;

use nova_client::Mesh;
use nova_proto::queue::v1 as pb;
use nova_types::wire;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::NewTask;

/// Longest that one call waits for the end of a task: what is lost with a daemon is asked again well before a call must end.
const TURN: Duration = Duration::from_secs(5);

/// Longest wait in all.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Rest before a queue that is away is asked again.
const REST: Duration = Duration::from_millis(200);

/// Puts tasks into queues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Producer {
    mesh: Mesh,
    namespace: String,
}

impl Producer {
    /// A producer for the queues of the namespace `default`.
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh, namespace: "default".to_owned() }
    }

    /// For queues of another namespace: all tasks of a call are stored there.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Stores a task and answers its id once it is durable, once however often the call had to be sent. The present
    /// span's trace goes with it.
    /// Fails as `QueueService.Enqueue` does.
    pub async fn enqueue(&self, task: NewTask) -> Result<Enqueued, Status> {
        let mut ids = self.enqueue_all([task]).await?;
        ids.pop().ok_or_else(|| Status::internal("the queue answered no receipt"))
    }

    /// Stores 1 to 1,000 tasks of together at most 4 MiB, all or none; answers in their order. They may wait for each
    /// other ([`NewTask::after_index`]).
    pub async fn enqueue_all(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<Vec<Enqueued>, Status> {
        let (tasks, fresh): (Vec<_>, Vec<_>) = tasks.into_iter().map(NewTask::into_wire).unzip();
        // A fresh key is known only where the client had to repeat this very call.
        let own: Vec<_> =
            tasks.iter().zip(fresh).map(|(task, fresh)| fresh && task.unique_key.is_empty()).collect();
        let request = pb::EnqueueRequest { namespace: self.namespace.clone(), tasks };
        let answer = self.mesh.queue().enqueue(request).await?.into_inner();
        let receipt = |(task, own): (pb::EnqueuedTask, bool)| Enqueued {
            id: task.id,
            duplicate: task.duplicate && !own,
        };
        Ok(answer.tasks.into_iter().zip(own).map(receipt).collect())
    }

    /// Waits until a task has ended, and answers it with its result; after `longest` as it is then. A queue that is away
    /// meanwhile is asked again.
    /// Fails as `QueueService.GetTask` does, and when the queue is still away after `longest`.
    pub async fn wait(&self, task_id: &str, longest: Duration) -> Result<pb::Task, Status> {
        let over = Instant::now() + longest.min(LONGEST);
        loop {
            let turn = over.saturating_duration_since(Instant::now()).min(TURN);
            let answer = self.get(task_id, turn).await;
            if is_final(&answer) || Instant::now() >= over {
                return answer;
            }
            if answer.is_err() {
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// A task once it has ended, or as it is after `wait`.
    async fn get(&self, task_id: &str, wait: Duration) -> Result<pb::Task, Status> {
        let (namespace, task_id) = (self.namespace.clone(), task_id.to_owned());
        let request = pb::GetTaskRequest { namespace, task_id, wait: Some(wire::to_duration(wait)) };
        let answer = self.mesh.queue().get_task(request).await?.into_inner();
        answer.task.ok_or_else(|| Status::internal("the queue answered no task"))
    }
}

/// Whether the task has ended, or it is of no use to ask for it again.
fn is_final(answer: &Result<pb::Task, Status>) -> bool {
    match answer {
        Ok(task) => {
            matches!(task.state(), pb::TaskState::Completed | pb::TaskState::Dead | pb::TaskState::Cancelled)
        }
        Err(status) => !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
    }
}

/// The receipt of a stored task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// Id of the task.
    pub id: String,
    /// True when its `request_id` or `unique_key` was known: the task is an earlier one.
    pub duplicate: bool,
}
