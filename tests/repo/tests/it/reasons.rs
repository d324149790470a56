//! Every reason of an error is explained to users, and nothing else is.

use std::collections::BTreeSet;

use nova_repo::{files, markdown};
use nova_rpc::Reason;

#[test]
fn each_reason_is_a_heading_of_the_page_on_errors() {
    assert_eq!(documented(), reasons(), "docs/errors.md and nova_rpc::Reason::ALL differ");
}

#[test]
fn each_reason_says_when_and_what_to_do() {
    let page = files::file("docs/errors.md").text;
    for reason in reasons() {
        let section = page.split_once(&format!("## {reason}\n")).expect("a heading for each").1;
        let section = section.split("\n## ").next().unwrap_or_default();
        for part in ["Code: `", "What to do"] {
            assert!(section.contains(part), "the section on {reason} lacks {part:?}");
        }
    }
}

#[test]
fn the_list_of_reasons_is_whole() {
    let source = files::file("libs/rpc/src/reason.rs").text;
    let spelled = source.matches(" => \"").count();
    assert_eq!(Reason::ALL.len(), spelled, "Reason::ALL misses one");
    assert_eq!(reasons().len(), spelled, "two reasons are spelled the same");
}

fn reasons() -> BTreeSet<String> {
    Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect()
}

/// Headings in capitals.
fn documented() -> BTreeSet<String> {
    let headings = markdown::headings(&files::file("docs/errors.md").text).into_iter();
    let is_reason = |heading: &String| heading.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    headings.filter(is_reason).collect()
}
