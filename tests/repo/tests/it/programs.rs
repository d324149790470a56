//! Programs that are started by name: few, since each must be there or be done without.

use nova_repo::files;

/// Those that a machine has, or that `tests/run` installs.
const THERE: [&str; 6] = ["sh", "cp", "sleep", "git", "redis-server", "rustc"];
/// Those without which something is skipped that says so, or which only a benchmark wants.
const SKIPPED_WITHOUT: [&str; 9] =
    ["openssl", "strace", "python3", "npm", "node", "go", "jaeger", "perf", "sudo"];

#[test]
fn no_program_is_started_that_a_machine_may_lack() {
    let sources = files::with_extension("rs");
    let started = sources.iter().flat_map(|file| {
        let names = file.text.split("Command::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.map(|name| (name.trim_start_matches("/bin/"), &file.path))
    });
    let unknown: Vec<_> = started
        .filter(|(name, path)| {
            !path.ends_with("/programs.rs") && !THERE.contains(name) && !SKIPPED_WITHOUT.contains(name)
        })
        .collect();
    assert!(unknown.is_empty(), "give it a place here, or do without: {unknown:?}");
}
