//! How a task becomes a skill's request, and its outcome a memory and a result.

use std::sync::Arc;

use nova_proto::memory::v1::MemoryKind;
use nova_types::{AgentId, Clock as _, Namespace, QueueName, SystemClock};
use nova_worker::{Context, Failure, WorkerBuilder};
use serde_json::Value;

use crate::Arguments;
use crate::commands::Commands;
use crate::memory::{Notebook, Place};
use crate::skills::{self, Outcome, Request, Skill, SkillError, memory_summary, mesh_call};
use crate::step::StepTask;

/// Who works, where, on which queues beside the reserved ones, and how deep in the tests of others.
#[derive(Clone, Debug)]
struct Surroundings {
    agent: AgentId,
    namespace: Namespace,
    told: Arc<[String]>,
    depth: u32,
}

/// Registers every skill.
pub(crate) fn register(builder: WorkerBuilder, agent: &AgentId, arguments: &Arguments) -> WorkerBuilder {
    let told = arguments.queues.as_slice().into();
    let (agent, namespace) = (agent.clone(), arguments.namespace.clone());
    let surroundings = Surroundings { agent, namespace, told, depth: arguments.depth };
    let builder = skills::ALL.iter().fold(builder, |builder, &(kind, skill)| {
        let surroundings = surroundings.clone();
        builder.handle(kind, move |step, context| surroundings.clone().examine(context, step, skill))
    });
    let other = surroundings.clone();
    builder
        .handle(mesh_call::KIND, move |step, context| surroundings.clone().call(context, step))
        .handle(memory_summary::KIND, move |step, context| other.clone().summarise(context, step))
}

impl Surroundings {
    /// Runs a skill that blocks.
    async fn examine(self, context: Context, step: Option<StepTask>, skill: Skill) -> Result<Value, Failure> {
        trusted(&context.task.queue, &self.told)?;
        let step = step.unwrap_or_default();
        let place = Place { step: &step, task: &context.task.id, kind: &context.task.kind };
        let notebook = self.notebook(&context);
        if let Some(known) = self.known(&context, &notebook, place).await? {
            return Ok(known);
        }
        let request = self.request(&context, &step);
        let outcome = context.blocking(move || skill(&request).map_err(|error| failure(&error))).await?;
        notebook.remember(place, memory_of(&context.task.kind), outcome).await
    }

    /// Tries a call of the mesh.
    async fn call(self, context: Context, step: Option<StepTask>) -> Result<Value, Failure> {
        trusted(&context.task.queue, &self.told)?;
        let step = step.unwrap_or_default();
        let place = Place { step: &step, task: &context.task.id, kind: &context.task.kind };
        let input = step.with().map_err(|error| failure(&error))?;
        let finding = mesh_call::call(&context.mesh, &input).await?;
        let outcome = Outcome::of(&finding).map_err(|error| failure(&error))?;
        self.notebook(&context).remember(place, MemoryKind::Episodic, outcome).await
    }

    /// Reads back what all agents of the run wrote.
    async fn summarise(self, context: Context, step: Option<StepTask>) -> Result<Value, Failure> {
        trusted(&context.task.queue, &self.told)?;
        let step = step.unwrap_or_default();
        let place = Place { step: &step, task: &context.task.id, kind: &context.task.kind };
        let notebook = self.notebook(&context);
        if let Some(known) = self.known(&context, &notebook, place).await? {
            return Ok(known);
        }
        let finding = memory_summary::summarise(&notebook, &step).await?;
        let outcome = Outcome::of(&finding).map_err(|error| failure(&error))?;
        notebook.remember(place, MemoryKind::Reflective, outcome).await
    }

    /// What an earlier attempt wrote before it was cut off: a step takes effect once.
    async fn known(
        &self,
        context: &Context,
        notebook: &Notebook,
        place: Place<'_>,
    ) -> Result<Option<Value>, Failure> {
        if context.attempt > 1 { notebook.recall(place).await } else { Ok(None) }
    }

    fn notebook(&self, context: &Context) -> Notebook {
        Notebook::new(context.mesh.clone(), self.agent.clone(), self.namespace.clone())
    }

    fn request(&self, context: &Context, step: &StepTask) -> Request {
        Request {
            step: step.clone(),
            attempt: context.attempt,
            time: context.task.attempt_timeout,
            depth: self.depth,
            now: SystemClock.now().micros() / 1_000_000,
            commands: Commands::new(context.cancellation().clone()),
        }
    }
}

/// Who may put a task into a queue that is not reserved may be anybody: none is worked on that was not asked for.
fn trusted(queue: &str, told: &[String]) -> Result<(), Failure> {
    if QueueName::is_reserved(queue) || told.iter().any(|name| name == queue) {
        return Ok(());
    }
    let message = format!("queue {queue:?} is neither reserved for agents nor named by --queues");
    Err(Failure::permanent("QUEUE_NOT_TRUSTED", message))
}

/// What is known of the host and the repository is semantic; what was done is episodic.
fn memory_of(kind: &str) -> MemoryKind {
    match kind {
        "shell" | "repo.tests" => MemoryKind::Episodic,
        _ => MemoryKind::Semantic,
    }
}

fn failure(error: &SkillError) -> Failure {
    let (reason, message) = (error.reason(), error.told());
    if error.is_permanent() { Failure::permanent(reason, message) } else { Failure::new(reason, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_a_queue_that_anybody_may_fill_is_refused_unless_it_was_named() {
        assert!(trusted("agents.can.shell", &[]).is_ok());
        assert!(trusted("shell", &[]).is_err());
        assert!(trusted("shell", &["shell".to_owned()]).is_ok());
    }
}
