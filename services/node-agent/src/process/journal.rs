//! What runs, written down: a daemon that was killed finds what it left behind, and ends it.
//!
//! One small file per running process, written before the process is handed its credentials and removed when its whole
//! group is gone. The page cache outlives the daemon, and nothing outlives the host, so nothing is synced: a record of an
//! earlier boot is void. A process is known by its pid and its start time together, so that a number that was given
//! to somebody else is never touched.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nova_types::ProcessId;
use serde::{Deserialize, Serialize};

use super::group;
use super::stat::{self, Stat};

/// How long killed processes have to vanish.
const VANISH: Duration = Duration::from_secs(5);

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) process_id: ProcessId,
    /// Pid of the leader, which is the number of the group.
    pub(crate) pid: i32,
    /// Start of the leader, clock ticks after boot.
    pub(crate) start_ticks: u64,
    /// Session that the group was made in.
    session: i32,
    /// Boot in which all this is true.
    boot: String,
}

/// The journal of one data directory, which it holds alone.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    session: i32,
    boot: String,
    _lock: File,
}

impl Journal {
    /// Opens the journal under `data`; fails when another daemon holds it.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let directory = data.join("processes");
        fs::create_dir_all(&directory)?;
        let lock = File::create(data.join("processes.lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::other(format!("another node agent runs on {}", data.display())))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { directory, session: own_session()?, boot, _lock: lock })
    }

    /// Writes down a process that has just been started.
    pub(crate) fn write(&self, process_id: &ProcessId, pid: i32, start_ticks: u64) -> io::Result<()> {
        let (process_id, boot) = (process_id.clone(), self.boot.clone());
        let record = Record { process_id, pid, start_ticks, session: self.session, boot };
        let path = self.path(&record.process_id);
        let unfinished = path.with_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec(&record)?)?;
        fs::rename(unfinished, path)
    }

    /// Strikes out a process whose whole group is gone.
    pub(crate) fn remove(&self, process_id: &ProcessId) -> io::Result<()> {
        match fs::remove_file(self.path(process_id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Ends what a daemon that was killed left running; gives the ids of those. Blocks until they are gone.
    pub(crate) fn recover(&self) -> io::Result<Vec<ProcessId>> {
        let mut ended = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let record = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
            // A file that does not parse is one whose writing was cut short, before the process was let go on.
            if let Some(record) = record.filter(|record| record.boot == self.boot)
                && end_group(&record)?
            {
                ended.push(record.process_id);
            }
            fs::remove_file(path)?;
        }
        Ok(ended)
    }

    fn path(&self, process_id: &ProcessId) -> PathBuf {
        self.directory.join(format!("{process_id}.json"))
    }
}

/// The session that this daemon, and so every process it starts, belongs to. The number is 0 in a container whose
/// session was made outside of it, which `getsid(2)` through a type of positive numbers cannot say.
fn own_session() -> io::Result<i32> {
    let own = i32::try_from(std::process::id()).ok().and_then(Stat::read);
    own.map(|stat| stat.session).ok_or_else(|| io::Error::other("/proc does not show this process"))
}

/// Kills the members of a recorded group until none is left; tells whether there were any.
fn end_group(record: &Record) -> io::Result<bool> {
    let (mut found, deadline) = (false, Instant::now() + VANISH);
    loop {
        let members = members_of(record);
        if members.is_empty() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let message = format!("processes of group {} do not end after SIGKILL", record.pid);
            return Err(io::Error::other(message));
        }
        found = true;
        for member in &members {
            group::kill_exactly(member)?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The living members of the group that was recorded, and of no other that was given its number later.
fn members_of(record: &Record) -> Vec<Stat> {
    // A number is not given to a new process while a group bears it. So a leader that started at another time says that
    // the recorded group had ended before.
    if Stat::read(record.pid).is_some_and(|leader| leader.start_ticks != record.start_ticks) {
        return Vec::new();
    }
    let ours = |stat: &Stat| {
        stat.group == record.pid
            && stat.session == record.session
            && stat.start_ticks >= record.start_ticks
            && stat.is_alive()
    };
    stat::all().filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Stat) {
        let child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let stat = Stat::read(i32::try_from(child.id()).unwrap()).unwrap();
        (child, stat)
    }

    fn id() -> ProcessId {
        ProcessId::parse("process_id", "agent-a").unwrap()
    }

    #[test]
    fn a_process_left_behind_is_ended_and_struck_out() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path()).unwrap();
        let (mut child, stat) = sleeper();
        journal.write(&id(), stat.pid, stat.start_ticks).unwrap();
        assert_eq!(journal.recover().unwrap(), [id()]);
        assert!(!child.wait().unwrap().success());
        assert!(journal.recover().unwrap().is_empty());
    }

    #[test]
    fn a_pid_that_was_given_to_somebody_else_is_not_touched() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path()).unwrap();
        let (mut child, stat) = sleeper();
        journal.write(&id(), stat.pid, stat.start_ticks - 1).unwrap();
        assert!(journal.recover().unwrap().is_empty());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn two_daemons_cannot_share_a_data_directory() {
        let data = tempfile::tempdir().unwrap();
        let _held = Journal::open(data.path()).unwrap();
        assert!(Journal::open(data.path()).unwrap_err().to_string().contains("another node agent"));
    }
}
