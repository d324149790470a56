//! `nova queue`.

mod admin;
mod config;
mod control;
mod enqueue;
mod schedules;
mod select;
mod task;
mod watch;
mod workers;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::queue::v1::ListQueuesRequest;
use serde_json::Value;

use crate::cli::Context;
use crate::commands::output;
use crate::connection;

/// Show queues and tasks, enqueue, and run queues.
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
    /// End tasks that have not ended.
    Cancel(control::Cancel),
    /// Give dead tasks another life.
    Redrive(control::Redrive),
    /// Forget tasks that nobody holds.
    Purge(control::Purge),
    /// Show a queue: its counts, its settings, what it lets through.
    Stats(admin::Name),
    /// Change settings of a queue, or show them.
    Config(config::Config),
    /// Let no more task of a queue start; tasks are still taken in.
    Pause(admin::Name),
    /// Take no more tasks in; what is there is worked off.
    Drain(admin::Name),
    /// End a pause and a drain.
    Resume(admin::Name),
    /// Tasks that are enqueued again and again.
    Schedules(schedules::Schedules),
    /// List who worked in the last minute.
    Workers(workers::Workers),
}

impl Queue {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.action {
            // It reads its files before it looks for a mesh.
            Action::Enqueue(enqueue) => enqueue.run(context).await?,
            action if action.only_reads() => {
                connection::reading(context, async |mesh| action.run(context, &mesh).await).await?;
            }
            action => action.run(context, &connection::connect(&context.home)?).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Action {
    /// Whether it can also be answered from what a mesh that is down has left.
    fn only_reads(&self) -> bool {
        match self {
            Self::Schedules(schedules) => schedules.only_reads(),
            _ => matches!(self, Self::Ls | Self::Tasks(_) | Self::Show { .. } | Self::Stats(_)),
        }
    }

    async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        match self {
            Self::Ls => list(context, mesh).await,
            Self::Tasks(tasks) => tasks.run(context, mesh).await,
            Self::Show { task } => task::show(context, mesh, task).await,
            Self::Stats(name) => name.stats(context, mesh).await,
            Self::Watch(watch) => watch.run(context, mesh).await,
            Self::Enqueue(enqueue) => enqueue.run(context).await,
            Self::Cancel(cancel) => cancel.run(context, mesh).await,
            Self::Redrive(redrive) => redrive.run(context, mesh).await,
            Self::Purge(purge) => purge.run(context, mesh).await,
            Self::Config(config) => config.run(context, mesh).await,
            Self::Pause(name) => name.pause(context, mesh).await,
            Self::Drain(name) => name.drain(context, mesh).await,
            Self::Resume(name) => name.resume(context, mesh).await,
            Self::Schedules(schedules) => schedules.run(context, mesh).await,
            Self::Workers(workers) => workers.run(context, mesh).await,
        }
    }
}

async fn list(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let queues = mesh.queue().list_queues(ListQueuesRequest::default()).await?.into_inner().queues;
    let records: Vec<Value> = queues.iter().map(admin::record).collect();
    let headers =
        ["QUEUE", "INTAKE", "WAITING", "READY", "LEASED", "COMPLETED", "DEAD", "CANCELLED", "OLDEST READY"];
    output::rows(context, headers, queues.iter().map(admin::row).collect(), &records)
}
