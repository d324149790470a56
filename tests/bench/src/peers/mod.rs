//! Other queues, with the same payload and the same jobs: each is measured when it is installed, and else skipped by
//! name. One file each; those of another language are driven through a program of ours in it.

mod asynq;
mod beanstalkd;
mod bullmq;
mod celery;
mod driver;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;

use crate::figures::{Figures, progress};
use crate::mesh;
use crate::plan::Plan;
use crate::scenarios::{self, Bench, Scenario};
use crate::system::System;

/// A queue that is measured beside Nova.
#[async_trait]
trait Peer: Sync {
    /// What figures call it.
    fn name(&self) -> &'static str;

    /// Puts it where [`Peer::open`] finds it. The error says what is missing.
    fn install(&self) -> anyhow::Result<()>;

    /// Starts it with its server, or says that it is not installed.
    async fn open(&self) -> anyhow::Result<Box<dyn System>>;

    /// The largest backlog that it builds up in minutes.
    fn largest_backlog(&self) -> u64 {
        1_000_000
    }
}

const PEERS: [&dyn Peer; 4] = [&bullmq::Bullmq, &beanstalkd::Beanstalkd, &celery::Celery, &asynq::Asynq];

/// Installs what this machine's languages allow.
pub(crate) fn install(figures: &mut Figures) {
    for peer in PEERS {
        match peer.install() {
            Ok(()) => progress(&format!("installed: {}", peer.name())),
            Err(why) => figures.skip(peer.name(), &format!("{why:#}")),
        }
    }
}

/// Measures every peer, each on backlogs that it can build up. One that is installed and does not do what it should is
/// a failure, once the others are measured, too.
pub(crate) async fn measure(
    plan: &Plan,
    wants: &(impl Fn(Scenario) -> bool + Sync),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut failed = Ok(());
    for peer in PEERS {
        match measure_one(peer, plan, wants, figures).await {
            Err(why) if why.is::<NotInstalled>() || why.is::<TooSlow>() => {
                figures.skip(peer.name(), &format!("{why:#}"));
            }
            Err(why) => failed = Err(why.context(format!("{} was not measured", peer.name()))),
            Ok(()) => {}
        }
    }
    failed
}

async fn measure_one(
    peer: &dyn Peer,
    plan: &Plan,
    wants: impl Fn(Scenario) -> bool,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut plan = plan.clone();
    let most = peer.largest_backlog();
    if wants(Scenario::Backlog) && plan.backlogs.iter().any(|backlog| *backlog > most) {
        plan.backlogs.retain(|backlog| *backlog <= most);
        figures.skip(peer.name(), &format!("a backlog of more than {most} takes it too long"));
    }
    let mut system = peer.open().await?;
    scenarios::measure(&mut Bench { system: system.as_mut(), plan: &plan, figures }, wants).await
}

/// Where a peer's parts are kept between runs: `target/peers/<name>`.
fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = mesh::scratch()?.with_file_name("peers").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs a command, such as a step of an installation, to its end. Its output is shown when it fails.
pub(crate) fn step(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{program} is not installed"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, said.trim());
    Ok(())
}

/// A peer of which a part is not there.
#[derive(Debug, thiserror::Error)]
#[error("not installed: run the bench with --install-peers")]
struct NotInstalled;

/// A job that a peer has not done when it is given up: what is left of it is not measured.
#[derive(Debug, thiserror::Error)]
#[error("not done in time: {0}")]
struct TooSlow(String);

/// Fails unless `part` of an installation is there.
fn ensure_installed(part: &std::path::Path) -> anyhow::Result<()> {
    Ok(part.exists().then_some(()).ok_or(NotInstalled)?)
}
