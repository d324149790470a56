//! The life of one process: started, watched over, ended with its whole group, started again or not.

use std::sync::Arc;
use std::time::Duration;

use nova_types::Timestamp;
use rustix::process::{Pid, Signal, test_kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use super::capture::capture;
use super::launch::{Pipes, Running};
use super::log::Source;
use super::restart::Restarts;
use super::spec::Restart;
use super::stat::Stat;
use super::status::{Cause, Ending, Process, State, Usage};
use super::supervisor::Shared;
use super::table::Entry;
use super::usage::Sample;
use super::{group, limits};
use crate::error::Error;

/// How long a process may leave the line with its credentials unread when the pipe is full.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long killed processes have to vanish, and their pipes to run dry.
const VANISH: Duration = Duration::from_secs(5);

/// One process and its task.
#[derive(Debug)]
pub(crate) struct Supervision {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    restarts: Restarts,
    process: Process,
    /// Trace of the request, in which all starts are shown.
    traceparent: Option<String>,
}

/// A child that was just started.
#[derive(Debug)]
struct Launched {
    running: Running,
    pipes: Pipes,
    credentials: Option<String>,
}

/// How a start ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    cause: Cause,
    /// When those that are left of the group are killed; set when somebody asked for the end.
    grace_ends: Option<Instant>,
}

impl Supervision {
    /// Made where the request is served, whose trace it carries on.
    pub(crate) fn new(shared: Arc<Shared>, entry: Arc<Entry>) -> Self {
        let process = Process {
            spec: Arc::clone(&entry.spec),
            state: State::Running,
            pid: 0,
            start_time: Timestamp::from_micros(0),
            ending: None,
            restarts: 0,
            usage: Usage::default(),
            reason: String::new(),
        };
        Self {
            restarts: Restarts::new(shared.config.restart),
            traceparent: nova_rpc::trace::current_traceparent(),
            shared,
            entry,
            process,
        }
    }

    /// Runs the process until it is not started again.
    pub(crate) async fn run(mut self) {
        let mut next = match self.launch().await {
            Ok(launched) => Some(launched),
            Err(error) => return self.shared.table.refuse(&self.entry, error),
        };
        while let Some(launched) = next {
            self.process.pid = launched.running.pid.as_raw_pid().unsigned_abs();
            self.process.start_time = self.shared.clock.now();
            self.publish(State::Running, String::new());
            let ended = self.until_ended(launched).await;
            next = self.start_again(ended).await;
        }
        self.entry.log.close();
    }

    async fn launch(&self) -> Result<Launched, Error> {
        let span = tracing::info_span!("launch process", process = %self.entry.spec.id);
        if let Some(traceparent) = &self.traceparent {
            nova_rpc::trace::set_remote_parent(&span, traceparent);
        }
        self.launch_traced().instrument(span).await
    }

    async fn launch_traced(&self) -> Result<Launched, Error> {
        let spec = &self.entry.spec;
        // First, so that an identity daemon that is away leaves no process without an identity.
        let credentials = self.shared.credentials(spec.agent.as_ref()).await?;
        let launch = self.shared.resolve(&spec.program)?;
        let program = launch.program.display().to_string();
        let cannot_start = |error: std::io::Error| {
            let program = program.clone();
            Error::CannotStart { program, cause: error.to_string() }
        };
        let (mut running, pipes) = launch.start(spec).map_err(cannot_start)?;
        if let Err(error) = self.bind(&running) {
            self.end_group(&mut running, None).await;
            return Err(cannot_start(error));
        }
        Ok(Launched { running, pipes, credentials })
    }

    /// Writes a process down and limits it as soon as it is there. It runs already: what it forks before it has its
    /// limits is found in its group, and one whose daemon is killed before it is written down, only its lifeline ends.
    fn bind(&self, running: &Running) -> std::io::Result<()> {
        let spec = &self.entry.spec;
        self.shared.journal.write(&spec.id, running.pid.as_raw_pid(), running.start_ticks)?;
        limits::apply(running.pid, &spec.limits, self.shared.open_files)
    }

    async fn until_ended(&mut self, launched: Launched) -> Ended {
        let Launched { mut running, pipes, credentials } = launched;
        let Pipes { stdin, stdout, stderr } = pipes;
        let mut captures = JoinSet::new();
        let (log, clock) = (&self.entry.log, &self.shared.clock);
        captures.spawn(capture(stdout, Source::Stdout, Arc::clone(log), Arc::clone(clock)));
        captures.spawn(capture(stderr, Source::Stderr, Arc::clone(log), Arc::clone(clock)));
        let lifeline = hand_over(stdin, credentials).await;
        let ended = self.watch_over(&running).await;
        self.end_group(&mut running, ended.grace_ends).await;
        drop(lifeline);
        // Who left the group may hold the pipes: then what it writes from here on is nobody's.
        if timeout(VANISH, async { while captures.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(process = %self.entry.spec.id, "a process outside the group still holds the output");
        }
        self.entry.account.close();
        ended
    }

    /// Waits for the end; ends the process when it is asked to.
    async fn watch_over(&mut self, running: &Running) -> Ended {
        let mut stop = self.entry.stop.subscribe();
        let (mut grace_ends, mut is_killed): (Option<Instant>, bool) = (None, false);
        loop {
            let requested = *stop.borrow_and_update();
            if let Some(grace) = requested {
                let at = Instant::now() + grace;
                if grace_ends.is_none() {
                    self.publish(State::Stopping, "was asked to stop".to_owned());
                    self.signal(running.pid, Signal::TERM);
                }
                grace_ends = Some(grace_ends.map_or(at, |earlier| earlier.min(at)));
            }
            let kill_at = grace_ends.filter(|_| !is_killed);
            tokio::select! {
                cause = running.ended() => return Ended { cause: self.known(cause, running), grace_ends },
                changed = stop.changed() => changed.expect("the entry holds the sender"),
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    self.signal(running.pid, Signal::KILL);
                    is_killed = true;
                }
            }
        }
    }

    /// One that cannot be watched is ended.
    fn known(&self, cause: std::io::Result<Cause>, running: &Running) -> Cause {
        cause.unwrap_or_else(|error| {
            tracing::error!(process = %self.entry.spec.id, %error, "the process cannot be watched and is killed");
            self.signal(running.pid, Signal::KILL);
            Cause::Signal(Signal::KILL.as_raw())
        })
    }

    /// Ends what is left of the group, reaps the leader and strikes it out of the journal.
    ///
    /// On request the others have as long as the leader had; else they are killed at once.
    async fn end_group(&self, running: &mut Running, grace_ends: Option<Instant>) {
        let pid = running.pid;
        if grace_ends.is_none() {
            // While the leader is not reaped its number cannot be somebody else's.
            self.signal(pid, Signal::KILL);
        }
        if let Some(stat) = Stat::read(pid.as_raw_pid()) {
            let mut last = Sample::default();
            last.add(&stat);
            self.entry.account.record(last);
        }
        let reaped = running.reap();
        let emptied = empty(pid, grace_ends.unwrap_or_else(Instant::now)).await;
        if let Err(error) = reaped.and(emptied).and_then(|()| self.shared.journal.remove(&self.entry.spec.id))
        {
            tracing::error!(process = %self.entry.spec.id, %error, "the process group is not wholly ended");
        }
    }

    fn signal(&self, group: Pid, signal: Signal) {
        if let Err(error) = group::signal(group, signal) {
            tracing::error!(process = %self.entry.spec.id, ?signal, %error, "the group cannot be signalled");
        }
    }

    /// Starts the process again when it should be, after a delay.
    async fn start_again(&mut self, ended: Ended) -> Option<Launched> {
        self.process.ending = Some(Ending { time: self.shared.clock.now(), cause: ended.cause });
        if ended.grace_ends.is_some() {
            return self.finish(State::Exited, "stopped on request".to_owned());
        }
        if ended.cause.is_success() {
            return self.finish(State::Exited, "ended by itself".to_owned());
        }
        let mut why = format!("ended with {}", ended.cause);
        if self.entry.spec.restart == Restart::Never {
            return self.finish(State::Failed, why);
        }
        loop {
            let Some(delay) = self.restarts.next(Instant::now(), rand::random()) else {
                let reason = format!("crash loop: {}; it {why}", self.restarts.limit());
                return self.finish(State::Failed, reason);
            };
            match self.launch_after(delay, &why).await {
                Ok(launched) => return launched,
                Err(error) => why = error.to_string(),
            }
        }
    }

    /// Launches after a delay, or nothing when it was asked to stop meanwhile.
    async fn launch_after(&mut self, mut delay: Duration, why: &str) -> Result<Option<Launched>, Error> {
        let mut why = why.to_owned();
        loop {
            self.publish(State::BackingOff, format!("{why}; starts again in {delay:.1?}"));
            if self.is_stopped_within(delay).await {
                return Ok(self.finish(State::Exited, "stopped on request".to_owned()));
            }
            match self.launch().await {
                Ok(launched) => {
                    self.process.restarts += 1;
                    return Ok(Some(launched));
                }
                // Not the process's own fault: this is no crash loop, however long it takes.
                Err(error @ Error::Credentials { .. }) => why = error.to_string(),
                Err(error) => return Err(error),
            }
            delay = self.restarts.longest();
        }
    }

    async fn is_stopped_within(&self, delay: Duration) -> bool {
        let mut stop = self.entry.stop.subscribe();
        timeout(delay, stop.wait_for(Option::is_some)).await.is_ok_and(|stopped| stopped.is_ok())
    }

    fn finish(&mut self, state: State, reason: String) -> Option<Launched> {
        self.publish(state, reason);
        None
    }

    fn publish(&mut self, state: State, reason: String) {
        tracing::info!(process = %self.entry.spec.id, pid = self.process.pid, state = state.as_str(), reason, "process");
        self.process.state = state;
        self.process.reason = reason;
        self.shared.table.publish(&self.entry, self.process.clone());
    }
}

/// Writes the credentials on the child's standard input, which stays open as its lifeline.
async fn hand_over(mut stdin: ChildStdin, credentials: Option<String>) -> ChildStdin {
    if let Some(line) = credentials {
        match timeout(HAND_OVER, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "a process closed its input before it had its credentials")
            }
            Err(_) => tracing::warn!("a process does not read its credentials"),
        }
    }
    stdin
}

/// Waits for the members of a group whose leader was reaped, and kills those that stay.
async fn empty(group: Pid, grace_ends: Instant) -> std::io::Result<()> {
    if test_kill_process_group(group) == Err(rustix::io::Errno::SRCH)
        || group::until_empty(group, grace_ends).await
    {
        return Ok(());
    }
    for member in group::members(group.as_raw_pid()) {
        group::kill_exactly(&member)?;
    }
    if group::until_empty(group, Instant::now() + VANISH).await {
        return Ok(());
    }
    Err(std::io::Error::other(format!("processes of group {group} do not end after SIGKILL")))
}
