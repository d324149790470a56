//! One start of a process: its own group, a cleared environment, pipes on all three standard descriptors.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::group;
use super::spec::Spec;
use super::stat::Stat;
use super::status::Cause;

/// Variables of the daemon that every process inherits, where they are set.
pub const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "NOVA_DEPTH"];

/// A command ready to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) first_args: Vec<String>,
    pub(crate) inherited: Vec<(String, OsString)>,
}

/// A child that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: Pid,
    pub(crate) start_ticks: u64,
    child: Child,
    is_reaped: bool,
    exit: AsyncFd<OwnedFd>,
}

/// The daemon's ends of a child's pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Launch {
    /// Starts what `spec` asks for. One that is dropped before it is reaped is killed.
    pub(crate) fn start(&self, spec: &Spec) -> io::Result<(Running, Pipes)> {
        let mut child = self.command(spec).spawn()?;
        match adopt(&mut child) {
            Ok((pid, start_ticks, exit, pipes)) => {
                Ok((Running { pid, start_ticks, child, is_reaped: false, exit }, pipes))
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn command(&self, spec: &Spec) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first_args).args(&spec.args);
        command.env_clear().envs(self.inherited.iter().cloned()).envs(&spec.environment);
        if let Some(directory) = &spec.working_directory {
            command.current_dir(directory);
        }
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn adopt(child: &mut Child) -> io::Result<(Pid, u64, AsyncFd<OwnedFd>, Pipes)> {
    let gone = || io::Error::other("the child has no pid");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    // Not reaped yet, so that its entry in /proc is there even when it has ended already.
    let start_ticks = Stat::read(pid.as_raw_pid()).ok_or_else(gone)?.start_ticks;
    let exit = watchable(pidfd_open(pid, PidfdFlags::empty())?)?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("the child has no pipes"));
    };
    let pipes = Pipes {
        stdin: ChildStdin::from_std(stdin)?,
        stdout: ChildStdout::from_std(stdout)?,
        stderr: ChildStderr::from_std(stderr)?,
    };
    Ok((pid, start_ticks, exit, pipes))
}

#[expect(
    deprecated,
    reason = "for types that may give another descriptor later; an OwnedFd does not, and the replacement is unsafe"
)]
fn watchable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

impl Running {
    /// Waits until it has ended. It is not reaped: its number, and its group's, stay its own.
    pub(crate) async fn ended(&self) -> io::Result<Cause> {
        loop {
            let mut ready = self.exit.readable().await?;
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if let Some(status) = waitid(WaitId::PidFd(self.exit.as_fd()), options)? {
                let code = status.exit_status().map(Cause::Exit);
                let signal = status.terminating_signal().map(Cause::Signal);
                return code.or(signal).ok_or_else(|| io::Error::other("neither exited nor killed"));
            }
            ready.clear_ready();
        }
    }

    /// Reaps one that has ended. Its group must not be signalled after this.
    pub(crate) fn reap(&mut self) -> io::Result<()> {
        self.is_reaped = true;
        self.child.wait().map(drop)
    }
}

/// A supervision that is cut off takes its group with it.
impl Drop for Running {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        let ended = group::signal(self.pid, Signal::KILL).and_then(|()| self.reap());
        if let Err(error) = ended {
            tracing::error!(pid = self.pid.as_raw_pid(), %error, "a process that is not supervised any more runs on");
        }
    }
}
