//! What a span is about, beyond its name: which step of a run, what kind of work, and which attempt.
//!
//! Only the span that processes a task knows its step; the others of the same task are told by the task's id.

use std::collections::HashMap;

use nova_rpc::messaging::{CLIENT_ID, MESSAGE_ID};

use crate::collector::Span;

const STEP: &str = "nova.step";
const KIND: &str = "nova.task.kind";
const ATTEMPT: &str = "nova.task.attempt";
/// Phase, and steps that are enqueued together, as lifecycle names them.
const OF_A_RUN: [&str; 2] = ["phase", "steps"];

/// The tasks of a trace, by id.
#[derive(Debug)]
pub(super) struct Tasks<'a>(HashMap<&'a str, String>);

impl<'a> Tasks<'a> {
    pub(super) fn of(spans: &'a [Span]) -> Self {
        let task = |span: &'a Span| Some((text(span, MESSAGE_ID)?, work(span)?));
        Self(spans.iter().filter_map(task).collect())
    }

    /// What stands behind the name of a span; empty where the name says it all.
    pub(super) fn about(&self, span: &Span) -> String {
        let known = || self.0.get(text(span, MESSAGE_ID)?).cloned();
        let of_a_run = || OF_A_RUN.iter().find_map(|key| text(span, key)).map(str::to_owned);
        let attempt = text(span, ATTEMPT).map(|number| format!("attempt {number}"));
        let worker = text(span, CLIENT_ID).map(|worker| format!("by {worker}"));
        let parts: Vec<String> = [known().or_else(of_a_run), attempt, worker].into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!("  {}", parts.join(", ")) }
    }
}

/// Step and kind of a task, from the span that processes it.
fn work(span: &Span) -> Option<String> {
    let kind = text(span, KIND)?;
    Some(match text(span, STEP) {
        Some(step) => format!("{step} ({kind})"),
        None => kind.to_owned(),
    })
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    span.attributes.get(key)?.as_str().filter(|text| !text.is_empty())
}
