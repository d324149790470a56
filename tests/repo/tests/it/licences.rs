//! What Nova is built from may be given on with it: every crate's licence is one of [`FREE`], and it comes from the registry.

use std::process::Command;

use nova_repo::files;
use serde_json::Value;

/// Licences that ask for no more than to be named.
const FREE: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Whether an SPDX expression leaves a choice of licences that are all free. `/` is how older crates write `OR`.
fn is_free(expression: &str) -> bool {
    let expression = expression.trim();
    for (operator, enough) in [(" OR ", any as fn(&[&str]) -> bool), ("/", any), (" AND ", all)] {
        let parts = outside_of_parentheses(expression, operator);
        if parts.len() > 1 {
            return enough(&parts);
        }
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_free(inner),
        None => FREE.contains(&expression.split(" WITH ").next().unwrap_or_default()),
    }
}

fn any(parts: &[&str]) -> bool {
    parts.iter().any(|part| is_free(part))
}

fn all(parts: &[&str]) -> bool {
    parts.iter().all(|part| is_free(part))
}

/// What stands between operators that no parentheses enclose.
fn outside_of_parentheses<'a>(expression: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for (at, _) in expression.match_indices(operator) {
        let before = &expression[..at];
        if before.matches('(').count() == before.matches(')').count() {
            parts.push(&expression[begin..at]);
            begin = at + operator.len();
        }
    }
    parts.push(&expression[begin..]);
    parts
}

/// The target that this machine builds for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

/// Every crate that is built here, ours among them.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", &host()]);
    let output = cargo.current_dir(files::root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    serde_json::from_value(metadata["packages"].take()).expect("a list of packages")
}

#[test]
fn every_crate_may_be_given_on_and_comes_from_the_registry() {
    let packages = packages();
    assert!(packages.len() > 100, "all of them are looked at");
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or_default());
        assert!(is_free(licence), "{name} is under \"{licence}\"");
        let source = package["source"].as_str().unwrap_or("registry+ours");
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
    }
}

#[test]
fn an_expression_is_free_when_it_leaves_a_free_choice() {
    for free in
        ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(is_free(free), "{free}");
    }
    for bound in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "GPL-3.0 OR (MIT AND AGPL-3.0)"]
    {
        assert!(!is_free(bound), "{bound}");
    }
}
