//! Mounted file systems and their room.

use std::collections::BTreeMap;

use procfs::process::{MountInfo, Process};
use rustix::fs::statvfs;

/// At most this many are told of: a host with many containers mounts very many.
const MOST: usize = 256;

/// Types without room of their own. To look at `autofs` would mount what is below it.
const WITHOUT_ROOM: [&str; 19] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Where.
    pub mount: String,
    /// Type.
    pub kind: String,
    /// Size in bytes.
    pub total: u64,
    /// Free for users, bytes.
    pub available: u64,
}

/// Reads them, by mount; each device once, where it is mounted highest up.
pub(crate) fn read() -> Vec<Filesystem> {
    let Ok(mounts) = Process::myself().and_then(|process| process.mountinfo()) else { return Vec::new() };
    // Of those that are mounted over each other only the last is to be seen.
    let seen: BTreeMap<_, _> = mounts.into_iter().map(|mount| (mount.mount_point.clone(), mount)).collect();
    let mut by_device: BTreeMap<String, MountInfo> = BTreeMap::new();
    for mount in seen.into_values().filter(|mount| !WITHOUT_ROOM.contains(&mount.fs_type.as_str())) {
        let known = by_device.get(&mount.majmin);
        if known.is_none_or(|known| mount.mount_point.as_os_str().len() < known.mount_point.as_os_str().len())
        {
            by_device.insert(mount.majmin.clone(), mount);
        }
    }
    let mut filesystems: Vec<_> = by_device.values().take(MOST).filter_map(measure).collect();
    filesystems.sort_by(|one, other| one.mount.cmp(&other.mount));
    filesystems
}

fn measure(mount: &MountInfo) -> Option<Filesystem> {
    let room = statvfs(&mount.mount_point).ok().filter(|room| room.f_blocks > 0)?;
    Some(Filesystem {
        mount: mount.mount_point.display().to_string(),
        kind: mount.fs_type.clone(),
        total: room.f_blocks.saturating_mul(room.f_frsize),
        available: room.f_bavail.saturating_mul(room.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mount_is_told_twice() {
        let mounts: Vec<String> = read().into_iter().map(|filesystem| filesystem.mount).collect();
        let once: std::collections::BTreeSet<&String> = mounts.iter().collect();
        assert_eq!(once.len(), mounts.len(), "{mounts:?}");
    }

    #[test]
    fn no_file_system_has_more_room_than_it_is_large() {
        for filesystem in read() {
            assert!(filesystem.total > 0 && filesystem.available <= filesystem.total, "{filesystem:?}");
        }
    }
}
