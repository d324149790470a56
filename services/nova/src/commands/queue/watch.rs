//! Changes of tasks as they happen.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{WatchTasksRequest, WatchTasksResponse};
use serde_json::json;
use tonic::Status;

use super::scope::Scope;
use super::task;
use crate::cli::Context;
use crate::commands::resume::Patience;
use crate::commands::{cells, output};
use crate::signals;

/// Follow changes of tasks until Ctrl-C.
#[derive(Debug, Args)]
#[command(
    after_help = "When it ends it tells on standard error the cursor from which another watch goes on without a gap;\n\
                  with --json each line has one.\n\nExample:\n  nova queue watch --queue mail --metadata team=post"
)]
pub(crate) struct Watch {
    /// Only this queue.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    queue: Option<String>,
    /// Only tasks with this metadata entry.
    #[arg(long, value_name = "KEY=VALUE", value_parser = NonEmptyStringValueParser::new())]
    metadata: Option<String>,
    /// Go on after this event, instead of from now.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    cursor: Option<String>,
}

/// A watch, and where it is.
#[derive(Debug)]
struct Follower<'a> {
    watch: Watch,
    scope: &'a Scope<'a>,
    /// After the last event that was shown.
    reached: Option<String>,
}

impl Watch {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let mut follower = Follower { watch: self, scope, reached: None };
        let ended = tokio::select! {
            ended = follower.follow() => ended,
            stopped = signals::termination() => stopped.map(drop).map_err(Into::into),
        };
        if let Some(cursor) = follower.reached.filter(|_| !scope.context.json) {
            tell!("nova: --cursor {cursor} goes on from here");
        }
        ended
    }
}

impl Follower<'_> {
    /// Watches again from the last cursor whenever the stream breaks.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut patience = Patience::new();
        loop {
            let broken = match self.scope.mesh.queue().watch_tasks(self.request()).await {
                Ok(stream) => self.print(stream.into_inner(), &mut patience).await?,
                Err(status) => status,
            };
            patience.endure(broken).await?;
        }
    }

    fn request(&self) -> WatchTasksRequest {
        let cursor = self.reached.as_ref().or(self.watch.cursor.as_ref());
        WatchTasksRequest {
            namespace: self.scope.namespace(),
            queue: self.watch.queue.clone().unwrap_or_default(),
            metadata_filter: self.watch.metadata.clone().unwrap_or_default(),
            cursor: cursor.cloned().unwrap_or_default(),
        }
    }

    /// Prints events until the stream breaks, and tells why it did.
    async fn print(
        &mut self,
        mut stream: tonic::Streaming<WatchTasksResponse>,
        patience: &mut Patience,
    ) -> anyhow::Result<Status> {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    patience.restore();
                    print(self.scope.context, &message)?;
                    self.reached = Some(message.cursor);
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
