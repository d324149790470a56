//! The parent of a mesh on one machine.
//!
//! `nova supervise` is started by `nova up` and `nova orchestrate` ([`launch`]), and outlives the
//! first. It locks the home, opens every daemon's sockets ([`sockets`]), starts the daemons as
//! processes of their own ([`child`]), waits until they are ready ([`ready`]) or one is to be given
//! up ([`ends`]), and then starts again whichever dies: the sockets stay open in between, so that callers see a pause and not a
//! refusal. A mesh has a lifeline to its command until it is ready, one for one run to its end: when
//! the command ends, so does the mesh.

mod child;
mod ends;
mod launch;
mod logs;
mod mesh;
mod operator;
mod orders;
mod ready;
mod sockets;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use nova_runtime::config::{LogFormat, TelemetryConfig};
use nova_runtime::telemetry::Telemetry;
use serde::{Deserialize, Serialize};

use ends::GivenUp;
pub(crate) use launch::{Launch, Launched};
use orders::Orders;
pub(crate) use ready::{get, missing, missing_anywhere};

use crate::home::{Home, Lock, MeshFile};

/// The daemons, in the order in which they start.
pub(crate) const DAEMONS: [&str; 5] = ["identity", "policy", "queue", "node", "lifecycle"];

/// The parent of a mesh; started by `nova up`.
#[derive(Debug, Parser)]
struct Supervise {
    #[arg(long)]
    home: PathBuf,
}

/// What the supervisor tells the command that started it: one line of JSON on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Ready(Box<MeshFile>),
    Failed {
        why: String,
        /// A daemon refuses its settings.
        misconfigured: bool,
    },
    /// Another mesh has the home.
    Taken,
}

impl Told {
    fn failed(error: &anyhow::Error) -> Self {
        let misconfigured = error.downcast_ref::<GivenUp>().is_some_and(|given_up| given_up.misconfigured);
        Self::Failed { why: format!("{error:#}"), misconfigured }
    }
}

/// `nova supervise …`.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let command = Supervise::parse_from(args);
    match supervise(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&Told::failed(&error));
            ExitCode::FAILURE
        }
    }
}

fn supervise(command: Supervise) -> anyhow::Result<()> {
    // A session of its own: the terminal's Ctrl-C is for the command, not for the mesh.
    rustix::process::setsid().context("a supervisor is started by `nova up`")?;
    // What this process and its children write is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    nova_client::install_crypto_provider();
    let orders = Orders::from_stdin()?;
    let home = Home::at(Some(command.home))?;
    home.make()?;
    let Some(_lock) = take(&home)? else {
        tell(&Told::Taken);
        return Ok(());
    };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = tokio.block_on(async {
        let _log = Telemetry::start("supervisor", &std::process::id().to_string(), &log())?;
        mesh::run(home, orders).await.inspect_err(|error| tracing::error!("the mesh ends: {error:#}"))
    });
    tokio.shutdown_background();
    outcome
}

/// Lines for `logs/supervisor.log`, which standard error is; spans are for those that are supervised.
fn log() -> TelemetryConfig {
    TelemetryConfig { log_format: LogFormat::Json, ..TelemetryConfig::default() }
}

/// Takes the home; none when a mesh has it. A command that only looks whether one runs holds the lock for a moment.
fn take(home: &Home) -> anyhow::Result<Option<Lock>> {
    for _ in 0..20 {
        if let Some(lock) = home.try_lock()? {
            return Ok(Some(lock));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Tells the command, which may be gone.
fn tell(told: &Told) {
    let line = serde_json::to_string(told).expect("a mesh file is text and numbers");
    let mut stdout = std::io::stdout();
    if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
        tracing::debug!("nobody listens any more");
    }
}
