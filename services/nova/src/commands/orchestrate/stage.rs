//! The mesh that a run is on: the one that runs here, or one brought up for it.

use clap::Args;
use nova_client::Mesh;

use crate::cli::Context;
use crate::commands::arguments;
use crate::commands::workflow::unfinished;
use crate::connection;
use crate::home::MeshFile;
use crate::supervisor::{Launch, Launched};

/// Which mesh.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave a mesh that was brought up for the run running.
    #[arg(long)]
    keep: bool,
    /// Where a mesh that is brought up keeps its state: sqlite, or a Redis such as
    /// redis://127.0.0.1:6379/0 (`nova up --help` has the other forms) [default: that of the last mesh in this home, else sqlite]
    #[arg(long, env = "NOVA_STORE", value_name = "URL", hide_env_values = true, value_parser = arguments::store)]
    store: Option<String>,
    /// Send the traces on to an OTLP/gRPC collector, such as http://127.0.0.1:4317.
    #[arg(long, value_name = "URL", value_parser = arguments::collector)]
    otlp: Option<String>,
}

/// A mesh that is there.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) mesh: Mesh,
    pub(crate) file: MeshFile,
    /// Set when the mesh goes down with the run.
    launched: Option<Launched>,
}

impl Stage {
    /// Finds the mesh that runs, or brings one up. One that goes down with somebody else's run is no use.
    pub(crate) async fn enter(
        context: &Context,
        options: Options,
        outlives_us: bool,
    ) -> anyhow::Result<Self> {
        let home = &context.home;
        let for_one_run = !(options.keep || outlives_us);
        let store = connection::choose_store(home, options.store.clone())?;
        let otlp = options.otlp.clone();
        let launch =
            Launch { home: home.clone(), store, otlp, plaintext: false, for_one_run, reading: false };
        let found = connection::find(launch, |file| !file.for_one_run).await?;
        connection::suits(found.file(), options.store.as_deref(), options.otlp.as_deref(), false)?;
        let (file, mesh) = (found.file().clone(), connection::connect_to(home, found.file())?);
        let launched = found.launched();
        if launched.is_some() {
            unfinished::tell_resumed(&mesh).await;
        }
        Ok(Self { mesh, file, launched: launched.filter(|_| for_one_run) })
    }

    /// Whether the mesh goes down with the run.
    pub(crate) fn is_for_one_run(&self) -> bool {
        self.launched.is_some()
    }

    /// Takes the mesh down if it was brought up for the run.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        let Some(launched) = self.launched else { return Ok(()) };
        unfinished::tell_left(&self.mesh).await;
        launched.stop().await
    }
}
