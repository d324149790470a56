//! BullMQ on a Redis with the settings that Nova's has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use nova_testkit::redis::RedisServer;
use serde::Deserialize;

use crate::figures::{Figures, LIVES, Measured, progress};
use crate::load::PAYLOAD;
use crate::{Arguments, Scenario, queue};

pub(super) const NAME: &str = "bullmq";

/// Jobs that its worker has at once.
const CONCURRENCY: usize = 128;

/// BullMQ and the client that it reaches Redis with.
const PACKAGES: [&str; 2] = ["bullmq@5", "ioredis@5"];

const SCRIPT: &str = include_str!("../../peers/bullmq/bench.mjs");

/// What the script prints for each scenario.
#[derive(Debug, Deserialize)]
struct Line {
    scenario: String,
    metric: String,
    value: f64,
}

pub(super) fn measure(arguments: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    ensure!(super::is_installed("node", "--version"), "node is not installed");
    let folder = install()?;
    let redis = RedisServer::start_with(&queue::REDIS);
    for (scenario, name) in [(Scenario::Unary, "unary"), (Scenario::Batched, "batched")] {
        if arguments.wants(scenario) {
            run(&folder, &redis, name, arguments.seconds, figures)?;
        }
    }
    Ok(())
}

/// BullMQ from npm, once.
fn install() -> anyhow::Result<PathBuf> {
    let folder = super::cache(NAME)?;
    if !folder.join("node_modules/ioredis").exists() {
        ensure!(super::is_installed("npm", "--version"), "npm is not installed");
        progress("npm install bullmq, into target/peers/bullmq");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).args(PACKAGES);
        let status = npm.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "npm install bullmq failed");
    }
    std::fs::write(folder.join("bench.mjs"), SCRIPT)?;
    Ok(folder)
}

fn run(
    folder: &Path,
    redis: &RedisServer,
    scenario: &str,
    seconds: u64,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut node = Command::new("node");
    node.current_dir(folder).args(["bench.mjs", scenario]);
    node.args([redis.port().to_string(), seconds.to_string(), PAYLOAD.to_string(), CONCURRENCY.to_string()]);
    let output = node.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "bench.mjs {scenario} ended with {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Line { scenario, metric, value } = serde_json::from_str(line).context(line.to_owned())?;
        let settings = format!(
            "Redis, AOF everysec; worker concurrency {CONCURRENCY}; {PAYLOAD} B; removeOnComplete; one process"
        );
        let unit = if metric == LIVES { "1/s" } else { "ms" };
        figures.add(
            &Measured { scenario: &scenario, system: NAME, settings: &settings },
            &metric,
            value,
            unit,
        );
    }
    Ok(())
}
