//! What a process wrote to its files and when it synced them, as `strace` saw it.

use std::{path::Path, process::Command};

/// Something that a process did to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Wrote bytes at a place.
    Write(usize, Vec<u8>),
    /// Set the length.
    Truncate(usize),
    /// Waited until all before was on the disk.
    Sync,
}

/// An act on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it began, microseconds since the epoch.
    pub(crate) at: i64,
    /// Name of the file.
    pub(crate) file: String,
    pub(crate) act: Act,
}

/// Whether processes can be watched here.
pub(crate) fn works() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
}

/// Words that run a command and log what each of its threads does into files that begin with `log`.
pub(crate) fn wrapper(log: &str) -> Vec<&str> {
    let calls = "trace=pwrite64,fdatasync,fsync,ftruncate";
    vec!["strace", "-f", "-ff", "-ttt", "-y", "-xx", "-s", "1000000", "--seccomp-bpf", "-e", calls, "-o", log]
}

/// Every step on these files out of the logs in a folder, in order.
pub(crate) fn steps(folder: &Path, files: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    for log in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(log.unwrap().path()).unwrap();
        steps.extend(text.lines().filter_map(step).filter(|step| files.contains(&step.file.as_str())));
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// One line: `<seconds> <call>(<number><<path>>, …) = <result>`; paths and data are in hexadecimal.
fn step(line: &str) -> Option<Step> {
    let (time, rest) = line.split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let at = seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?;
    let (call, rest) = rest.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    let path = String::from_utf8(bytes(path)).ok()?;
    let file = path.rsplit('/').next()?.to_owned();
    let act = match call {
        "pwrite64" => {
            let (_, rest) = rest.split_once('"')?;
            let (data, rest) = rest.split_once('"')?;
            let place = rest.split(", ").nth(2)?.split(')').next()?;
            Act::Write(place.parse().ok()?, bytes(data))
        }
        "ftruncate" => Act::Truncate(rest.trim_start_matches(", ").split(')').next()?.parse().ok()?),
        "fdatasync" | "fsync" => Act::Sync,
        _ => return None,
    };
    Some(Step { at, file, act })
}

fn bytes(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn a_line_of_strace_is_read() {
    let line = r#"17.000020 pwrite64(4<\x2f\x61>, "\x01\x02", 2, 24) = 2"#;
    let step = step(line).unwrap();
    assert_eq!(step, Step { at: 17_000_020, file: "a".into(), act: Act::Write(24, vec![1, 2]) });
}
