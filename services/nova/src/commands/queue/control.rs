//! `nova queue cancel`, `redrive` and `purge`.

use clap::Args;
use nova_client::Mesh;
use nova_proto::queue::v1::{CancelTasksRequest, PurgeTasksRequest, RedriveTasksRequest};
use serde_json::json;

use super::select::{Page, Selection};
use super::task::{STATES, state_of};
use crate::cli::Context;
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
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let call = async |Page { task_ids, queue, filter, page_token }| {
            let message = self.message.clone();
            let namespace = String::new();
            let request = CancelTasksRequest { namespace, task_ids, queue, filter, message, page_token };
            let answer = mesh.queue().cancel_tasks(request).await?.into_inner();
            Ok((answer.count, answer.next_page_token))
        };
        told(context, self.which.each(call).await?, "cancelled")
    }
}

/// Give dead tasks another life.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nova queue redrive --queue mail --error SMTP_DOWN")]
pub(crate) struct Redrive {
    #[command(flatten)]
    which: Selection,
}

impl Redrive {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let call = async |Page { task_ids, queue, filter, page_token }| {
            let request =
                RedriveTasksRequest { namespace: String::new(), task_ids, queue, filter, page_token };
            let answer = mesh.queue().redrive_tasks(request).await?.into_inner();
            Ok((answer.count, answer.next_page_token))
        };
        told(context, self.which.each(call).await?, "redriven")
    }
}

/// Forget tasks that nobody holds, with their results.
#[derive(Debug, Args)]
#[command(
    mut_arg("queue", |queue| queue.requires("state")),
    after_help = "Example:\n  nova queue purge --queue mail --state dead"
)]
pub(crate) struct Purge {
    #[command(flatten)]
    which: Selection,
    /// Only tasks in this state; give it again for more. Needed with --queue.
    #[arg(long, value_parser = STATES)]
    state: Vec<String>,
}

impl Purge {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let states: Vec<i32> = self.state.iter().map(|name| state_of(name).into()).collect();
        let call = async |Page { task_ids, queue, filter, page_token }| {
            let (namespace, states) = (String::new(), states.clone());
            let request = PurgeTasksRequest { namespace, task_ids, queue, states, filter, page_token };
            let answer = mesh.queue().purge_tasks(request).await?.into_inner();
            Ok((answer.count, answer.next_page_token))
        };
        told(context, self.which.each(call).await?, "purged")
    }
}

fn told(context: &Context, count: u64, what: &str) -> anyhow::Result<()> {
    if context.json {
        return output::json(&json!({ what: count }));
    }
    output::line(&format!("{count} {what}"))
}
