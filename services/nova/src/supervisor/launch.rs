//! Brings a mesh up from a command.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::Told;
use super::child::executable;
use crate::home::{Home, MeshFile};

/// A mesh that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) home: Home,
    /// `sqlite` or a Redis URL.
    pub(crate) store: String,
    /// Collector that spans are forwarded to.
    pub(crate) otlp: Option<String>,
    /// The mesh ends with this process.
    pub(crate) for_one_run: bool,
    /// The mesh only serves records: runs that are open are left as they are.
    pub(crate) reading: bool,
}

/// A mesh that is ready.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) mesh_file: MeshFile,
    supervisor: Child,
    lifeline: Option<ChildStdin>,
}

impl Launch {
    /// Starts the supervisor and waits until its mesh is ready.
    pub(crate) async fn start(self) -> anyhow::Result<Launched> {
        let mut command = Command::new(executable()?);
        command.arg("supervise").arg("--home").arg(self.home.path()).args(["--store", &self.store]);
        if let Some(otlp) = &self.otlp {
            command.args(["--otlp", otlp]);
        }
        if self.for_one_run {
            command.arg("--lifeline");
        }
        if self.reading {
            command.arg("--reading");
        }
        command.stdin(if self.for_one_run { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(self.home.open_log("supervisor")?);
        let mut supervisor = command.spawn().context("cannot start the supervisor")?;
        let lifeline = supervisor.stdin.take();
        let stdout = supervisor.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        match serde_json::from_str(&line).context("the supervisor ended without a word")? {
            Told::Ready(mesh_file) => Ok(Launched { mesh_file: *mesh_file, supervisor, lifeline }),
            Told::Failed(why) => bail!("the mesh does not come up: {why}"),
        }
    }
}

impl Launched {
    /// Takes the mesh down, to the last process. Only for one that was made for a run.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.lifeline.take());
        self.supervisor.wait().await?;
        Ok(())
    }
}
