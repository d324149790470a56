//! A small git repository with something to find in it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes a repository in `folder`: two languages, a dependency, a secret, a large blob, four commits.
///
/// # Panics
/// When git is missing or fails.
pub fn make(folder: &Path) {
    fs::create_dir_all(folder.join("src")).expect("a folder for the repository");
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    write(
        folder,
        "Cargo.toml",
        "[package]\nname = \"fixture\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nserde = \"1\"\n",
    );
    write(folder, "src/main.rs", "fn main() {\n    println!(\"hello\");\n}\n");
    commit(folder, "Say hello");
    write(folder, "deploy.py", &format!("TOKEN = \"ghp_{}\"\n", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"));
    commit(folder, "Add a deploy script");
    write(folder, "data.bin", &"0123456789abcdef".repeat(40_000));
    commit(folder, "Add data");
    write(folder, "src/main.rs", "fn main() {\n    println!(\"hello, world\");\n}\n");
    commit(folder, "Greet the world");
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file of the repository");
}

fn commit(folder: &Path, subject: &str) {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", subject]);
}

fn git(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"];
    let status = Command::new("git").arg("-C").arg(folder).args(identity).args(args).status();
    assert!(status.expect("git is installed").success(), "git {args:?} failed");
}
