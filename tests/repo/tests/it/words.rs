//! Words that must not stand in the code.

use nova_repo::files;
use nova_repo::rust;

/// In any code.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
/// Longest that a test may sleep, milliseconds: as a step of a bounded poll. What it waits for is a state, not time.
const LONGEST_POLL: u64 = 20;
/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for file in files::with_extension("rs") {
        let code = rust::code(&file.text);
        let words = UNFINISHED.iter().filter(|word| code.contains(**word));
        found.extend(words.map(|word| format!("{}: {word}", file.path)));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_test_sleeps_but_between_two_polls() {
    let mut found = Vec::new();
    for file in files::with_extension("rs").iter().filter(|file| !file.is_in(&["libs/testkit/"])) {
        let code = rust::code(&file.text);
        let tests = if file.is_source() { only_tests(&code) } else { code };
        let sleeps = tests.lines().zip(1..).filter(|(line, _)| line.contains("sleep(") && !is_a_poll(line));
        found.extend(sleeps.map(|(_, number)| format!("{}:{number}", file.path)));
    }
    assert!(found.is_empty(), "hold a clock, or poll with `eventually`: {found:#?}");
}

/// Whether the line sleeps for the time of one poll, given as a number.
fn is_a_poll(line: &str) -> bool {
    let number =
        line.split_once("from_millis(").and_then(|(_, rest)| rest.split_once(')')).map(|(number, _)| number);
    number.and_then(|number| number.parse::<u64>().ok()).is_some_and(|millis| millis <= LONGEST_POLL)
}

#[test]
fn names_of_files_say_something() {
    let files = files::with_extension("rs");
    let words = |path: &str| path.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    let bad =
        files.iter().filter(|file| words(&file.path).iter().any(|word| EMPTY_NAMES.contains(&word.as_str())));
    let bad: Vec<_> = bad.map(|file| &file.path).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn names_of_tests_are_claims() {
    let mut found = Vec::new();
    for file in files::with_extension("rs") {
        let code = rust::code(&file.text);
        let tests = code.split("test]\n").skip(1).filter_map(|rest| rest.split_once("fn "));
        let named = tests.filter(|(before, rest)| !before.contains('{') && rest.starts_with("test_"));
        found.extend(
            named.map(|(_, rest)| format!("{}: {}", file.path, rest.lines().next().unwrap_or_default())),
        );
    }
    assert!(found.is_empty(), "no `test_` before the claim: {found:#?}");
}

/// The same lines with what is no test blanked.
fn only_tests(code: &str) -> String {
    let without = rust::without_tests(code);
    let lines = code.lines().zip(without.lines());
    lines.map(|(line, kept)| if line == kept { "\n".to_owned() } else { format!("{line}\n") }).collect()
}
