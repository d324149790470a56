//! `nova queue enqueue`.

use std::time::Duration;

use clap::Args;
use nova_proto::queue::v1::{Durability, EnqueueRequest, NewTask, RetryPolicy};
use nova_types::wire;
use serde_json::json;
use uuid::Uuid;

use crate::cli::Context;
use crate::commands::{arguments, cells, output};
use crate::connection;

/// Put a task into a queue.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nova queue enqueue mail send --payload '{\"to\":\"ada\"}' --metadata team=post"
)]
pub(crate) struct Enqueue {
    /// Name of the queue; it is made when it is first used.
    queue: String,
    /// What kind of work it is; workers have a handler for each kind.
    kind: String,
    /// What the handler is given: text, @FILE, or @- for standard input.
    #[arg(long, value_name = "TEXT|@FILE", default_value = "", hide_default_value = true)]
    payload: String,
    /// Label of the task; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    metadata: Vec<(String, String)>,
    /// Idempotency key: the same key in the same queue is the same task [default: a fresh one].
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// 0 (lowest) to 9.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=9))]
    priority: u32,
    /// Not before this long from now, such as 5s.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, allow_hyphen_values = true)]
    delay: Option<Duration>,
    /// The task is dead unless it has completed this long from now, such as 1h.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, allow_hyphen_values = true)]
    deadline: Option<Duration>,
    /// While a task with this key lives in the queue, another is not stored.
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    unique_key: String,
    /// Whom it is for, such as a tenant: groups of a queue share it by weight.
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    group: String,
    /// Task that must complete before; give it again for more.
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,
    /// Attempts in all, 1 to 100 [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: Option<u32>,
}

impl Enqueue {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let request = EnqueueRequest { tasks: vec![self.task()?], ..Default::default() };
        let mesh = connection::connect(&context.home)?;
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
        let retry = self.max_attempts.map(|max_attempts| RetryPolicy { max_attempts, ..Default::default() });
        Ok(NewTask {
            payload: arguments::content(&self.payload)?.into(),
            metadata: arguments::labels(self.metadata)?,
            request_id: self.request_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
            queue: self.queue,
            kind: self.kind,
            priority: self.priority,
            delay: self.delay.map(wire::to_duration),
            deadline: self.deadline.map(wire::to_duration),
            unique_key: self.unique_key,
            after: self.after,
            group: self.group,
            retry,
            ..Default::default()
        })
    }
}
