//! The last snapshot on disk, so that a daemon decides from its first moment on.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Module, Snapshot};

/// Name of the file in a daemon's data folder.
pub(crate) const FILE: &str = "policy-snapshot.json";

#[derive(Debug, Clone)]
pub(crate) struct CacheFile(PathBuf);

#[derive(Serialize, Deserialize)]
struct Stored {
    revision: String,
    modules: Vec<Module>,
    data_json: String,
}

impl CacheFile {
    pub(crate) fn within(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    /// The snapshot; none when there is no file, or one whose content is not what it says.
    pub(crate) fn load(&self) -> Option<Snapshot> {
        let text = fs::read_to_string(&self.0).ok()?;
        let stored: Stored = serde_json::from_str(&text).ok()?;
        let snapshot = Snapshot::received(&stored.revision, stored.modules, &stored.data_json);
        snapshot.map_err(|error| tracing::warn!(%error, "the policy on disk is not used")).ok()
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let stored = Stored {
            revision: snapshot.revision().to_owned(),
            modules: snapshot.modules().to_vec(),
            data_json: snapshot.data_json().to_owned(),
        };
        let beside = self.0.with_extension("json.new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_all()?;
        fs::rename(beside, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = CacheFile::within(folder.path());
        assert_eq!(file.load(), None);
        file.save(&Snapshot::bootstrap()).unwrap();
        assert_eq!(file.load(), Some(Snapshot::bootstrap()));
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = CacheFile::within(folder.path());
        file.save(&Snapshot::bootstrap()).unwrap();
        let path = folder.path().join(FILE);
        let changed = fs::read_to_string(&path).unwrap().replace("joining", "agents!");
        fs::write(&path, changed).unwrap();
        assert_eq!(file.load(), None);
    }
}
