//! A trace as a waterfall: a row for each span, below the one that it belongs to.

use std::collections::{HashMap, HashSet};

use super::about::Tasks;
use super::milliseconds;
use crate::collector::Span;
use crate::commands::output;

/// Width of the bars, characters.
const BAR: usize = 32;
/// Deepest level that is indented.
const DEEPEST: usize = 24;

/// Prints the spans as a tree, each with a bar where it lies in the whole.
pub(super) fn print(spans: &[Span], errors_only: bool) -> anyhow::Result<()> {
    let scale = Scale::of(spans);
    let shown =
        if errors_only { above_errors(spans) } else { spans.iter().map(|s| s.span_id.as_str()).collect() };
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut below: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        let parent = if known.contains(span.parent_id.as_str()) { span.parent_id.as_str() } else { "" };
        below.entry(parent).or_default().push(span);
    }
    output::line(&headline(spans, &shown, scale.length))?;
    let tasks = Tasks::of(spans);
    let mut open: Vec<(&Span, usize)> =
        below.get("").into_iter().flatten().rev().map(|span| (*span, 0)).collect();
    while let Some((span, depth)) = open.pop() {
        if shown.contains(span.span_id.as_str()) {
            print_span(span, depth, &scale, &tasks)?;
        }
        let children = below.get(span.span_id.as_str()).into_iter().flatten().rev();
        open.extend(children.map(|child| (*child, depth + 1)));
    }
    Ok(())
}

fn print_span(span: &Span, depth: usize, scale: &Scale, tasks: &Tasks<'_>) -> anyhow::Result<()> {
    let mark = if span.error { '!' } else { ' ' };
    let took = milliseconds(span.end_ns - span.start_ns);
    let indent = "  ".repeat(depth.min(DEEPEST));
    let row = format!("{took:>10} {mark} {:<10} {indent}{}{}", span.service, span.name, tasks.about(span));
    output::line(&format!("{} {}", scale.bar(span), output::printable(&row)))
}

/// How much is shown of how much.
fn headline(spans: &[Span], shown: &HashSet<&str>, length: i64) -> String {
    let rows = || spans.iter().filter(|span| shown.contains(span.span_id.as_str()));
    let services: HashSet<&str> = rows().map(|span| span.service.as_str()).collect();
    let (rows, all) = (rows().count(), spans.len());
    let of_all = if rows == all { String::new() } else { format!(" of {all}") };
    format!("{rows}{of_all} spans of {} services in {}", services.len(), milliseconds(length))
}

/// Ids of the spans that failed and of all above them.
fn above_errors(spans: &[Span]) -> HashSet<&str> {
    let parents: HashMap<&str, &str> =
        spans.iter().map(|s| (s.span_id.as_str(), s.parent_id.as_str())).collect();
    let mut shown = HashSet::new();
    for span in spans.iter().filter(|span| span.error) {
        let mut next = Some(span.span_id.as_str());
        while let Some(id) = next.filter(|id| shown.insert(*id)) {
            next = parents.get(id).copied();
        }
    }
    shown
}

/// From the first start to the last end, nanoseconds.
struct Scale {
    start: i64,
    length: i64,
}

impl Scale {
    fn of(spans: &[Span]) -> Self {
        let start = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end = spans.iter().map(|span| span.end_ns).max().unwrap_or(start);
        Self { start, length: (end - start).max(1) }
    }

    fn bar(&self, span: &Span) -> String {
        let place = |at: i64| ((at - self.start) as f64 / self.length as f64 * BAR as f64) as usize;
        let from = place(span.start_ns).min(BAR - 1);
        let to = place(span.end_ns).clamp(from + 1, BAR);
        format!("{}{}{}", " ".repeat(from), "▬".repeat(to - from), " ".repeat(BAR - to))
    }
}
