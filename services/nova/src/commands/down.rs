//! `nova down`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::output;
use super::workflow::unfinished;
use crate::cli::Context;
use crate::connection;
use crate::home::MeshFile;

/// Longest that a mesh may take to stop.
const WITHIN: Duration = Duration::from_secs(60);

/// Stop the mesh that runs here: it finishes its calls, then every process of it ends.
#[derive(Debug, Args)]
pub(crate) struct Down {}

impl Down {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Some(mesh) = context.home.running()? else {
            report(context, None)?;
            return Ok(ExitCode::SUCCESS);
        };
        if mesh.is_ready()
            && let Ok(mesh) = connection::connect_to(&context.home, &mesh)
        {
            unfinished::tell_left(&mesh).await;
        }
        stop(context, &mesh).await?;
        report(context, Some(&mesh))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says which mesh went down, if any.
fn report(context: &Context, stopped: Option<&MeshFile>) -> anyhow::Result<()> {
    let home = context.home.path().display();
    if context.json {
        return output::json(&json!({"home": home.to_string(), "stopped_pid": stopped.map(|mesh| mesh.pid)}));
    }
    match stopped {
        Some(_) => tell!("the mesh is down"),
        None => tell!("no mesh runs in {home}"),
    }
    Ok(())
}

async fn stop(context: &Context, mesh: &MeshFile) -> anyhow::Result<()> {
    let pid = i32::try_from(mesh.pid).ok().and_then(Pid::from_raw).context("mesh.json has no process id")?;
    match kill_process(pid, Signal::TERM) {
        // It went down by itself meanwhile.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(error).context("cannot signal the supervisor"),
    }
    let began = Instant::now();
    while context.home.is_taken()? {
        if began.elapsed() > WITHIN {
            bail!("the mesh has not stopped within {WITHIN:?}; its supervisor is process {}", mesh.pid);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
