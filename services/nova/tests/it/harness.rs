//! Runs `nova` in a home of its own, in which no mesh runs.

use std::process::{Command, Output};

use tempfile::TempDir;

/// A home that is empty.
pub(crate) struct Nova {
    home: TempDir,
}

/// What a command did.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Nova {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    /// Runs `nova` with arguments that have no spaces in them.
    pub(crate) fn run(&self, args: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nova"));
        command.env("NOVA_HOME", self.home.path()).env("NO_COLOR", "1").current_dir(self.home.path());
        Ended::of(&command.args(args.split_whitespace()).output().unwrap())
    }

    /// Writes a file into the folder that commands run in.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.home.path().join(name), content).unwrap();
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}
