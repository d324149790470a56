//! `nova queue enqueue`: a task, or a file of them.

mod file;
mod line;

use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{Durability, EnqueueRequest, NewTask};
use nova_types::wire;
use serde_json::json;
use uuid::Uuid;

use super::scope::Scope;
use super::template::Template;
use super::wait;
use crate::cli::Context;
use crate::commands::{arguments, cells, output};
use crate::connection;

/// What is told where a restart of Redis loses what was stored.
const IN_MEMORY: &str = "nova: stored in memory alone: Redis runs without an append-only file";

/// Put a task into a queue, or many from a file.
#[derive(Debug, Args)]
#[command(
    mut_arg("queue", |queue| queue.required(false).required_unless_present("file")),
    mut_arg("kind", |kind| kind.required(false).required_unless_present("file")),
    after_help = "Examples:
  nova queue enqueue mail send --payload '{\"to\":\"ada\"}' --metadata team=post
  nova queue enqueue mail send --max-attempts 5 --backoff 1s --backoff-factor 2 --backoff-max 1m
  nova queue enqueue --file tasks.jsonl

A file has a task on each line, as JSON: {\"queue\":\"mail\",\"kind\":\"send\",\"payload\":{\"to\":\"ada\"}}. Others of its \
fields are metadata, request_id, priority, group, unique_key, after and run_after_failure; delay_seconds, \
deadline_seconds, unique_for_seconds and attempt_timeout_seconds; retry, with max_attempts, \
initial_backoff_seconds, factor and max_backoff_seconds; and after_index: places of tasks of the file, from 0, that \
must complete before. Tasks are stored in order, up to 1,000 at once, and the id of each is printed. With a \
request_id of its own on each line a file may be given again."
)]
pub(crate) struct Enqueue {
    #[command(flatten)]
    template: Option<Template>,
    /// Tasks as lines of JSON, from a file or, for -, from standard input.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["Template", "request_id", "delay", "after", "run_after_failure", "wait"]
    )]
    file: Option<String>,
    /// Idempotency key: the same key in the same queue is the same task [default: a fresh one].
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    request_id: Option<String>,
    /// Not before this long from now, such as 5s.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, allow_hyphen_values = true)]
    delay: Option<Duration>,
    /// Task that must complete before; give it again for more.
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,
    /// Start also when a task that it comes after died, was cancelled or is forgotten.
    #[arg(long, requires = "after")]
    run_after_failure: bool,
    /// Wait until it has ended, this long at most, and print it in place of its id; exits with 1 unless it completed.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    wait: Option<Duration>,
}

impl Enqueue {
    pub(crate) async fn run(self, context: &Context, namespace: &str) -> anyhow::Result<()> {
        if let Some(path) = &self.file {
            return file::store(context, namespace, path).await;
        }
        let wait = self.wait;
        let request = EnqueueRequest { namespace: namespace.to_owned(), tasks: vec![self.task()?] };
        let mesh = connection::connect(&context.home).await?;
        let answer = mesh.queue().enqueue(request).await?.into_inner();
        let durability = cells::name(answer.durability().as_str_name(), "DURABILITY_");
        let receipt = answer.tasks.first().cloned().unwrap_or_default();
        if context.json && wait.is_none() {
            let record = json!({"id": receipt.id, "duplicate": receipt.duplicate, "durability": durability});
            return output::json(&record);
        }
        if receipt.duplicate {
            tell!("nova: the request id or the unique key was known: this is the earlier task");
        }
        if answer.durability() == Durability::Memory {
            tell!("{IN_MEMORY}");
        }
        match wait {
            Some(wait) => {
                tell!("nova: the task is {}", receipt.id);
                wait::show(&Scope::new(context, &mesh, namespace), &receipt.id, wait).await
            }
            None => output::line(&receipt.id),
        }
    }

    fn task(self) -> anyhow::Result<NewTask> {
        let template = self.template.map(Template::task).transpose()?;
        Ok(NewTask {
            request_id: self.request_id.unwrap_or_else(fresh_key),
            delay: self.delay.map(wire::to_duration),
            after: self.after,
            run_after_failure: self.run_after_failure,
            ..template.unwrap_or_default()
        })
    }
}

/// A key that no other task has.
fn fresh_key() -> String {
    Uuid::now_v7().to_string()
}
