//! Celery, driven from one Python process that starts workers beside it.

use std::process::Command;

use async_trait::async_trait;

use super::driver::Driver;
use super::{Peer, ensure_installed, folder, step};
use crate::system::System;

pub(super) struct Celery;

const PACKAGE: &str = "celery[redis]>=5,<6";

const SCRIPT: &str = include_str!("../../peers/celery/bench.py");

const SETTINGS: &str = "producers are 4 threads of one Python process, a batch is so many calls in a row; \
    one worker, prefork with 2 processes (where a job says how many are worked at once: with as many), \
    prefetch 64 for each, acks late, no results, without gossip, mingle and heartbeat";

#[async_trait]
impl Peer for Celery {
    fn name(&self) -> &'static str {
        "celery"
    }

    fn install(&self) -> anyhow::Result<()> {
        let venv = folder(self.name())?.join("venv");
        step(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        step(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]))
    }

    async fn open(&self) -> anyhow::Result<Box<dyn System>> {
        let folder = folder(self.name())?;
        ensure_installed(&folder.join("venv/bin/celery"))?;
        std::fs::write(folder.join("bench.py"), SCRIPT)?;
        let mut python = Command::new(folder.join("venv/bin/python"));
        python.current_dir(folder).arg("bench.py");
        Ok(Box::new(Driver::open(self.name(), SETTINGS, python)?))
    }

    /// It takes some hundred microseconds for each.
    fn largest_backlog(&self) -> u64 {
        1_000
    }
}
