//! Every command that a page shows is one that `nova` understands.

use std::path::PathBuf;
use std::process::Command;

use nova_repo::files::{self, File};
use nova_repo::markdown;

#[test]
fn each_command_of_the_readme_parses() {
    let readme = files::file("README.md");
    assert!(!commands(&readme.text).is_empty(), "README.md shows no command");
    assert_all_parse(&[readme]);
}

#[test]
fn each_command_of_every_other_page_parses() {
    assert_all_parse(&files::with_extension("md"));
}

#[track_caller]
fn assert_all_parse(pages: &[File]) {
    let all = pages
        .iter()
        .flat_map(|page| commands(&page.text).into_iter().map(move |(line, words)| (page, line, words)));
    let refused: Vec<_> = all
        .filter_map(|(page, line, words)| {
            Some(format!("{}:{line}: nova {}: {}", page.path, words.join(" "), refusal(&words)?))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// What `nova` says against these words; none when it understands them. With --help nothing is done.
fn refusal(words: &[String]) -> Option<String> {
    // Settings of whoever runs this are not looked at.
    let output = Command::new(nova()).env_clear().args(words).arg("--help").output().expect("nova starts");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The words behind `nova` or `cargo run … --` in code blocks, in their remarks and in prose, with line numbers.
fn commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let lines = markdown::code_lines(text).into_iter().chain(markdown::code_spans(text));
    lines.filter_map(|(number, line)| Some((number, words(line)?))).collect()
}

fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let starts = ["cargo run --release -- ", "cargo run -- ", "nova "];
    let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
    let end = rest.find([';', '|', '>', '#', '&', '─']).unwrap_or(rest.len());
    // In a picture the next thing stands far to the right.
    let shown = rest[..end].split("   ").next().unwrap_or_default();
    Some(split(shown))
}

/// Splits like a shell does, as far as quotes go.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.trim().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `nova` beside this test's own executable.
fn nova() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let nova = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps").join("nova");
    assert!(nova.exists(), "{} is missing: run `cargo build -p nova` first", nova.display());
    nova
}

#[test]
fn a_command_in_prose_or_in_a_remark_is_looked_at() {
    let page = "Say `nova up`.\n\n```sh\nnova trace   # `nova workflow show RUN` has more\n```\n";
    let shown = commands(page).into_iter().map(|(line, words)| (line, words.join(" "))).collect::<Vec<_>>();
    let expected = [(4, "trace"), (1, "up"), (4, "workflow show RUN")];
    assert_eq!(shown, expected.map(|(line, words)| (line, words.to_owned())));
    assert!(refusal(&["frobnicate".to_owned()]).is_some(), "what is no command is refused");
}

#[test]
fn a_command_is_split_like_a_shell_does() {
    let line = "cargo run --release -- orchestrate a.yaml --input 'name=two words' # comment";
    assert_eq!(words(line).unwrap(), ["orchestrate", "a.yaml", "--input", "name=two words"]);
    assert_eq!(words("    nova status --json | jq ."), Some(vec!["status".to_owned(), "--json".to_owned()]));
    assert_eq!(words("cargo test"), None);
    assert_eq!(words("cargo run -p nova-queue --example load -- unary"), None, "that is another program");
}
