//! `host.disk`: file systems and the room left on them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;
use sysinfo::{Disk, DiskRefreshKind, Disks};

use super::unreadable;
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// File systems reported at most.
const MOST: usize = 64;
/// A file system this full is noted, in percent.
const FULL: f64 = 90.0;

/// The file systems of this host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiskFinding {
    /// One for each device or volume, largest first, at most 64.
    pub volumes: Vec<Volume>,
    /// How many there are in all.
    pub found: usize,
}

/// A file system; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Volume {
    /// Where it is mounted.
    pub mount: String,
    /// What it is on.
    pub device: String,
    /// Its type, such as `ext4`.
    pub file_system: String,
    /// Its size.
    pub total: u64,
    /// What may still be written.
    pub available: u64,
    /// How full it is, in percent.
    pub used_percent: f64,
    /// True when nothing can be written.
    pub read_only: bool,
}

/// Serves `host.disk`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine()?)
}

/// Looks at the file systems; one that is mounted several times is told once.
pub fn examine() -> Result<DiskFinding, SkillError> {
    let kind = DiskRefreshKind::nothing().with_storage();
    let disks = Disks::new_with_refreshed_list_specifics(kind).map_err(unreadable("the disks"))?;
    let mut volumes: Vec<Volume> = disks.iter().filter(|disk| disk.total_space() > 0).map(volume).collect();
    volumes.sort_by(|a, b| (b.total, &a.device, &a.mount).cmp(&(a.total, &b.device, &b.mount)));
    let mut seen = BTreeSet::new();
    volumes.retain(|volume| seen.insert(volume.identity()));
    let found = volumes.len();
    volumes.truncate(MOST);
    Ok(DiskFinding { volumes, found })
}

fn volume(disk: &Disk) -> Volume {
    let (total, available) = (disk.total_space(), disk.available_space());
    Volume {
        mount: disk.mount_point().display().to_string(),
        device: disk.name().to_string_lossy().into_owned(),
        file_system: disk.file_system().to_string_lossy().into_owned(),
        total,
        available,
        used_percent: text::percent(total.saturating_sub(available) as f64, total as f64),
        read_only: disk.is_read_only(),
    }
}

impl Volume {
    /// The same for every mount of a file system. `tmpfs`, `overlay` and their like are all on devices of one name:
    /// what tells them apart is the number that the kernel gives each.
    fn identity(&self) -> String {
        let number = fs::metadata(Path::new(&self.mount)).map(|facts| facts.dev().to_string());
        if self.device.contains('/') {
            self.device.clone()
        } else {
            number.unwrap_or_else(|_| self.mount.clone())
        }
    }
}

impl DiskFinding {
    fn full(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| volume.used_percent >= FULL && !volume.read_only)
    }
}

impl Finding for DiskFinding {
    fn summary(&self) -> String {
        let volumes = self.volumes.iter().map(|volume| {
            format!(
                "{} {} free of {}",
                volume.mount,
                text::bytes(volume.available),
                text::bytes(volume.total)
            )
        });
        let mut summary =
            format!("{}: {}", text::count(self.found as u64, "file system"), text::list(volumes, 4));
        for volume in self.full() {
            summary.push_str(&format!("; {} is {:.0} % full", volume.mount, volume.used_percent));
        }
        summary
    }

    fn importance(&self) -> f64 {
        if self.full().next().is_some() { 0.8 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(device: &str, mount: &str) -> Volume {
        Volume {
            mount: mount.into(),
            device: device.into(),
            file_system: "ext4".into(),
            total: 100,
            available: 5,
            used_percent: 95.0,
            read_only: false,
        }
    }

    #[test]
    fn file_systems_without_a_device_are_told_apart_by_where_they_are() {
        assert_eq!(volume("/dev/sda1", "/").identity(), volume("/dev/sda1", "/data").identity());
        assert_ne!(volume("tmpfs", "/").identity(), volume("tmpfs", "/proc").identity());
        assert_eq!(volume("tmpfs", "/proc").identity(), volume("tmpfs", "/proc/self").identity());
        assert_ne!(volume("tmpfs", "/absent/a").identity(), volume("tmpfs", "/absent/b").identity());
    }

    #[test]
    fn full_volumes_are_named_and_matter_more() {
        let finding = DiskFinding { volumes: vec![volume("/dev/sda1", "/data")], found: 1 };
        assert!(finding.summary().contains("/data is 95 % full"), "{}", finding.summary());
        assert!(finding.importance() > 0.5);
    }

    #[test]
    fn no_volume_uses_more_than_it_has() {
        for volume in examine().unwrap().volumes {
            assert!(volume.available <= volume.total && volume.used_percent <= 100.0, "{volume:?}");
        }
    }
}
