//! Where a mesh on this machine keeps everything: `NOVA_HOME`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nova_client::Endpoints;
use nova_runtime::{Otlp, StoreUrl};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::failure::Misuse;

/// Size of a log at which it is begun anew, bytes.
const LARGEST_LOG: u64 = 16 << 20;

/// Locked by a supervisor for as long as its mesh runs; whoever looks whether one does shares it for a moment.
const MESH_LOCK: &str = "mesh.lock";
/// Shared by those who read from a mesh, which waits for them when it goes down.
const READERS_LOCK: &str = "readers.lock";

/// The store that a home has by default.
const SQLITE: &str = "sqlite";

/// A home folder.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// What stands in `mesh.json` while a mesh runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MeshFile {
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// Whether it can be called.
    #[serde(default)]
    pub(crate) state: MeshState,
    /// When it started, RFC 3339.
    pub(crate) started: String,
    /// `sqlite` or a Redis URL, which may hold a password: [`nova_runtime::StoreUrl::shown`].
    pub(crate) store: String,
    /// gRPC addresses.
    pub(crate) endpoints: Endpoints,
    /// The same without TLS, where that was asked for.
    pub(crate) plaintext: Option<Endpoints>,
    /// HTTP addresses by daemon: `/metrics`, `/ready`, `/live`.
    pub(crate) http: std::collections::BTreeMap<String, String>,
    /// The mesh's own OTLP collector.
    pub(crate) collector: String,
    /// What that wants to be shown; not in what others see of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) collector_token: Option<String>,
    /// Collector that spans are forwarded to.
    pub(crate) otlp: Option<String>,
    /// True when the mesh ends with the command that brought it up.
    pub(crate) for_one_run: bool,
    /// Process ids by daemon.
    pub(crate) pids: std::collections::BTreeMap<String, u32>,
}

/// How far a mesh is. Only one that is ready is of use to a command; for the others it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MeshState {
    Starting,
    #[default]
    Ready,
    Stopping,
}

impl MeshFile {
    /// The mesh's own collector, for those who send it their spans.
    pub(crate) fn own_collector(&self) -> Otlp {
        Otlp { endpoint: self.collector.clone(), token: self.collector_token.clone() }
    }

    /// The same without its secrets.
    pub(crate) fn shown(&self) -> Self {
        Self { store: StoreUrl::shown(&self.store), collector_token: None, ..self.clone() }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == MeshState::Ready
    }
}

/// A lock of a home that is held.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock is held while the file is open")] File);

impl Home {
    /// The home at `path`, or at `NOVA_HOME`, or in the platform's data folder. It need not be there yet.
    pub(crate) fn at(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = path.or_else(named_home).or_else(default_home);
        let path = std::path::absolute(path.context("set NOVA_HOME: there is no home folder to use")?)?;
        Ok(Self(fs::canonicalize(&path).unwrap_or(path)))
    }

    /// Makes the folder when it is missing.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        let made = private_folder(&self.0);
        made.map_err(|error| Misuse::of(format!("cannot use {} as NOVA_HOME: {error}", self.0.display())))
    }

    /// Whether the folder is there.
    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// State of a daemon.
    pub(crate) fn daemon(&self, name: &str) -> PathBuf {
        self.0.join("daemons").join(name)
    }

    /// Log of a daemon.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Opens a log to write on.
    pub(crate) fn open_log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.log(name);
        private_folder(path.parent().context("a log is in a folder")?)?;
        self.rotate(name)?;
        Ok(File::options().create(true).append(true).mode(0o600).open(path)?)
    }

    /// Begins a log that has grown large anew, with a copy of the old one kept beside it. Whoever appends to it goes on with
    /// the same file; a line that is written between the copy and the cut is lost.
    pub(crate) fn rotate(&self, name: &str) -> io::Result<()> {
        let path = self.log(name);
        if path.metadata().is_ok_and(|log| log.len() > LARGEST_LOG) {
            fs::copy(&path, path.with_extension("log.1"))?;
            File::options().write(true).open(&path)?.set_len(0)?;
        }
        Ok(())
    }

    /// The certificate authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("authority")
    }

    /// Recorded traces.
    pub(crate) fn traces(&self) -> PathBuf {
        self.0.join("traces.db")
    }

    /// Reports of runs.
    pub(crate) fn reports(&self) -> PathBuf {
        self.0.join("reports")
    }

    /// The operator's certificate, key and roots, PEM.
    pub(crate) fn operator(&self, part: &str) -> PathBuf {
        self.0.join("operator").join(format!("{part}.pem"))
    }

    /// Takes the home for a mesh. None when a mesh has it, or somebody looks at this moment.
    pub(crate) fn try_lock(&self) -> anyhow::Result<Option<Lock>> {
        self.lock(MESH_LOCK, FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether a mesh has the home.
    pub(crate) fn is_taken(&self) -> anyhow::Result<bool> {
        let known = self.0.join(MESH_LOCK).exists();
        Ok(known && self.lock(MESH_LOCK, FlockOperation::NonBlockingLockShared)?.is_none())
    }

    /// Asks the mesh to stay up while this is held. None at the moment in which it looks for readers.
    pub(crate) fn lock_to_read(&self) -> anyhow::Result<Option<Lock>> {
        self.lock(READERS_LOCK, FlockOperation::NonBlockingLockShared)
    }

    /// Whether somebody reads.
    pub(crate) fn is_read(&self) -> anyhow::Result<bool> {
        Ok(self.lock(READERS_LOCK, FlockOperation::NonBlockingLockExclusive)?.is_none())
    }

    fn lock(&self, name: &str, operation: FlockOperation) -> anyhow::Result<Option<Lock>> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join(name))?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => bail!("cannot lock {}: {error}", self.0.display()),
        }
    }

    /// The mesh that runs here, or comes up or goes down; none when there is none.
    pub(crate) fn running(&self) -> anyhow::Result<Option<MeshFile>> {
        if !self.is_taken()? {
            return Ok(None);
        }
        match fs::read_to_string(self.mesh_file()) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).context("mesh.json is broken")?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The store of the last mesh that was ready here, where its records are.
    pub(crate) fn last_store(&self) -> String {
        fs::read_to_string(self.0.join("store")).unwrap_or_else(|_| SQLITE.to_owned())
    }

    /// Notes the store of a mesh that is ready. One that never was has no records.
    pub(crate) fn remember_store(&self, store: &str) -> anyhow::Result<()> {
        self.write_private(&self.0.join("store"), store)
    }

    /// Says where the mesh is.
    pub(crate) fn announce(&self, mesh: &MeshFile) -> anyhow::Result<()> {
        self.write_private(&self.mesh_file(), &serde_json::to_string_pretty(mesh)?)
    }

    /// Takes it back, also what a supervisor that was killed has left.
    pub(crate) fn withdraw(&self) -> io::Result<()> {
        match fs::remove_file(self.mesh_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn mesh_file(&self) -> PathBuf {
        self.0.join("mesh.json")
    }

    /// Writes a file as a whole, readable by this user alone.
    pub(crate) fn write_private(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        private_folder(path.parent().context("a file is in a folder")?)?;
        let beside = path.with_extension("new");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(beside, path)?;
        Ok(())
    }
}

/// Makes a folder that only this user may enter.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Not an option's value taken from the environment: what is wrong with other options would be told with a usage that
/// looks as if it were required.
fn named_home() -> Option<PathBuf> {
    std::env::var_os("NOVA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The XDG Base Directory Specification ignores paths that are not absolute.
fn default_home() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.or_else(|| Some(std::env::home_dir()?.join(".local/share"))).map(|data| data.join("nova"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_look_do_not_take_each_other_for_a_mesh() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(Some(folder.path().to_owned())).unwrap();
        drop(home.try_lock().unwrap().expect("the home is free"));
        let _looks = home.lock(MESH_LOCK, FlockOperation::NonBlockingLockShared).unwrap().unwrap();
        assert!(!home.is_taken().unwrap());
    }

    #[test]
    fn a_mesh_is_read_while_anybody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(Some(folder.path().to_owned())).unwrap();
        let readers = [home.lock_to_read().unwrap().unwrap(), home.lock_to_read().unwrap().unwrap()];
        assert!(home.is_read().unwrap());
        drop(readers);
        assert!(!home.is_read().unwrap());
    }
}
