//! The fourteen invariants, as functions over a history and what is left at rest.
//!
//! A check claims a violation only when no order of effects within the calls explains the answers: each effect lies
//! between the begin and the end of its call, and an open call may have had its effect, or not, or both for as long as
//! its message may be repeated. So a check may miss what it cannot know, and never accuses wrongly.

mod endings;
mod flows;
mod groups;
mod held;
mod left;
mod limits;
mod proofs;
mod stored;
mod times;
mod tokens;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use self::view::View;
use crate::history::{History, Rest};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Number of the invariant, 1 to 14.
    pub invariant: u8,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// What the queue was told to do, and how long it may take.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Extra wait of a task for each step of priority below 9, microseconds; nothing when waits are not checked.
    pub ageing_step: Option<i64>,
    /// Longest time from the end of a lease until it is reclaimed, microseconds.
    pub reclaim_within: i64,
    /// How far apart the clocks of servers that follow each other may be, microseconds.
    pub clock_error: i64,
    /// Workers went on until nothing was left to do.
    pub drained: bool,
    /// Shares of groups that always have work.
    pub weights: BTreeMap<String, u32>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ageing_step: None,
            reclaim_within: 2_000_000,
            clock_error: 0,
            drained: true,
            weights: BTreeMap::new(),
        }
    }
}

/// Everything in a history, and in what is left at rest, that must not be.
pub fn check(history: &History, rest: &Rest, rules: &Rules) -> Vec<Violation> {
    let view = View::new(history, rest);
    let mut found = Violations::default();
    stored::check(&view, rules, &mut found);
    tokens::check(&view, rules, &mut found);
    endings::check(&view, rules, &mut found);
    times::check(&view, rules, &mut found);
    limits::check(&view, rules, &mut found);
    groups::check(&view, rules, &mut found);
    proofs::check(&view, rules, &mut found);
    left::check(&view, &mut found);
    flows::check(&view, &mut found);
    found.0.sort();
    found.0
}

/// What was found, with every line of the history that speaks of it.
pub fn explain(history: &History, found: &[Violation]) -> String {
    const ID: usize = 36;
    let words = found.iter().flat_map(|violation| violation.what.split([' ', ',']));
    let ids: BTreeSet<&str> = words.filter(|word| word.len() == ID).collect();
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.extend(history.marks.iter().map(|mark| format!("{mark:?}")));
    let told = history.operations.iter().map(|operation| format!("{operation:?}"));
    lines.extend(told.filter(|line| ids.iter().any(|id| line.contains(id))));
    lines.join("\n")
}

/// What was found so far.
#[derive(Debug, Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, invariant: u8, what: impl Into<String>) {
        self.0.push(Violation { invariant, what: what.into() });
    }
}
