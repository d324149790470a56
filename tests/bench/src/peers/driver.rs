//! A peer that is driven by a program of ours in its own language: it reads a job a line on standard input, does
//! it, and answers with what came of it on a line of standard output. It ends with its input.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use nova_testkit::redis::RedisServer;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::TooSlow;
use crate::job::{Job, Outcome};
use crate::nova::REDIS;
use crate::system::System;

/// How long a program may take to end, with what it started, once its input has.
const CLOSING: Duration = Duration::from_secs(20);

/// A program that drives a peer on a Redis of its own.
#[derive(Debug)]
pub(super) struct Driver {
    name: &'static str,
    settings: &'static str,
    process: Child,
    /// Closed when this is dropped.
    jobs: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    redis: RedisServer,
}

/// What a program answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Failed { error: String },
    Done(Outcome),
}

impl Driver {
    /// Starts `command` with the port of a fresh Redis and the payload's size as its last two arguments.
    pub(super) fn open(
        name: &'static str,
        settings: &'static str,
        mut command: Command,
    ) -> anyhow::Result<Self> {
        let redis = RedisServer::start_with(&REDIS);
        command.args([redis.port().to_string(), crate::job::PAYLOAD.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut command = tokio::process::Command::from(command);
        let mut process =
            command.kill_on_drop(true).spawn().with_context(|| format!("cannot run {program}"))?;
        let jobs = process.stdin.take();
        let answers = process.stdout.take().context("it has a standard output")?;
        Ok(Self { name, settings, process, jobs, answers: BufReader::new(answers).lines(), redis })
    }

    async fn answer(&mut self, job: &Job) -> anyhow::Result<Outcome> {
        let line = serde_json::to_string(job)? + "\n";
        self.jobs.as_mut().context("it has a standard input")?.write_all(line.as_bytes()).await?;
        let line = self.answers.next_line().await?.context("its program has ended")?;
        match serde_json::from_str(&line).with_context(|| format!("its program says {line:?}"))? {
            Answer::Done(outcome) => Ok(outcome),
            Answer::Failed { error } => bail!(error),
        }
    }

    /// Of a process that was not waited for: its number is still its own.
    fn kill_group(&self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if pid.is_none_or(|pid| kill_process_group(pid, Signal::KILL).is_err()) {
            eprintln!("{}: its processes could not be killed", self.name);
        }
    }
}

impl Drop for Driver {
    /// It ends with its input, and with what it started. When it does not, all of its process group is killed.
    fn drop(&mut self) {
        drop(self.jobs.take());
        let give_up = Instant::now() + CLOSING;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > give_up {
                self.kill_group();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[async_trait]
impl System for Driver {
    fn name(&self) -> &str {
        self.name
    }

    fn settings(&self) -> String {
        format!("Redis, AOF everysec; {}", self.settings)
    }

    fn servers(&self) -> Vec<u32> {
        vec![self.redis.pid()]
    }

    fn clients(&self) -> Vec<u32> {
        self.process.id().into_iter().collect()
    }

    async fn run(&mut self, job: &Job) -> anyhow::Result<Outcome> {
        let answer = tokio::time::timeout(job.limit(), self.answer(job));
        answer.await.map_err(|_| TooSlow(job.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_what_it_did_or_why_not() {
        let done = r#"{"enqueued":2,"completed":2,"seconds":0.5,"enqueue":{"p50":1,"p99":2}}"#;
        let Answer::Done(outcome) = serde_json::from_str(done).unwrap() else { panic!("{done}") };
        assert!((outcome.rate() - 4.0).abs() < 1e-9 && outcome.start.is_none());
        let failed = serde_json::from_str(r#"{"error":"no"}"#).unwrap();
        assert!(matches!(failed, Answer::Failed { error } if error == "no"));
    }
}
