//! How long files and functions are. The figures to beat are linkerd2-proxy's own.

use nova_repo::files::{self, File};
use nova_repo::functions::{Function, functions, percentile};
use nova_repo::rust;

/// How many of a hundred are no longer than so many lines.
type Bound = (usize, usize);

/// Lines of a file, comments and tests included.
const FILES: [Bound; 3] = [(50, 118), (90, 341), (100, 500)];
/// Lines of a function, from `fn` to its last brace.
const FUNCTIONS: [Bound; 2] = [(50, 6), (90, 26)];
/// How many of the longest are named.
const NAMED: usize = 10;

#[test]
fn files_are_short() {
    let lines = |file: &File| (file.text.lines().count(), file.path.clone());
    assert_within(&FILES, "all files", files::with_extension("rs").iter().map(lines));
}

#[test]
fn functions_are_short() {
    let files = files::with_extension("rs");
    let whole = |file: &File| functions_of(file, &rust::code(&file.text));
    let without_tests = |file: &File| functions_of(file, &rust::without_tests(&rust::code(&file.text)));
    assert_within(&FUNCTIONS, "all functions", files.iter().flat_map(whole));
    let sources = files.iter().filter(|file| file.is_source());
    assert_within(&FUNCTIONS, "functions that are no tests", sources.flat_map(without_tests));
}

#[test]
fn each_source_says_what_it_is_for() {
    let files = files::with_extension("rs");
    let bare = files.iter().filter(|file| !file.text.trim_start().starts_with("//!"));
    let bare: Vec<_> = bare.map(|file| &file.path).collect();
    assert!(bare.is_empty(), "without a `//!` at the top: {bare:#?}");
}

/// Lines and place of each function.
fn functions_of(file: &File, code: &str) -> Vec<(usize, String)> {
    let place =
        |function: Function| (function.lines, format!("{}:{} {}", file.path, function.line, function.name));
    functions(code).into_iter().map(place).collect()
}

#[track_caller]
fn assert_within(bounds: &[Bound], what: &str, measured: impl Iterator<Item = (usize, String)>) {
    let mut measured: Vec<_> = measured.collect();
    measured.sort_unstable_by(|a, b| b.cmp(a));
    let lines: Vec<usize> = measured.iter().map(|(lines, _)| *lines).collect();
    let longest = &measured[..NAMED.min(measured.len())];
    for &(percent, most) in bounds {
        let found = percentile(&lines, percent);
        println!("{percent} % of {what} ({}) have at most {found} lines", lines.len());
        assert!(found <= most, "{percent} % of {what} may have {most} lines, not {found}: {longest:#?}");
    }
}
