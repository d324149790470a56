//! asynq, driven from one Go process.

use std::process::Command;

use async_trait::async_trait;

use super::driver::Driver;
use super::{Peer, ensure_installed, folder, step};
use crate::system::System;

pub(super) struct Asynq;

const SOURCES: [(&str, &str); 3] = [
    ("main.go", include_str!("../../peers/asynq/main.go")),
    ("go.mod", include_str!("../../peers/asynq/go.mod")),
    ("go.sum", include_str!("../../peers/asynq/go.sum")),
];

const SETTINGS: &str = "producers and server in one Go process; server concurrency 128; a batch is so many calls in \
    a row; looks for tasks each millisecond where there were none (its default: each second); no retention";

#[async_trait]
impl Peer for Asynq {
    fn name(&self) -> &'static str {
        "asynq"
    }

    fn install(&self) -> anyhow::Result<()> {
        let folder = folder(self.name())?;
        for (name, text) in SOURCES {
            std::fs::write(folder.join(name), text)?;
        }
        step(Command::new("go").current_dir(folder).args(["build", "-o", "bench", "."]))
    }

    async fn open(&self) -> anyhow::Result<Box<dyn System>> {
        let bench = folder(self.name())?.join("bench");
        ensure_installed(&bench)?;
        Ok(Box::new(Driver::open(self.name(), SETTINGS, Command::new(bench))?))
    }
}
