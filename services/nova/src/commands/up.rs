//! `nova up`.

use std::process::ExitCode;

use clap::Args;

use super::workflow::unfinished;
use super::{arguments, status};
use crate::cli::Context;
use crate::connection::{self, Found};
use crate::supervisor::Launch;

/// Bring a mesh up on this machine and leave it running.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where state is kept: `sqlite`, or a Redis such as redis://127.0.0.1:6379/0,
    /// redis-cluster://host:port,host:port or redis-sentinel://host:port,host:port/service/0
    /// [default: that of the last mesh in this home, else sqlite]
    #[arg(long, env = "NOVA_STORE", value_name = "URL", hide_env_values = true, value_parser = arguments::store)]
    store: Option<String>,
    /// Send traces and metrics on to an OTLP/gRPC collector, such as http://127.0.0.1:4317.
    #[arg(long, value_name = "URL", value_parser = arguments::collector)]
    otlp: Option<String>,
    /// Listen without TLS on loopback, too, for measurements and for programs without it: callers show a bearer
    /// token, which every process of this machine can read on the way. `nova status --json` tells where.
    #[arg(long)]
    plaintext: bool,
}

impl Up {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let home = context.home.clone();
        let store = connection::choose_store(&home, self.store.clone())?;
        let (otlp, plaintext) = (self.otlp.clone(), self.plaintext);
        let launch = Launch { home, store, otlp, plaintext, for_one_run: false, reading: false };
        let found = connection::find(launch, |mesh| !mesh.for_one_run).await?;
        match &found {
            Found::Running(mesh) => {
                connection::suits(mesh, self.store.as_deref(), self.otlp.as_deref(), plaintext)?;
                tell!("a mesh runs here already, with process {}", mesh.pid);
            }
            Found::Launched(launched) => {
                let mesh = connection::connect_to(&context.home, &launched.mesh_file)?;
                unfinished::tell_resumed(&mesh).await;
            }
        }
        status::show(context, found.file()).await
    }
}
