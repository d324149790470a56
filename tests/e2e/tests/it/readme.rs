//! Every command of README's code blocks, run in order as a reader would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nova_testkit::Nova;

/// How README starts `nova` where it is not on the PATH yet.
const CARGO: &str = "cargo run --release --";

#[test]
fn every_command_of_the_readme_runs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let commands = commands(&fs::read_to_string(root.join("README.md")).unwrap());
    assert!(commands.len() >= 8, "README shows how to begin: {commands:?}");
    let nova = Nova::new();
    let path = path_with_nova(&nova);
    for command in commands {
        let mut shell = Command::new("sh");
        nova.at_home(&mut shell).args(["-c", &command]).current_dir(&root).env("PATH", &path);
        let output = shell.output().expect("there is a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{}\n{stderr}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The lines of `sh` blocks, without their remarks.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.trim().is_empty() => commands.push(command(line)),
            _ => {}
        }
    }
    commands
}

fn command(line: &str) -> String {
    line.split(" #").next().unwrap_or(line).trim().replace(CARGO, "nova")
}

fn path_with_nova(nova: &Nova) -> String {
    let folder = nova.folder().join("bin");
    fs::create_dir(&folder).expect("a fresh folder");
    symlink(nova.command(&[]).get_program(), folder.join("nova")).expect("a link to nova");
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", Path::new(&folder).display())
}
