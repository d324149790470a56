//! Only the runtime reads the environment, handles signals and spawns without a name: everything else is told.

use nova_repo::files::{self, File};
use nova_repo::rust;

/// The last is how a flag takes its default from there.
const ENVIRONMENT: &[&str] =
    &["env::var(", "env::var_os(", "env::vars(", "env::vars_os(", "env::set_var(", ", env = "];
const SPAWN: &[&str] = &["tokio::spawn(", "task::spawn("];
const SIGNALS: &[&str] = &["tokio::signal", "signal::unix", "signal::ctrl_c", "signal_hook"];
const CLOCK: &[&str] = &["SystemTime::now("];

/// Where it is their business.
const AT_HOME: &[&str] = &["libs/runtime/", "libs/testkit/", "services/nova/", "examples/", "tests/"];

/// Who does it all the same, and why. May only shrink.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The processes that it starts are given PATH, HOME, LANG and TZ, and nothing else.
    ("services/node-agent/src/lib.rs", "env::var_os("),
    // How deep it runs inside of the tests of its own repository.
    ("services/runner/src/arguments.rs", ", env = "),
    // A task that ends with the store, whoever opened it.
    ("libs/storage/src/kv/redis/watcher.rs", "tokio::spawn("),
    // A task that outlives all that calls it: what leads the ledger gives it back at the end.
    ("services/queue/src/store/open.rs", "tokio::spawn("),
    // `run_until_signal`, for workers of users, which have no runtime.
    ("libs/worker/src/signals.rs", "signal::unix"),
    ("libs/worker/src/signals.rs", "tokio::signal"),
    // The one clock.
    ("libs/types/src/clock.rs", "SystemTime::now("),
];

#[test]
fn only_the_runtime_reads_the_environment() {
    assert_only_at_home(ENVIRONMENT);
}

#[test]
fn only_the_runtime_handles_signals() {
    assert_only_at_home(SIGNALS);
}

#[test]
fn only_the_runtime_spawns_tasks_without_a_name() {
    assert_only_at_home(SPAWN);
}

#[test]
fn time_is_taken_from_the_clock() {
    assert_only_at_home(CLOCK);
}

#[test]
fn each_exception_is_needed() {
    for (path, word) in EXCEPTIONS {
        let code = rust::without_tests(&rust::code(&files::file(path).text));
        assert!(code.contains(word), "{path} does not use {word} any more: remove the exception");
    }
}

#[track_caller]
fn assert_only_at_home(words: &[&str]) {
    let mut found = Vec::new();
    for file in files::with_extension("rs").iter().filter(|file| file.is_source() && !file.is_in(AT_HOME)) {
        let code = rust::without_tests(&rust::code(&file.text));
        found.extend(words.iter().filter(|word| code.contains(**word)).map(|word| place(file, &code, word)));
    }
    found.retain(|(path, word, _)| !EXCEPTIONS.contains(&(path.as_str(), *word)));
    assert!(found.is_empty(), "{found:#?}");
}

fn place<'a>(file: &File, code: &str, word: &&'a str) -> (String, &'a str, usize) {
    let place = code.find(*word).expect("it was found");
    (file.path.clone(), word, rust::line_of(code, place))
}
