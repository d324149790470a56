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
        Self { home: TempDir::new().expect("a temporary folder") }
    }

    /// Runs `nova` with arguments that have no spaces in them.
    pub(crate) fn run(&self, args: &str) -> Ended {
        Ended::of(&self.command(args).output().expect("nova can be started"))
    }

    /// The exit code where nobody reads what it says.
    pub(crate) fn run_unread(&self, args: &str) -> i32 {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = self.command(args);
        command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        command.status().expect("nova can be started").code().expect("no signal ended it")
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nova"));
        command.env("NOVA_HOME", self.home.path()).env("NO_COLOR", "1").current_dir(self.home.path());
        command.args(args.split_whitespace());
        command
    }

    /// Whether there is something of this name in the folder that commands run in.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.home.path().join(name).exists()
    }

    /// Writes a file into the folder that commands run in.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.home.path().join(name), content).expect("the home can be written");
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout.clone()).expect("output is text"),
            stderr: String::from_utf8(output.stderr.clone()).expect("output is text"),
        }
    }
}
