//! `/proc/<pid>/stat`, of which the supervisor reads very many: only the fields it needs, without a parse of the rest.

use std::fs;

/// One process, from `proc_pid_stat(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) state: u8,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// CPU time in clock ticks: its own and that of the children it waited for.
    pub(crate) cpu_ticks: u64,
    /// When it started, in clock ticks after boot. With the pid it names a process for good.
    pub(crate) start_ticks: u64,
    pub(crate) resident_pages: u64,
}

impl Stat {
    /// Reads one process; none when there is none.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it still runs: what is dead but not yet reaped holds only its entry in the table.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may itself hold spaces and parentheses: what counts is the last one.
        let (head, tail) = text.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            cpu_ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            start_ticks: number(19)?,
            resident_pages: number(21)?,
        })
    }
}

/// The most memory that a process ever held, bytes: `VmHWM` of `proc_pid_status(5)`. None when it is gone.
pub(crate) fn peak_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kibibytes: u64| kibibytes * 1_024)
}

/// Every process of the host that can be read.
pub(crate) fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text =
            "42 (a) b (c) S 1 42 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 555 1000 9 18446744073709551615";
        let expected = Stat {
            pid: 42,
            state: b'S',
            group: 42,
            session: 7,
            cpu_ticks: 100,
            start_ticks: 555,
            resident_pages: 9,
        };
        assert_eq!(Stat::parse(text), Some(expected));
    }

    #[test]
    fn this_process_is_among_all() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(all().any(|stat| stat.pid == pid && stat.is_alive()));
    }
}
