//! The real `nova` command, in a home of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nova_client::{Credential, Credentials, Endpoints, Mesh};
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;

/// A home, and the command that uses it. A mesh that runs there is taken down when this is dropped.
#[derive(Debug)]
pub struct Nova {
    folder: TempDir,
    home: PathBuf,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// What a command's end has left.
    pub fn of(output: &Output) -> Self {
        let code = output.status.code().unwrap_or(-1);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The output, after a look at the exit code.
    ///
    /// # Panics
    /// When it is not 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The output as JSON, after a look at the exit code.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

impl Nova {
    /// A fresh home, on a path with a space.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("nova home ").tempdir().expect("a folder for the test");
        let home = folder.path().join("home");
        Self { folder, home }
    }

    /// A folder beside the home, for what a test needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command that is not started yet. Its environment is this one without `NOVA_…`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(executable());
        self.at_home(&mut command).args(args).stdin(Stdio::null());
        command
    }

    /// Lets a program that starts `nova`, or speaks with its mesh, know this home and nothing else of `NOVA_…`: no
    /// store or identity of whoever runs the tests. What it needs beside is set after this.
    pub fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("NOVA_")) {
            command.env_remove(key);
        }
        command.env("NOVA_HOME", &self.home)
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().expect("nova starts"))
    }

    /// Starts a command and leaves it to itself; its output is kept.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nova starts")
    }

    /// What stands in `mesh.json`; none when there is none.
    pub fn mesh_file(&self) -> Option<Value> {
        let text = fs::read_to_string(self.home.join("mesh.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Process id of a daemon, once it has one.
    pub fn pid_of(&self, daemon: &str) -> u32 {
        eventually(&format!("{daemon} has a process"), Duration::from_secs(60), || {
            let pid = self.mesh_file()?["pids"][daemon].as_u64()?;
            u32::try_from(pid).ok()
        })
    }

    /// Clients with the operator's certificate. Call it while a mesh runs.
    ///
    /// # Panics
    /// When none does.
    pub fn mesh(&self) -> Mesh {
        nova_client::install_crypto_provider();
        let credentials = Credentials::new(self.operator()).expect("the operator's certificate is good");
        Mesh::new(self.endpoints(), credentials).expect("endpoints are URLs")
    }

    /// Where the daemons are.
    pub fn endpoints(&self) -> Endpoints {
        self.listed("endpoints")
    }

    /// Where they listen without TLS, in a mesh that was brought up with `--plaintext`.
    pub fn plaintext_endpoints(&self) -> Endpoints {
        self.listed("plaintext")
    }

    fn listed(&self, which: &str) -> Endpoints {
        let file = self.mesh_file().expect("a mesh runs");
        serde_json::from_value(file[which].clone()).expect("mesh.json holds endpoints")
    }

    /// Clients of the daemons at `endpoints` that show a bearer token, or nothing.
    ///
    /// # Panics
    /// When no mesh runs.
    pub fn bearer(&self, token: Option<String>, endpoints: Endpoints) -> Mesh {
        nova_client::install_crypto_provider();
        let shown = Credential::bearer(self.operator().roots, token);
        let credentials = Credentials::new(shown).expect("the roots are good");
        Mesh::new(endpoints, credentials).expect("endpoints are URLs")
    }

    /// The operator's certificate.
    pub fn operator(&self) -> Credential {
        let read =
            |part: &str| fs::read_to_string(self.home.join("operator").join(part)).expect("a mesh ran here");
        Credential::from_pem(&read("chain.pem"), &read("key.pem"), &read("bundle.pem")).expect("PEM text")
    }

    /// Processes of the session that `pid` leads: a mesh and everything below it.
    pub fn session(pid: u64) -> Vec<u64> {
        let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        pids.filter(|candidate| session_of(*candidate) == Some(pid)).collect()
    }
}

impl Default for Nova {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nova {
    fn drop(&mut self) {
        if self.mesh_file().is_some() {
            let ran = self.run(&["down"]);
            if ran.code != 0 && !std::thread::panicking() {
                panic!("nova down failed: {}", ran.stderr);
            }
        }
    }
}

/// The session of a process that lives (zombies do not).
fn session_of(pid: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, session) = (fields.next()?, fields.nth(2)?);
    if state == "Z" { None } else { session.parse().ok() }
}

/// `nova` of the same build: tests lie in `target/<profile>/deps`, programs such as the bench beside `nova`.
fn executable() -> PathBuf {
    let own = std::env::current_exe().expect("an executable has a path");
    let folder = own.parent().expect("an executable lies in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder };
    let nova = folder.join("nova");
    assert!(
        nova.exists(),
        "{} is missing: build it first, with the same profile: `cargo build -p nova`",
        nova.display()
    );
    nova
}
