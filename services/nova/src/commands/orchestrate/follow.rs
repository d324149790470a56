//! Follows a run to its end, from the last event seen whenever the stream breaks.

use nova_client::Mesh;
use nova_proto::lifecycle::v1::{Run, WatchRunRequest, WatchRunResponse};
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::trace::below;
use super::view::View;
use crate::commands::resume::Patience;
use crate::commands::workflow::run::is_over;

/// Shows the events of a run until it is over, and gives the run as it ended.
pub(crate) async fn follow(
    mesh: &Mesh,
    run_id: &str,
    traceparent: Option<&str>,
    view: &mut View,
) -> anyhow::Result<Run> {
    let mut followed = Followed { after: 0, run: None, patience: Patience::new() };
    loop {
        let request =
            WatchRunRequest { run_id: run_id.to_owned(), after: followed.after, ..Default::default() };
        let opened = mesh.workflows().watch_run(request).instrument(below(traceparent, "nova follow")).await;
        let broken = match opened {
            Ok(stream) => followed.show(stream.into_inner(), view).await?,
            Err(status) => status,
        };
        match followed.run.take_if(|run| is_over(run)) {
            Some(run) => return Ok(run),
            None => followed.patience.endure(broken).await?,
        }
    }
}

/// How far a run was followed.
#[derive(Debug)]
struct Followed {
    after: u64,
    run: Option<Run>,
    patience: Patience,
}

impl Followed {
    /// Shows events until the stream ends, and tells why it did.
    async fn show(
        &mut self,
        mut stream: Streaming<WatchRunResponse>,
        view: &mut View,
    ) -> anyhow::Result<Status> {
        loop {
            match stream.message().await {
                Ok(Some(event)) => {
                    self.patience.restore();
                    view.show(&event)?;
                    self.after = event.sequence;
                    self.run = event.run.or(self.run.take());
                }
                Ok(None) => return Ok(Status::unavailable("the lifecycle daemon ended the watch")),
                Err(status) => return Ok(status),
            }
        }
    }
}
