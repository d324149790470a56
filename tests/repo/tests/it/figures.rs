//! How long files and functions are. The figures to beat are linkerd2-proxy's own.

use nova_repo::files::{self, File};
use nova_repo::functions::{Function, functions, percentile};
use nova_repo::rust;

/// No file of Rust is longer, tests included.
const LONGEST_FILE: usize = 500;
/// Nine of ten functions are no longer.
const FUNCTIONS_P90: usize = 30;

#[test]
fn no_file_is_longer_than_500_lines() {
    let files = files::with_extension("rs");
    let long: Vec<_> = files.iter().map(|file| (file.text.lines().count(), &file.path)).collect();
    let long: Vec<_> = long.into_iter().filter(|(lines, _)| *lines > LONGEST_FILE).collect();
    assert!(long.is_empty(), "split by subject: {long:#?}");
}

#[test]
fn functions_are_short() {
    let sources = sources();
    let mut all: Vec<(usize, String)> = sources.iter().flat_map(measured).collect();
    let functions: Vec<usize> = all.iter().map(|(lines, _)| *lines).collect();
    let files: Vec<usize> = sources.iter().map(|(_, code)| rust::lines_of_code(code)).collect();
    println!("{:<10} {:>7} {:>7} {:>7} {:>7}   to beat", "lines of", "count", "median", "p90", "most");
    table("functions", &functions, "6 / 26");
    table("files", &files, "118 / 341");
    all.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, place) in all.iter().take(10) {
        println!("{lines:>5}  {place}");
    }
    let p90 = percentile(&functions, 90);
    assert!(p90 <= FUNCTIONS_P90, "p90 of functions is {p90} lines");
}

#[test]
fn each_source_says_what_it_is_for() {
    let files = files::with_extension("rs");
    let bare = files.iter().filter(|file| !file.text.trim_start().starts_with("//!"));
    let bare: Vec<_> = bare.map(|file| &file.path).collect();
    assert!(bare.is_empty(), "without a `//!` at the top: {bare:#?}");
}

/// Sources without their tests and comments.
fn sources() -> Vec<(File, String)> {
    let files = files::with_extension("rs").into_iter().filter(|file| file.is_source());
    files
        .map(|file| (rust::without_tests(&rust::code(&file.text)), file))
        .map(|(code, file)| (file, code))
        .collect()
}

fn measured((file, code): &(File, String)) -> Vec<(usize, String)> {
    let place =
        |function: Function| (function.lines, format!("{}:{} {}", file.path, function.line, function.name));
    functions(code).into_iter().map(place).collect()
}

fn table(what: &str, lines: &[usize], to_beat: &str) {
    let (median, p90, most) = (percentile(lines, 50), percentile(lines, 90), percentile(lines, 100));
    println!("{what:<10} {:>7} {median:>7} {p90:>7} {most:>7}   {to_beat}", lines.len());
}
