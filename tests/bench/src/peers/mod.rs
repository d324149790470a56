//! Other queues, with the same payload: each is measured when it is installed, and else skipped by name.

mod beanstalkd;
mod bullmq;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::figures::Figures;
use crate::{Arguments, mesh, queue};

/// Measures every peer, then says how Nova compares.
pub(crate) async fn measure(arguments: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    if let Err(why) = bullmq::measure(arguments, figures) {
        figures.skip(bullmq::NAME, &format!("{why:#}"));
    }
    if let Err(why) = beanstalkd::measure(arguments, figures).await {
        figures.skip(beanstalkd::NAME, &format!("{why:#}"));
    }
    for peer in [bullmq::NAME, beanstalkd::NAME] {
        figures.compare(&queue::SYSTEMS, peer);
    }
    Ok(())
}

/// Whether `program` is on PATH.
fn is_installed(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Where a peer's parts are kept between runs: `target/peers/<name>`.
fn cache(name: &str) -> anyhow::Result<PathBuf> {
    let folder = mesh::scratch()?.with_file_name("peers").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
