//! Process groups: who is in one, and how it is ended.
//!
//! A group's number is that of its leader. As long as the leader is not reaped, or any member lives, the kernel gives
//! the number to nobody else: the supervisor signals a group only before it reaps the leader.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, test_kill_process_group,
};
use tokio::time::{Instant, sleep};

use super::stat::{self, Stat};

/// How often a group that is about to end is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Sends `signal` to every member; a group that is gone is left alone.
pub(crate) fn signal(group: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(group, signal) {
        Err(Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The members that still run.
pub(crate) fn members(group: i32) -> Vec<Stat> {
    stat::all().filter(|stat| stat.group == group && stat.is_alive()).collect()
}

/// Waits until no member runs, or until `deadline`; tells whether none runs.
pub(crate) async fn until_empty(group: Pid, deadline: Instant) -> bool {
    loop {
        if is_empty(group).await {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL).await;
    }
}

/// Cheap when nobody is left; a scan of all processes when somebody is, as the dead count for the kernel until reaped.
async fn is_empty(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(Errno::SRCH) {
        return true;
    }
    let number = group.as_raw_pid();
    tokio::task::spawn_blocking(move || members(number).is_empty()).await.unwrap_or(false)
}

/// Kills exactly the process that `stat` was read from: a later one with its number is never touched.
pub(crate) fn kill_exactly(stat: &Stat) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(stat.pid) else { return Ok(()) };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    // The descriptor names one process for good; what it names is known by its start.
    if Stat::read(stat.pid).is_none_or(|now| now.start_ticks != stat.start_ticks) {
        return Ok(());
    }
    match pidfd_send_signal(&descriptor, Signal::KILL) {
        Err(Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
