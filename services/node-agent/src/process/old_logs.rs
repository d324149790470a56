//! The logs that earlier daemons left: kept as long as few, so that people can read what led to a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The log of one process.
#[derive(Debug)]
struct OldLog {
    written: SystemTime,
    files: Vec<PathBuf>,
}

/// Deletes all but the logs of the `kept` processes that wrote last. Call it while no process runs.
pub(crate) fn sweep(directory: &Path, kept: usize) -> io::Result<()> {
    let mut logs: Vec<OldLog> = find(directory)?.into_values().collect();
    logs.sort_by_key(|log| std::cmp::Reverse(log.written));
    let old = logs.iter().skip(kept).flat_map(|log| &log.files);
    old.into_iter().try_for_each(std::fs::remove_file)
}

/// The logs of a directory, by process.
fn find(directory: &Path) -> io::Result<BTreeMap<String, OldLog>> {
    let mut logs: BTreeMap<String, OldLog> = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(process_of) else { continue };
        let written = entry.metadata()?.modified()?;
        let log = logs.entry(process.to_owned()).or_insert(OldLog { written, files: Vec::new() });
        log.written = log.written.max(written);
        log.files.push(entry.path());
    }
    Ok(logs)
}

/// The process whose log a file is: `<id>.log`, or `<id>.log.<number>`.
fn process_of(file: &str) -> Option<&str> {
    let (process, rest) = file.rsplit_once(".log")?;
    let number = rest.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok());
    (rest.is_empty() || number).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_known_by_its_name() {
        assert_eq!(process_of("agent-a.log"), Some("agent-a"));
        assert_eq!(process_of("agent-a.log.12"), Some("agent-a"));
        assert_eq!(process_of("a.log.1.log"), Some("a.log.1"));
        for other in ["agent-a.json", "agent-a.log.old", "log"] {
            assert_eq!(process_of(other), None);
        }
    }
}
