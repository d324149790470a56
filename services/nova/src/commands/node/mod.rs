//! `nova node`: this host ([`host`]) and its processes ([`processes`]).

mod host;
mod processes;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Context;
use crate::connection;

/// Show this host and its processes.
#[derive(Debug, Args)]
pub(crate) struct Node {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what this host has.
    Show,
    /// Show how this host does.
    Telemetry(host::Telemetry),
    /// List the mesh's processes, ended ones included while they are kept.
    Ps(processes::Ps),
    /// Print what a process wrote.
    Logs(processes::Logs),
}

impl Node {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Show => {
                connection::reading(context, async |mesh| host::show(context, &mesh).await).await?
            }
            // Who watches keeps no mesh up that others end.
            Action::Telemetry(telemetry) if telemetry.goes_on() && context.home.running()?.is_some() => {
                telemetry.run(context, &connection::connect(&context.home).await?).await?;
            }
            Action::Telemetry(telemetry) => {
                connection::reading(context, async |mesh| telemetry.run(context, &mesh).await).await?;
            }
            Action::Ps(ps) => ps.run(context, &connection::connect(&context.home).await?).await?,
            Action::Logs(logs) => logs.run(context, &connection::connect(&context.home).await?).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
