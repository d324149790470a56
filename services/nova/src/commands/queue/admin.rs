//! `nova queue stats`, `pause`, `drain`, `resume` and `rm`: a queue as a whole.

use clap::Args;
use nova_proto::queue::v1::{
    DeleteQueueRequest, DrainQueueRequest, GetQueueRequest, PauseQueueRequest, Queue, ResumeQueueRequest,
};
use tonic::Code;

use super::control::told;
use super::scope::Scope;
use super::stats;
use crate::failure::NotFound;

/// The name of a queue.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the queue.
    queue: String,
}

/// Which queue goes, and what with it.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    #[command(flatten)]
    name: Name,
    /// Cancel its tasks that have not ended, and forget its dead letters.
    #[arg(long)]
    force: bool,
}

impl Rm {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        self.name.delete(scope, self.force).await
    }
}

/// Reads a queue.
pub(crate) async fn get(scope: &Scope<'_>, queue: &str) -> anyhow::Result<Queue> {
    let request = GetQueueRequest { namespace: scope.namespace(), queue: queue.to_owned() };
    match scope.mesh.queue().get_queue(request).await {
        Err(status) if status.code() == Code::NotFound => Err(unknown(scope, queue)),
        answer => Ok(answer?.into_inner().queue.unwrap_or_default()),
    }
}

/// The queue of a list, as requests name it: one that is not there is mistyped. Empty for all of them.
pub(crate) async fn known(scope: &Scope<'_>, queue: Option<String>) -> anyhow::Result<String> {
    let Some(queue) = queue else { return Ok(String::new()) };
    get(scope, &queue).await.map(|_| queue)
}

fn unknown(scope: &Scope<'_>, queue: &str) -> anyhow::Error {
    let place = format!("in the namespace {:?}", scope.namespace());
    let makes = "enqueuing makes one, and so does `nova queue config` with a setting";
    NotFound(format!("there is no queue {queue:?} {place}; {makes}")).into()
}

impl Name {
    /// Shows what it lets through, its counts, and how it performs.
    pub(crate) async fn stats(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        stats::show(scope, get(scope, &self.queue).await?)
    }

    /// What a request names; fails where there is no such queue: the daemon makes one, which a name that is mistyped
    /// must not.
    async fn existing(self, scope: &Scope<'_>) -> anyhow::Result<(String, String)> {
        get(scope, &self.queue).await?;
        Ok((scope.namespace(), self.queue))
    }

    /// Lets no more task start, whether it drains or not.
    pub(crate) async fn pause(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let (namespace, queue) = self.existing(scope).await?;
        let answer = scope.mesh.queue().pause_queue(PauseQueueRequest { namespace, queue }).await?;
        stats::show(scope, answer.into_inner().queue.unwrap_or_default())
    }

    /// Takes no more tasks in, whether it is paused or not.
    pub(crate) async fn drain(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let (namespace, queue) = self.existing(scope).await?;
        let answer = scope.mesh.queue().drain_queue(DrainQueueRequest { namespace, queue }).await?;
        stats::show(scope, answer.into_inner().queue.unwrap_or_default())
    }

    /// Deletes the queue.
    async fn delete(self, scope: &Scope<'_>, force: bool) -> anyhow::Result<()> {
        let (namespace, queue) = (scope.namespace(), self.queue);
        let request = DeleteQueueRequest { namespace, queue: queue.clone(), force };
        match scope.mesh.queue().delete_queue(request).await {
            Err(status) if status.code() == Code::NotFound => Err(unknown(scope, &queue)),
            Err(status) => Err(status.into()),
            Ok(_) => told(scope, 1, "deleted"),
        }
    }

    /// Ends a pause and a drain.
    pub(crate) async fn resume(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let (namespace, queue) = self.existing(scope).await?;
        let answer = scope.mesh.queue().resume_queue(ResumeQueueRequest { namespace, queue }).await?;
        stats::show(scope, answer.into_inner().queue.unwrap_or_default())
    }
}
