//! Child processes, bounded in time and output, that never outlive the runner.
//!
//! Every command runs in a process group of its own, led by a small guard: a shell that reads from
//! a pipe which only the runner holds. When the runner ends, in whatever way, the pipe closes and the
//! guard kills the group. When a command ends or its time is over, the runner kills the group,
//! so that nothing a command left in the background stays. What left the group lives on; it may hold
//! the command's output open, which is waited for no longer than a moment: what was read by then is kept.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

mod capture;
mod guard;

use capture::Capture;
use guard::Guard;

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
    pub args: Vec<OsString>,
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
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
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
    pub stdout: Stream,
    /// What was kept of its errors.
    pub stderr: Stream,
    /// How long it ran.
    pub duration: Duration,
}

impl Output {
    /// True when some of the output or of the errors is not there.
    pub fn truncated(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().any(|stream| stream.dropped || stream.unfinished)
    }
}

/// What was kept of what a command wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// True when it wrote more than was to be kept.
    pub dropped: bool,
    /// True when a process that outlived the command could still write.
    pub unfinished: bool,
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
        let attached = Attached::to(child, invocation);
        let end = self.follow(&attached.events, started + invocation.timeout);
        guard.kill()?;
        let exited = await_output(&attached.events);
        Ok(Output {
            end: end.or(exited.map(End::Exited)).unwrap_or(End::TimedOut),
            stdout: attached.stdout.take(),
            stderr: attached.stderr.take(),
            duration: started.elapsed(),
        })
    }

    /// Waits until the command has exited or must be stopped.
    fn follow(&self, events: &Receiver<Event>, deadline: Instant) -> Option<End> {
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
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// Waits for the end of what still arrives once the group is dead; answers the exit code if it comes by.
fn await_output(events: &Receiver<Event>) -> Option<i32> {
    let deadline = Instant::now() + OUTPUT_GRACE;
    let mut code = None;
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Event::Exited(exited) = event {
            code = Some(exited);
        }
    }
    code
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

/// What the threads around a child report. Each holds a sender until it is done: when all are, the channel closes.
enum Event {
    Exited(i32),
    Overflow,
}

/// A child with the threads that feed, read and wait for it.
struct Attached {
    events: Receiver<Event>,
    stdout: Capture,
    stderr: Capture,
}

impl Attached {
    fn to(mut child: Child, invocation: &Invocation) -> Self {
        let (sender, events) = mpsc::channel();
        if let Some(stdin) = child.stdin.take() {
            let input = invocation.stdin.clone();
            thread::spawn(move || feed(stdin, &input));
        }
        let stdout = Capture::of(child.stdout.take(), invocation.stdout, &sender);
        let stderr = Capture::of(child.stderr.take(), invocation.stderr, &sender);
        thread::spawn(move || report(&sender, wait(child)));
        Self { events, stdout, stderr }
    }
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

#[cfg(test)]
mod tests;
