//! Brings a mesh up from a command.

use std::io;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::Told;
use super::child::executable;
use super::orders::Orders;
use crate::failure::{Misuse, NoMesh};
use crate::home::{Home, MeshFile};

/// A mesh that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) home: Home,
    /// `sqlite` or a Redis URL.
    pub(crate) store: String,
    /// Collector that spans are forwarded to.
    pub(crate) otlp: Option<String>,
    /// Daemons listen without TLS, too.
    pub(crate) plaintext: bool,
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
    /// Starts the supervisor and waits until its mesh is ready. None when another mesh has the home.
    pub(crate) async fn start(self) -> anyhow::Result<Option<Launched>> {
        self.home.make()?;
        let mut command = Command::new(executable()?);
        command.arg("supervise").arg("--home").arg(self.home.path());
        command.env_remove("NOVA_STORE").env_remove("NOVA_TOKEN");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(self.home.open_log("supervisor")?);
        // A mesh outlives its command, and must not keep open what that was handed, such as a lock or a pipe.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let mut supervisor = command.spawn().context("cannot start the supervisor")?;
        let lifeline = self.give_orders(supervisor.stdin.take()).await?;
        let stdout = supervisor.stdout.take().context("standard output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        match serde_json::from_str(&line).context("the supervisor ended without a word")? {
            Told::Ready(mesh_file) => {
                self.home.remember_store(&mesh_file.store)?;
                let lifeline = lifeline.filter(|_| self.for_one_run);
                Ok(Some(Launched { mesh_file: *mesh_file, supervisor, lifeline }))
            }
            Told::Taken => Ok(None),
            Told::Failed { why, misconfigured: true } => bail!(Misuse::new(vec![not_up(&why)])),
            Told::Failed { why, .. } => bail!(NoMesh::because(not_up(&why))),
        }
    }

    /// Writes the orders, and keeps the pipe: until it is ready, the mesh goes down when that closes.
    async fn give_orders(&self, stdin: Option<ChildStdin>) -> anyhow::Result<Option<ChildStdin>> {
        let mut stdin = stdin.context("standard input is a pipe")?;
        let orders = Orders {
            store: self.store.clone(),
            otlp: self.otlp.clone(),
            plaintext: self.plaintext,
            lifeline: self.for_one_run,
            reading: self.reading,
        };
        match stdin.write_all(orders.to_line().as_bytes()).await {
            // It ended already, and says why on its standard output.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Some(stdin)),
        }
    }
}

fn not_up(why: &str) -> String {
    format!("the mesh does not come up: {why}")
}

impl Launched {
    /// Takes the mesh down, to the last process. Only for one that was made for a run.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.lifeline.take());
        self.supervisor.wait().await?;
        Ok(())
    }
}
