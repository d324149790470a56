//! BullMQ, driven from one Node process.

use std::process::Command;

use async_trait::async_trait;

use super::driver::Driver;
use super::{Peer, ensure_installed, folder, step};
use crate::system::System;

pub(super) struct Bullmq;

/// BullMQ and the client that it reaches Redis with.
const PACKAGES: [&str; 2] = ["bullmq@5", "ioredis@5"];

const SCRIPT: &str = include_str!("../../peers/bullmq/bench.mjs");

const SETTINGS: &str = "producers and worker in one Node process; worker concurrency 128; removeOnComplete";

#[async_trait]
impl Peer for Bullmq {
    fn name(&self) -> &'static str {
        "bullmq"
    }

    fn install(&self) -> anyhow::Result<()> {
        step(Command::new("node").arg("--version"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder(self.name())?).args(PACKAGES);
        step(&mut npm)
    }

    async fn open(&self) -> anyhow::Result<Box<dyn System>> {
        let folder = folder(self.name())?;
        ensure_installed(&folder.join("node_modules/ioredis"))?;
        std::fs::write(folder.join("bench.mjs"), SCRIPT)?;
        let mut node = Command::new("node");
        node.current_dir(folder).arg("bench.mjs");
        Ok(Box::new(Driver::open(self.name(), SETTINGS, node)?))
    }
}
