//! `nova queue cancel`, `redrive` and `purge`.

use clap::Args;
use nova_proto::queue::v1::{CancelTasksRequest, PurgeTasksRequest, RedriveTasksRequest, Task, TaskState};
use serde_json::json;

use super::dry_run;
use super::scope::Scope;
use super::select::{Page, Selection};
use super::task::{STATES, state, state_of};
use crate::commands::output;

/// End tasks that have not ended; who works on one is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nova queue cancel --queue mail --kind newsletter\n  nova queue cancel TASK"
)]
pub(crate) struct Cancel {
    #[command(flatten)]
    which: Selection,
    /// Why, for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    message: String,
}

impl Cancel {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let found = self.which.find(scope).await?;
        if self.which.dry_run {
            return dry_run::tell(scope, &self.which, found, &LIVE, "cancelled").await;
        }
        let call = async |Page { namespace, task_ids, queue, filter, page_token }| {
            let message = self.message.clone();
            let request = CancelTasksRequest { namespace, task_ids, queue, filter, message, page_token };
            let answer = scope.mesh.queue().cancel_tasks(request).await?.into_inner();
            Ok((answer.count, answer.next_page_token))
        };
        told(scope, self.which.each(scope, &found, call).await?, "cancelled")?;
        for task in found.tasks.iter().filter(|task| has_ended(task)) {
            tell!("nova: {} had ended before: it is {}", task.id, state(task));
        }
        found.ends(Vec::new())
    }
}

/// States of tasks that have not ended.
const LIVE: [TaskState; 3] = [TaskState::Waiting, TaskState::Ready, TaskState::Leased];

fn has_ended(task: &Task) -> bool {
    matches!(task.state(), TaskState::Completed | TaskState::Dead | TaskState::Cancelled)
}

/// Give dead tasks another life.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nova queue redrive --queue mail --error SMTP_DOWN\n  nova queue redrive TASK"
)]
pub(crate) struct Redrive {
    #[command(flatten)]
    which: Selection,
}

impl Redrive {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let found = self.which.find(scope).await?;
        if self.which.dry_run {
            return dry_run::tell(scope, &self.which, found, &[TaskState::Dead], "redriven").await;
        }
        let mut kept = 0;
        let call = async |Page { namespace, task_ids, queue, filter, page_token }| {
            let request = RedriveTasksRequest { namespace, task_ids, queue, filter, page_token };
            let answer = scope.mesh.queue().redrive_tasks(request).await?.into_inner();
            kept += answer.kept;
            Ok((answer.count, answer.next_page_token))
        };
        let count = self.which.each(scope, &found, call).await?;
        told(scope, count, "redriven")?;
        found.ends(not_redriven(&found.tasks, kept))
    }
}

/// Why fewer live again than were meant.
fn not_redriven(named: &[Task], kept: u64) -> Vec<String> {
    let others = named.iter().filter(|task| task.state() != TaskState::Dead);
    let why = |task: &Task| format!("{} is not dead: it is {}", task.id, state(task));
    let mut refused: Vec<String> = others.map(why).collect();
    if kept > 0 {
        let stays = if kept == 1 { "1 task stays" } else { &format!("{kept} tasks stay") };
        let why = "a task that lives has the same unique key, or what it came after is gone";
        refused.push(format!("{stays} dead: {why}"));
    }
    refused
}

/// Forget tasks that nobody holds, with their results.
#[derive(Debug, Args)]
#[command(
    mut_arg("queue", |queue| queue.requires("state")),
    after_help = "Examples:\n  nova queue purge --queue mail --state dead --older-than 7d\n  nova queue purge TASK"
)]
pub(crate) struct Purge {
    #[command(flatten)]
    which: Selection,
    /// Only tasks in this state; give it again for more. Needed with --queue.
    #[arg(long, value_parser = STATES, conflicts_with = "tasks")]
    state: Vec<String>,
}

impl Purge {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let found = self.which.find(scope).await?;
        if self.which.dry_run {
            return dry_run::tell(scope, &self.which, found, &self.purgeable(), "purged").await;
        }
        let states: Vec<i32> = self.state.iter().map(|name| state_of(name).into()).collect();
        let call = async |Page { namespace, task_ids, queue, filter, page_token }| {
            let states = states.clone();
            let request = PurgeTasksRequest { namespace, task_ids, queue, states, filter, page_token };
            let answer = scope.mesh.queue().purge_tasks(request).await?.into_inner();
            Ok((answer.count, answer.next_page_token))
        };
        let count = self.which.each(scope, &found, call).await?;
        told(scope, count, "purged")?;
        found.ends(not_purged(&found.tasks, count))
    }

    /// The states that were given, or all, but that of tasks that somebody holds.
    fn purgeable(&self) -> Vec<TaskState> {
        let asked = |name: &&str| self.state.is_empty() || self.state.iter().any(|state| state == name);
        let states = STATES.iter().copied().filter(asked).map(state_of);
        states.filter(|state| *state != TaskState::Leased).collect()
    }
}

/// Why fewer are forgotten than were named.
fn not_purged(named: &[Task], count: u64) -> Vec<String> {
    if named.len() as u64 <= count {
        return Vec::new();
    }
    let held = named.iter().filter(|task| task.state() == TaskState::Leased);
    held.map(|task| format!("{} is held by {}: cancel it first", task.id, task.worker)).collect()
}

/// Says how many were changed.
pub(crate) fn told(scope: &Scope<'_>, count: u64, what: &str) -> anyhow::Result<()> {
    if scope.context.json {
        return output::json(&json!({ what: count }));
    }
    output::line(&format!("{count} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: TaskState) -> Task {
        Task { id: "t".to_owned(), worker: "w".to_owned(), state: state.into(), ..Task::default() }
    }

    #[test]
    fn what_is_not_dead_cannot_live_again() {
        let named = [task(TaskState::Dead), task(TaskState::Ready)];
        assert_eq!(not_redriven(&named, 0), ["t is not dead: it is ready"]);
        assert!(not_redriven(&named, 1)[1].starts_with("1 task stays dead"));
        assert!(not_redriven(&[], 2)[0].starts_with("2 tasks stay dead"));
    }

    #[test]
    fn what_is_held_cannot_be_purged() {
        let named = [task(TaskState::Leased), task(TaskState::Dead)];
        assert_eq!(not_purged(&named, 1), ["t is held by w: cancel it first"]);
        assert_eq!(not_purged(&named, 2), [""; 0]);
    }
}
