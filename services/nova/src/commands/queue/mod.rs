//! `nova queue`.

mod enqueue;
mod task;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::queue::v1::{ListQueuesRequest, QueueStats};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::{cells, output};
use crate::connection;

/// Show queues and tasks, and enqueue.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List queues with their depth.
    Ls,
    /// List tasks, newest first.
    Tasks(task::Tasks),
    /// Show one task with its payload and result.
    Show {
        /// Id of the task.
        task: String,
    },
    /// Follow changes of tasks until Ctrl-C.
    Watch(watch::Watch),
    /// Put a task into a queue.
    Enqueue(enqueue::Enqueue),
}

impl Queue {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Ls => connection::reading(context, async |mesh| list(context, &mesh).await).await?,
            Action::Tasks(tasks) => {
                connection::reading(context, async |mesh| tasks.run(context, &mesh).await).await?;
            }
            Action::Show { task } => {
                connection::reading(context, async |mesh| task::show(context, &mesh, task).await).await?;
            }
            Action::Watch(watch) => watch.run(context, &connection::connect(&context.home)?).await?,
            Action::Enqueue(enqueue) => enqueue.run(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let queues = mesh.queue().list_queues(ListQueuesRequest::default()).await?.into_inner().queues;
    let rows = queues.iter().map(|stats| {
        [
            stats.queue.clone(),
            stats.waiting.to_string(),
            stats.ready.to_string(),
            stats.leased.to_string(),
            stats.completed.to_string(),
            stats.dead.to_string(),
            cells::duration(stats.oldest_ready_age.as_ref()).map(cells::exact).unwrap_or_default(),
        ]
    });
    let records: Vec<Value> = queues.iter().map(record).collect();
    let headers = ["QUEUE", "WAITING", "READY", "LEASED", "COMPLETED", "DEAD", "OLDEST READY"];
    output::rows(context, headers, rows.collect(), &records)
}

fn record(stats: &QueueStats) -> Value {
    let age = cells::duration(stats.oldest_ready_age.as_ref());
    json!({
        "queue": stats.queue,
        "waiting": stats.waiting,
        "ready": stats.ready,
        "leased": stats.leased,
        "completed": stats.completed,
        "dead": stats.dead,
        "oldest_ready_age_seconds": age.map(|age| age.as_secs_f64()),
    })
}
