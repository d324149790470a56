//! Whether there is room for what the daemon keeps in its folder.
//!
//! A full disk fails commits one by one, and each of them tells its caller; this tells whoever looks after the daemon,
//! before it is full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Readiness;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// Looks over and over how much is free for `folder`, and tells whether it is at least `least` MiB.
pub(crate) async fn follow(folder: PathBuf, least: u64, disk: Readiness) {
    loop {
        match shortage(&folder, least) {
            None => disk.ready(),
            Some(why) => disk.not_ready(why),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What is wrong; none when there is room, or nobody can tell.
fn shortage(folder: &Path, least: u64) -> Option<String> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) / MIB;
    (free < least).then(|| format!("{free} MiB are free for {}, less than {least}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_less_than_is_asked_for_is_told_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(shortage(folder.path(), 0), None);
        let told = shortage(folder.path(), u64::MAX).unwrap();
        assert!(
            told.contains(" MiB are free for ") && told.contains(folder.path().to_str().unwrap()),
            "{told}"
        );
    }
}
