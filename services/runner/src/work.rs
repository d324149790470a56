//! How a task becomes a skill's request, and its outcome a memory and a result.

use nova_proto::memory::v1::MemoryKind;
use nova_types::{AgentId, Clock as _, SystemClock};
use nova_worker::{Failure, TaskContext, WorkerBuilder};
use serde_json::Value;

use crate::commands::Commands;
use crate::memory::{Notebook, Place};
use crate::skills::{self, Outcome, Request, Skill, SkillError, memory_summary, mesh_call};
use crate::step::StepTask;

/// Who works, and how deep in the tests of others.
#[derive(Clone, Debug)]
struct Surroundings {
    agent: AgentId,
    depth: u32,
}

/// Registers every skill.
pub(crate) fn register(builder: WorkerBuilder, agent: &AgentId, depth: u32) -> WorkerBuilder {
    let surroundings = Surroundings { agent: agent.clone(), depth };
    let builder = skills::ALL.iter().fold(builder, |builder, &(kind, skill)| {
        let surroundings = surroundings.clone();
        builder.handler(kind, move |context, step| surroundings.clone().examine(context, step, skill))
    });
    let other = surroundings.clone();
    builder
        .handler(mesh_call::KIND, move |context, step| surroundings.clone().call(context, step))
        .handler(memory_summary::KIND, move |context, step| other.clone().summarise(context, step))
}

impl Surroundings {
    /// Runs a skill that blocks.
    async fn examine(
        self,
        context: TaskContext,
        step: Option<StepTask>,
        skill: Skill,
    ) -> Result<Value, Failure> {
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
    async fn call(self, context: TaskContext, step: Option<StepTask>) -> Result<Value, Failure> {
        let step = step.unwrap_or_default();
        let place = Place { step: &step, task: &context.task.id, kind: &context.task.kind };
        let input = step.with().map_err(|error| failure(&error))?;
        let finding = mesh_call::call(&context.mesh, &input).await?;
        let outcome = Outcome::of(&finding).map_err(|error| failure(&error))?;
        self.notebook(&context).remember(place, MemoryKind::Episodic, outcome).await
    }

    /// Reads back what all agents of the run wrote.
    async fn summarise(self, context: TaskContext, step: Option<StepTask>) -> Result<Value, Failure> {
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
        context: &TaskContext,
        notebook: &Notebook,
        place: Place<'_>,
    ) -> Result<Option<Value>, Failure> {
        if context.attempt > 1 { notebook.recall(place).await } else { Ok(None) }
    }

    fn notebook(&self, context: &TaskContext) -> Notebook {
        Notebook::new(context.mesh.clone(), self.agent.clone())
    }

    fn request(&self, context: &TaskContext, step: &StepTask) -> Request {
        Request {
            step: step.clone(),
            attempt: context.attempt,
            depth: self.depth,
            now: SystemClock.now().micros() / 1_000_000,
            commands: Commands::new(context.lost.clone()),
        }
    }
}

/// What is known of the host and the repository is semantic; what was done is episodic.
fn memory_of(kind: &str) -> MemoryKind {
    match kind {
        "shell" | "repo.tests" => MemoryKind::Episodic,
        _ => MemoryKind::Semantic,
    }
}

fn failure(error: &SkillError) -> Failure {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let message = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if error.is_permanent() {
        Failure::permanent(error.reason(), message)
    } else {
        Failure::new(error.reason(), message)
    }
}
