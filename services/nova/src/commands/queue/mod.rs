//! `nova queue`.

mod admin;
mod config;
mod control;
mod dry_run;
mod enqueue;
mod limits;
mod schedules;
mod scope;
mod select;
mod settings;
mod stats;
mod task;
mod template;
mod wait;
mod watch;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use nova_proto::queue::v1::ListQueuesRequest;
use serde_json::Value;

use self::scope::Scope;
use crate::cli::Context;
use crate::commands::namespace::Namespace;
use crate::commands::pages::Limit;
use crate::commands::{arguments, output};
use crate::connection;

/// Enqueue and follow tasks, run queues, keep schedules.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(flatten)]
    namespace: Namespace,
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
        /// Wait until it has ended, this long at most; exits with 1 unless it completed.
        #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
        wait: Option<Duration>,
    },
    /// Follow changes of tasks until Ctrl-C.
    Watch(watch::Watch),
    /// Put a task into a queue, or many from a file.
    Enqueue(enqueue::Enqueue),
    /// End tasks that have not ended; who works on one is told.
    Cancel(control::Cancel),
    /// Give dead tasks another life.
    Redrive(control::Redrive),
    /// Forget tasks that nobody holds, with their results.
    Purge(control::Purge),
    /// Show a queue: what it lets through, its counts, how it performs.
    Stats(admin::Name),
    /// Show the settings of a queue, or change them.
    Config(config::Config),
    /// Let no more task of a queue start; tasks are still taken in.
    Pause(admin::Name),
    /// Take no more tasks in; what is there is worked off.
    Drain(admin::Name),
    /// End a pause and a drain.
    Resume(admin::Name),
    /// Delete a queue with its settings and what it keeps of tasks that ended.
    #[command(visible_alias = "delete")]
    Rm(admin::Rm),
    /// Show and change schedules: tasks that are enqueued again and again.
    Schedules(schedules::Schedules),
    /// List who worked in the last minute.
    Workers(workers::Workers),
}

impl Queue {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let namespace = self.namespace.as_str();
        match self.action {
            // It reads its files before it looks for a mesh.
            Action::Enqueue(enqueue) => enqueue.run(context, namespace).await?,
            action if action.only_reads() => {
                let read = async |mesh| action.run(&Scope::new(context, &mesh, namespace)).await;
                connection::reading(context, read).await?;
            }
            action => {
                let mesh = connection::connect(&context.home).await?;
                action.run(&Scope::new(context, &mesh, namespace)).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Action {
    /// Whether it can also be answered from what a mesh that is down has left.
    fn only_reads(&self) -> bool {
        match self {
            Self::Schedules(schedules) => schedules.only_reads(),
            Self::Config(config) => config.only_reads(),
            _ => matches!(self, Self::Ls | Self::Tasks(_) | Self::Show { wait: None, .. } | Self::Stats(_)),
        }
    }

    async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        match self {
            Self::Ls => list(scope).await,
            Self::Tasks(tasks) => tasks.run(scope).await,
            Self::Show { task, wait: None } => task::show(scope, task).await,
            Self::Show { task, wait: Some(wait) } => wait::show(scope, &task, wait).await,
            Self::Stats(name) => name.stats(scope).await,
            Self::Watch(watch) => watch.run(scope).await,
            Self::Enqueue(enqueue) => enqueue.run(scope.context, &scope.namespace()).await,
            Self::Cancel(cancel) => cancel.run(scope).await,
            Self::Redrive(redrive) => redrive.run(scope).await,
            Self::Purge(purge) => purge.run(scope).await,
            Self::Config(config) => config.run(scope).await,
            Self::Pause(name) => name.pause(scope).await,
            Self::Drain(name) => name.drain(scope).await,
            Self::Resume(name) => name.resume(scope).await,
            Self::Rm(rm) => rm.run(scope).await,
            Self::Schedules(schedules) => schedules.run(scope).await,
            Self::Workers(workers) => workers.run(scope).await,
        }
    }
}

async fn list(scope: &Scope<'_>) -> anyhow::Result<()> {
    let page = async |page_size, page_token| {
        let request = ListQueuesRequest { namespace: scope.namespace(), page_size, page_token };
        let page = scope.mesh.queue().list_queues(request).await?.into_inner();
        Ok((page.queues, page.next_page_token))
    };
    let queues = Limit::none().gather(page).await?;
    let records: Vec<Value> = queues.iter().map(stats::counted).collect();
    let headers =
        ["QUEUE", "STATE", "WAITING", "READY", "LEASED", "COMPLETED", "DEAD", "CANCELLED", "OLDEST READY"];
    output::rows(scope.context, headers, queues.iter().map(stats::row).collect(), &records)
}
