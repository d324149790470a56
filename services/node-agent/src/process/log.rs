//! The output of one process: the last lines in memory, all of them on disk.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nova_types::{ProcessId, Timestamp};
use tokio::sync::watch;

use super::log_file::LogFile;
use crate::config::LogConfig;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The node agent, about the log itself.
    Nova,
}

impl Source {
    /// Its name on the wire and on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Nova => "nova",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub time: Timestamp,
    /// Where it came from.
    pub source: Source,
    /// The line, without its end.
    pub text: Arc<str>,
}

/// The log of one process, over all its starts.
#[derive(Debug)]
pub(crate) struct Log {
    config: LogConfig,
    ring: Mutex<Ring>,
    file: Arc<Mutex<LogFile>>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the line after the last.
    next: u64,
    file_is_broken: bool,
}

/// Lines read from a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    /// Lines that were gone before they could be read.
    pub(crate) missed: u64,
    /// Where to read on.
    pub(crate) next: u64,
}

impl Log {
    pub(crate) fn new(directory: &Path, process: &ProcessId, config: LogConfig) -> Self {
        let path = directory.join(format!("{process}.log"));
        let file = LogFile::new(path, config.file_bytes, config.rotated_files);
        Self {
            config,
            ring: Mutex::default(),
            file: Arc::new(Mutex::new(file)),
            written: watch::Sender::new(0),
        }
    }

    /// Appends lines, to the file first.
    pub(crate) async fn append(&self, time: Timestamp, source: Source, lines: Vec<String>) {
        let result = self.append_to_file(time, source, &lines).await;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = ring.file_note(result) {
            ring.push(Line { time, source: Source::Nova, text: note.into() }, &self.config);
        }
        for text in lines {
            ring.push(Line { time, source, text: text.into() }, &self.config);
        }
        self.written.send_replace(ring.next);
    }

    /// Where the last `count` lines begin.
    pub(crate) fn tail(&self, count: usize) -> u64 {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.next - count.min(ring.lines.len()) as u64
    }

    /// At most `max` lines from number `from` on.
    pub(crate) fn read(&self, from: u64, max: usize) -> Batch {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.next - ring.lines.len() as u64;
        let start = from.max(oldest);
        let skipped = usize::try_from(start - oldest).unwrap_or(usize::MAX);
        let lines: Vec<Line> = ring.lines.iter().skip(skipped).take(max).cloned().collect();
        Batch { next: start + lines.len() as u64, missed: start - from, lines }
    }

    /// Tells when lines were written.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Closes the file until more is written.
    pub(crate) fn close(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).close();
    }

    /// Deletes the files: the process is forgotten.
    pub(crate) fn remove(&self) {
        if let Err(error) = self.file.lock().unwrap_or_else(PoisonError::into_inner).remove() {
            tracing::warn!(%error, "the log of a process that is forgotten is left");
        }
    }

    async fn append_to_file(&self, time: Timestamp, source: Source, lines: &[String]) -> Result<(), String> {
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{time} {} {line}", source.as_str()).expect("a String takes all");
        }
        let file = Arc::clone(&self.file);
        let append = move || file.lock().unwrap_or_else(PoisonError::into_inner).append(text.as_bytes());
        match tokio::task::spawn_blocking(append).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Ring {
    fn push(&mut self, line: Line, config: &LogConfig) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        self.next += 1;
        while self.lines.len() > config.ring_lines || self.bytes > config.ring_bytes {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.text.len();
        }
    }

    /// What the readers should know of the file: that it broke, or that it is whole again.
    fn file_note(&mut self, result: Result<(), String>) -> Option<String> {
        let was_broken = std::mem::replace(&mut self.file_is_broken, result.is_err());
        match result {
            Err(error) if !was_broken => {
                tracing::error!(error, "the log file of a process cannot be written");
                Some(format!("the log file cannot be written, lines are kept in memory only: {error}"))
            }
            Ok(()) if was_broken => Some("the log file is written again".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(directory: &Path, ring_lines: usize, ring_bytes: usize) -> Log {
        let config = LogConfig { ring_lines, ring_bytes, ..LogConfig::default() };
        Log::new(directory, &ProcessId::parse("id", "a").unwrap(), config)
    }

    async fn write(log: &Log, lines: &[&str]) {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        log.append(Timestamp::from_micros(0), Source::Stdout, lines).await;
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(|line| &*line.text).collect()
    }

    #[tokio::test]
    async fn the_ring_holds_no_more_lines_than_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(directory.path(), 2, 1_000);
        write(&log, &["a", "b", "c"]).await;
        let batch = log.read(0, 10);
        assert_eq!((texts(&batch), batch.missed, batch.next), (vec!["b", "c"], 1, 3));
    }

    #[tokio::test]
    async fn the_ring_holds_no_more_bytes_than_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(directory.path(), 100, 5);
        write(&log, &["aaa", "bbb", "cc"]).await;
        assert_eq!(texts(&log.read(log.tail(100), 10)), ["bbb", "cc"]);
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(directory.path(), 100, 1_000);
        write(&log, &["a", "b"]).await;
        let first = log.read(log.tail(1), 10);
        write(&log, &["c"]).await;
        assert_eq!(texts(&first), ["b"]);
        assert_eq!(texts(&log.read(first.next, 10)), ["c"]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_told_to_the_readers() {
        let directory = tempfile::tempdir().unwrap();
        let log = log(&directory.path().join("missing"), 100, 1_000);
        write(&log, &["a"]).await;
        write(&log, &["b"]).await;
        let batch = log.read(0, 10);
        assert!(texts(&batch)[0].starts_with("the log file cannot be written"));
        assert_eq!(texts(&batch)[1..], ["a", "b"]);
    }
}
