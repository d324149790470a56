//! Resource limits, put on a process after it started.
//!
//! There is no safe way to set them between fork and exec. What the leader forks later inherits its limits;
//! what it forked before they were set is found in its group and limited too.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use super::group;
use super::spec::Limits;

/// The daemon's own limit of open files, raised for itself and handed on to its children as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenFiles {
    soft: Option<u64>,
    hard: Option<u64>,
}

impl OpenFiles {
    /// Raises the limit of this process as far as it may: a supervised process holds five descriptors.
    pub(crate) fn raise() -> io::Result<Self> {
        let Rlimit { current: soft, maximum: hard } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })?;
        Ok(Self { soft, hard })
    }
}

/// Limits `leader` and what it has forked already.
pub(crate) fn apply(leader: Pid, limits: &Limits, inherited: OpenFiles) -> io::Result<()> {
    let open_files = match limits.open_files {
        Some(limit) => capped(limit, inherited.hard),
        None => Rlimit { current: inherited.soft, maximum: inherited.hard },
    };
    limit(leader, Resource::Nofile, open_files)?;
    apply_given(leader, limits)?;
    if limits.memory_bytes.or(limits.cpu_seconds).is_some() {
        for member in group::members(leader.as_raw_pid()) {
            if let Some(pid) = Pid::from_raw(member.pid) {
                apply_given(pid, limits)?;
            }
        }
    }
    Ok(())
}

fn apply_given(pid: Pid, limits: &Limits) -> io::Result<()> {
    let limits = [(Resource::As, limits.memory_bytes), (Resource::Cpu, limits.cpu_seconds)];
    let mut given = limits.into_iter().filter_map(|(resource, value)| Some((resource, value?)));
    given.try_for_each(|(resource, value)| limit(pid, resource, capped(value, getrlimit(resource).maximum)))
}

/// A limit for both soft and hard, no higher than the daemon's own hard one, which only root may pass.
fn capped(limit: u64, hard: Option<u64>) -> Rlimit {
    let limit = hard.map_or(limit, |hard| limit.min(hard));
    Rlimit { current: Some(limit), maximum: Some(limit) }
}

/// One that ended meanwhile needs no limit.
fn limit(pid: Pid, resource: Resource, limit: Rlimit) -> io::Result<()> {
    match prlimit(Some(pid), resource, limit) {
        Err(rustix::io::Errno::SRCH) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
