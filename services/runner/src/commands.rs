//! Child processes, bounded in time and output, that never outlive the runner.
//!
//! Every command runs in a process group of its own, led by a small guard: a shell that reads from
//! a pipe which only the runner holds. When the runner ends, in whatever way, the pipe closes and the
//! guard kills the group. When a command ends or its time is over, the runner kills the group,
//! so that nothing a command left in the background stays.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;

/// How often a waiting command looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// How long output may still arrive after the group was killed.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// What to run and within which bounds.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Program, found on the search path.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Folder to run in; the runner's own when unset.
    pub cwd: Option<PathBuf>,
    /// Variables to set beside the runner's own.
    pub env: Vec<(String, String)>,
    /// Variables to take away.
    pub without_env: Vec<String>,
    /// What the command reads.
    pub stdin: Vec<u8>,
    /// The command's group is killed after this long.
    pub timeout: Duration,
    /// What is kept of the standard output.
    pub stdout: Keep,
    /// What is kept of the standard error.
    pub stderr: Keep,
}

impl Invocation {
    /// A command that keeps the first 64 MiB of output and the last 4 KiB of errors.
    pub fn new(program: &str, timeout: Duration) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            cwd: None,
            env: Vec::new(),
            without_env: Vec::new(),
            stdin: Vec::new(),
            timeout,
            stdout: Keep::First(64 << 20),
            stderr: Keep::Last(4 << 10),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }
}

/// What is kept of a stream, in bytes.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// The beginning; a command that writes more is stopped there.
    First(usize),
    /// The end; what came before is dropped.
    Last(usize),
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Why it ended.
    pub end: End,
    /// What was kept of its output.
    pub stdout: Vec<u8>,
    /// What was kept of its errors.
    pub stderr: Vec<u8>,
    /// True when some of the output was not kept.
    pub truncated: bool,
    /// How long it ran.
    pub duration: Duration,
}

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code; 128 + n after signal n.
    Exited(i32),
    /// Its time was over.
    TimedOut,
    /// It wrote more than was to be kept.
    Overflowed,
    /// The task was taken away.
    Cancelled,
}

/// Runs commands until it is cancelled.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    cancelled: CancellationToken,
}

impl Commands {
    /// Commands that are killed when `cancelled` fires.
    pub fn new(cancelled: CancellationToken) -> Self {
        Self { cancelled }
    }

    /// Runs a command to its end; blocks. An error means that it could not be started.
    pub fn run(&self, invocation: &Invocation) -> io::Result<Output> {
        let started = Instant::now();
        let mut guard = Guard::start()?;
        let child = spawn(invocation, guard.group())?;
        let events = attach(child, invocation);
        let mut collected = Collected::default();
        let end = self.follow(&events, &mut collected, started + invocation.timeout);
        guard.kill()?;
        let exited = collect_rest(&events, &mut collected);
        Ok(Output {
            end: end.or(exited.map(End::Exited)).unwrap_or(End::TimedOut),
            truncated: collected.stdout.dropped || collected.stderr.dropped,
            stdout: collected.stdout.bytes,
            stderr: collected.stderr.bytes,
            duration: started.elapsed(),
        })
    }

    /// Waits until the command has exited or must be stopped.
    fn follow(&self, events: &Receiver<Event>, collected: &mut Collected, deadline: Instant) -> Option<End> {
        loop {
            if self.cancelled.is_cancelled() {
                return Some(End::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(End::TimedOut);
            }
            match events.recv_timeout(left.min(CANCEL_POLL)) {
                Ok(Event::Exited(code)) => return Some(End::Exited(code)),
                Ok(Event::Overflow) => return Some(End::Overflowed),
                Ok(event) => collected.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// Takes what still arrives once the group is dead; answers the exit code if it comes by.
fn collect_rest(events: &Receiver<Event>, collected: &mut Collected) -> Option<i32> {
    let deadline = Instant::now() + OUTPUT_GRACE;
    let mut code = None;
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        match event {
            Event::Exited(exited) => code = Some(exited),
            event => collected.take(event),
        }
    }
    code
}

/// The leader of a command's process group, and what kills it when the runner is gone.
#[derive(Debug)]
struct Guard {
    shell: Child,
}

impl Guard {
    fn start() -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", "read -r _; kill -KILL 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Id of the group. It cannot be given to others before the guard is reaped.
    fn group(&self) -> u32 {
        self.shell.id()
    }

    fn kill(&mut self) -> io::Result<()> {
        let group = i32::try_from(self.group()).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
            // The guard's pipe closes next, which ends the group as well.
            tracing::debug!(%error, "a process group could not be killed");
        }
        drop(self.shell.stdin.take());
        self.shell.wait().map(drop)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closes the pipe: a guard that was not killed now kills its group and is reaped here.
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            tracing::warn!(%error, "a guard could not be waited for");
        }
    }
}

fn spawn(invocation: &Invocation, group: u32) -> io::Result<Child> {
    let mut command = Command::new(&invocation.program);
    command
        .args(&invocation.args)
        .envs(invocation.env.iter().map(|(key, value)| (key, value)))
        .stdin(if invocation.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(i32::try_from(group).map_err(io::Error::other)?);
    for key in &invocation.without_env {
        command.env_remove(key);
    }
    if let Some(cwd) = &invocation.cwd {
        command.current_dir(cwd);
    }
    command.spawn()
}

/// What the threads around a child report.
enum Event {
    Exited(i32),
    Overflow,
    Stdout(Kept),
    Stderr(Kept),
}

/// What was kept of one stream.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    dropped: bool,
}

#[derive(Debug, Default)]
struct Collected {
    stdout: Kept,
    stderr: Kept,
}

impl Collected {
    fn take(&mut self, event: Event) {
        match event {
            Event::Stdout(kept) => self.stdout = kept,
            Event::Stderr(kept) => self.stderr = kept,
            Event::Exited(_) | Event::Overflow => {}
        }
    }
}

/// Starts the threads that feed, read and wait for a child.
fn attach(mut child: Child, invocation: &Invocation) -> Receiver<Event> {
    let (events, received) = mpsc::channel();
    if let Some(stdin) = child.stdin.take() {
        let input = invocation.stdin.clone();
        thread::spawn(move || feed(stdin, &input));
    }
    if let Some(stdout) = child.stdout.take() {
        let (events, keep) = (events.clone(), invocation.stdout);
        thread::spawn(move || report(&events, Event::Stdout(read(stdout, keep, &events))));
    }
    if let Some(stderr) = child.stderr.take() {
        let (events, keep) = (events.clone(), invocation.stderr);
        thread::spawn(move || report(&events, Event::Stderr(read(stderr, keep, &events))));
    }
    thread::spawn(move || report(&events, wait(child)));
    received
}

fn wait(mut child: Child) -> Event {
    let status = child.wait().ok();
    let code = status.and_then(|status| status.code().or(status.signal().map(|signal| 128 + signal)));
    Event::Exited(code.unwrap_or(-1))
}

fn report(events: &Sender<Event>, event: Event) {
    // Nobody listens any more once the command's time was over.
    drop(events.send(event));
}

fn feed(mut stdin: impl Write, input: &[u8]) {
    // A command that stops reading is its own affair: its exit code tells.
    drop(stdin.write_all(input));
}

fn read(mut stream: impl Read, keep: Keep, events: &Sender<Event>) -> Kept {
    let mut kept = Kept::default();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.bytes.extend_from_slice(&buffer[..count]);
        match keep {
            Keep::First(most) if kept.bytes.len() > most => {
                kept.bytes.truncate(most);
                kept.dropped = true;
                report(events, Event::Overflow);
                return kept;
            }
            Keep::Last(most) if kept.bytes.len() > most.saturating_mul(2) => kept.shorten(most),
            Keep::First(_) | Keep::Last(_) => {}
        }
    }
    if let Keep::Last(most) = keep {
        kept.shorten(most);
    }
    kept
}

impl Kept {
    fn shorten(&mut self, most: usize) {
        if self.bytes.len() > most {
            self.bytes.drain(..self.bytes.len() - most);
            self.dropped = true;
        }
    }
}

#[cfg(test)]
mod tests;
