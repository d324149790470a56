//! The leader of a command's process group, and what kills it when the runner is gone.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A shell that kills its own group when its input ends.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) shell: Child,
}

impl Guard {
    pub(super) fn start() -> io::Result<Self> {
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
    pub(super) fn group(&self) -> u32 {
        self.shell.id()
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
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
