//! `nova up`.

use std::process::ExitCode;

use clap::Args;
use nova_runtime::StoreUrl;

use super::{arguments, status};
use crate::cli::Context;
use crate::connection::{self, Found};
use crate::failure::Misuse;
use crate::home::MeshFile;
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
        let found = connection::find(self.launch(context), |mesh| !mesh.for_one_run).await?;
        if let Found::Running(mesh) = &found {
            self.is_answered_by(mesh)?;
            tell!("a mesh runs here already, with process {}", mesh.pid);
        }
        status::show(context, found.file()).await
    }

    fn launch(&self, context: &Context) -> Launch {
        let home = context.home.clone();
        let store = connection::choose_store(&home, self.store.clone());
        let (otlp, plaintext) = (self.otlp.clone(), self.plaintext);
        Launch { home, store, otlp, plaintext, for_one_run: false, reading: false }
    }

    /// A mesh that runs is not changed: whoever wants another one must not believe to have it.
    fn is_answered_by(&self, mesh: &MeshFile) -> anyhow::Result<()> {
        let other = if self.store.as_ref().is_some_and(|store| *store != mesh.store) {
            format!("keeps its state in {}", StoreUrl::shown(&mesh.store))
        } else if self.otlp.is_some() && self.otlp != mesh.otlp {
            format!("sends its traces to {}", mesh.otlp.as_deref().unwrap_or("no other collector"))
        } else if self.plaintext && mesh.plaintext.is_none() {
            "listens with TLS only".to_owned()
        } else {
            return Ok(());
        };
        Err(Misuse::of(format!("the mesh that runs here {other}; `nova down` ends it")))
    }
}
