//! Follows a run to its end, from the last event seen whenever the stream breaks. When nothing is heard for a while, it
//! tells what the mesh misses.

use std::time::Duration;

use nova_client::Mesh;
use nova_proto::lifecycle::v1::{Run, WatchRunRequest, WatchRunResponse};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::trace::below;
use super::view::View;
use crate::commands::resume::Patience;
use crate::commands::workflow::run::{self, is_over};
use crate::commands::workflow::unfinished::left;
use crate::failure::NoMesh;
use crate::home::Home;
use crate::supervisor::missing_anywhere;

/// Silence after which to look whether the mesh can go on.
const SILENCE: Duration = Duration::from_secs(10);

/// Shows the events of a run until it is over, and gives the run as it ended.
pub(crate) async fn follow(
    home: &Home,
    mesh: &Mesh,
    namespace: &str,
    run_id: &str,
    traceparent: Option<&str>,
    view: &mut View,
) -> anyhow::Result<Run> {
    let mut followed =
        Followed { home, after: 0, run: None, patience: Patience::new(), missing: String::new() };
    loop {
        let (namespace, after) = (namespace.to_owned(), followed.after);
        let request = WatchRunRequest { namespace, run_id: run_id.to_owned(), after };
        let opened = mesh.workflows().watch_run(request).instrument(below(traceparent, "nova follow")).await;
        let broken = match opened {
            Ok(stream) => followed.show(stream.into_inner(), view).await?,
            Err(status) => status,
        };
        if let Some(run) = followed.run.take_if(|run| is_over(run)) {
            return Ok(run);
        }
        if home.running()?.is_none() {
            return Err(NoMesh::because(format!("the mesh is down; {}", left(run_id))).into());
        }
        followed.patience.endure(broken).await?;
    }
}

/// How far a run was followed.
#[derive(Debug)]
struct Followed<'a> {
    home: &'a Home,
    after: u64,
    run: Option<Run>,
    patience: Patience,
    /// What the mesh missed when nothing was heard.
    missing: String,
}

impl Followed<'_> {
    /// Shows events until the stream ends, and tells why it did.
    async fn show(
        &mut self,
        mut stream: Streaming<WatchRunResponse>,
        view: &mut View,
    ) -> anyhow::Result<Status> {
        loop {
            let Ok(heard) = timeout(SILENCE, stream.message()).await else {
                self.tell_missing(view).await?;
                continue;
            };
            match heard {
                Ok(Some(event)) => {
                    self.patience.restore();
                    self.after = event.sequence;
                    let run = self.run.get_or_insert_default();
                    run::take(run, &event);
                    view.show(&event, run)?;
                }
                Ok(None) => return Ok(Status::unavailable("the lifecycle daemon ended the watch")),
                Err(status) => return Ok(status),
            }
        }
    }

    /// Tells it once, until it is something else.
    async fn tell_missing(&mut self, view: &mut View) -> anyhow::Result<()> {
        let Some(mesh) = self.home.running()? else { return Ok(()) };
        let missing = missing_anywhere(&mesh).await;
        if missing != self.missing && !missing.is_empty() {
            view.note(&format!("nova: the run waits: {missing}"))?;
        }
        self.missing = missing;
        Ok(())
    }
}
