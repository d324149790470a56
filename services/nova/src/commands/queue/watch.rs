//! Changes of tasks as they happen.

use clap::Args;
use nova_client::Mesh;
use nova_proto::queue::v1::{WatchTasksRequest, WatchTasksResponse};
use serde_json::json;
use tonic::Status;

use crate::cli::Context;
use crate::commands::queue::task;
use crate::commands::resume::Patience;
use crate::commands::{cells, output};

/// Follow changes of tasks until Ctrl-C.
///
/// With --json each line has a `cursor`, from which a later watch goes on without a gap.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only this queue.
    #[arg(long, default_value = "", hide_default_value = true)]
    queue: String,
    /// Only tasks with this metadata entry.
    #[arg(long, value_name = "KEY=VALUE", default_value = "", hide_default_value = true)]
    metadata: String,
    /// Go on after this event, instead of from now.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.follow(context, mesh) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    }

    /// Watches again from the last cursor whenever the stream breaks.
    async fn follow(mut self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let mut patience = Patience::new();
        loop {
            let broken = match mesh.queue().watch_tasks(self.request()).await {
                Ok(stream) => self.print(context, stream.into_inner(), &mut patience).await?,
                Err(status) => status,
            };
            patience.endure(broken).await?;
        }
    }

    fn request(&self) -> WatchTasksRequest {
        WatchTasksRequest {
            queue: self.queue.clone(),
            metadata_filter: self.metadata.clone(),
            cursor: self.cursor.clone(),
            ..Default::default()
        }
    }

    /// Prints events until the stream breaks, and tells why it did.
    async fn print(
        &mut self,
        context: &Context,
        mut stream: tonic::Streaming<WatchTasksResponse>,
        patience: &mut Patience,
    ) -> anyhow::Result<Status> {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    patience.restore();
                    print(context, &message)?;
                    self.cursor = message.cursor;
                }
                Ok(None) => return Ok(Status::unavailable("the queue daemon ended the watch")),
                Err(status) => return Ok(status),
            }
        }
    }
}

fn print(context: &Context, message: &WatchTasksResponse) -> anyhow::Result<()> {
    let Some(event) = &message.event else { return Ok(()) };
    let task = event.task.clone().unwrap_or_default();
    if context.json {
        let mut record = task::record(&task);
        record["result"] = cells::content(&task.result);
        let time = cells::rfc3339(event.time.as_ref());
        return output::json_line(&json!({"cursor": message.cursor, "time": time, "task": record}));
    }
    let time = event.time.as_ref().map(|time| cells::local(time, "%H:%M:%S%.3f")).unwrap_or_default();
    let (state, tries) = (task::state(&task), task::attempts(&task));
    let text = format!(
        "{time}  {state:9}  {tries:>5}  {}  {}  {}  {}",
        task.id,
        task.queue,
        task.kind,
        cells::brief(&task::error(&task))
    );
    output::line(&output::printable(text.trim_end()))
}
