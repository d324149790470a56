//! The output of one process on disk, rotated: `<id>.log`, then `<id>.log.1` and so on, the highest the oldest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A log file. It is open while its process runs.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    rotated: u32,
    open: Option<(File, u64)>,
    is_removed: bool,
}

impl LogFile {
    pub(crate) fn new(path: PathBuf, max_bytes: u64, rotated: u32) -> Self {
        Self { path, max_bytes, rotated, open: None, is_removed: false }
    }

    /// Appends whole lines; rotates before them when the file would grow too large.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_removed {
            return Ok(());
        }
        let added = lines.len() as u64;
        let (_, size) = self.opened()?;
        if *size > 0 && *size + added > self.max_bytes {
            self.rotate()?;
        }
        let (file, size) = self.opened()?;
        file.write_all(lines)?;
        *size += added;
        Ok(())
    }

    /// Closes the file until more is written.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Deletes it, with all that was rotated; what is written from here on is nobody's.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        self.close();
        self.is_removed = true;
        remove_if_there(&self.path)?;
        (1..=self.rotated).try_for_each(|number| remove_if_there(&self.numbered(number)))
    }

    fn opened(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("the log file was just opened"))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.close();
        if self.rotated == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.rotated).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.path, &self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_does_not_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(directory.path().join("a.log"), 8, 2);
        for line in [b"line-1\n", b"line-2\n", b"line-3\n", b"line-4\n"] {
            log.append(line).unwrap();
        }
        log.remove().unwrap();
        log.append(b"late\n").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_oldest_file_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut log = LogFile::new(path.clone(), 8, 2);
        for line in [b"line-1\n", b"line-2\n", b"line-3\n", b"line-4\n"] {
            log.append(line).unwrap();
        }
        let kept = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(kept("a.log"), "line-4\n");
        assert_eq!(kept("a.log.1"), "line-3\n");
        assert_eq!(kept("a.log.2"), "line-2\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_is_there_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        LogFile::new(path.clone(), 100, 1).append(b"one\n").unwrap();
        LogFile::new(path.clone(), 100, 1).append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
