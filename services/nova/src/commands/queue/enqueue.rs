//! `nova queue enqueue`.

use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{Durability, EnqueueRequest, NewTask};
use nova_types::wire;
use serde_json::json;
use uuid::Uuid;

use super::template::Template;
use crate::cli::Context;
use crate::commands::{arguments, cells, output};
use crate::connection;

/// Put a task into a queue.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nova queue enqueue mail send --payload '{\"to\":\"ada\"}' --metadata team=post
  nova queue enqueue mail send --max-attempts 5 --backoff 1s --backoff-factor 2 --backoff-max 1m")]
pub(crate) struct Enqueue {
    #[command(flatten)]
    template: Template,
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
}

impl Enqueue {
    pub(crate) async fn run(self, context: &Context, namespace: &str) -> anyhow::Result<()> {
        let request = EnqueueRequest { namespace: namespace.to_owned(), tasks: vec![self.task()?] };
        let mesh = connection::connect(&context.home).await?;
        let answer = mesh.queue().enqueue(request).await?.into_inner();
        let durability = cells::name(answer.durability().as_str_name(), "DURABILITY_");
        let receipt = answer.tasks.first().cloned().unwrap_or_default();
        if context.json {
            let record = json!({"id": receipt.id, "duplicate": receipt.duplicate, "durability": durability});
            return output::json(&record);
        }
        if receipt.duplicate {
            tell!("nova: the request id or the unique key was known: this is the earlier task");
        }
        if answer.durability() == Durability::Memory {
            tell!("nova: stored in memory alone: Redis runs without an append-only file");
        }
        output::line(&receipt.id)
    }

    fn task(self) -> anyhow::Result<NewTask> {
        Ok(NewTask {
            request_id: self.request_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
            delay: self.delay.map(wire::to_duration),
            after: self.after,
            run_after_failure: self.run_after_failure,
            ..self.template.task()?
        })
    }
}
