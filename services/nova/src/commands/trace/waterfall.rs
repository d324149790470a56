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

/// Prints the spans as a tree, each with a bar where it lies in the whole. A span may end while what it began goes on
/// below it; its row counts, and its bar shows, both.
pub(super) fn print(spans: &[Span], errors_only: bool) -> anyhow::Result<()> {
    let scale = Scale::of(spans);
    let shown =
        if errors_only { above_errors(spans) } else { spans.iter().map(|s| s.span_id.as_str()).collect() };
    output::line(&headline(spans, &shown, scale.length))?;
    let (tasks, tree) = (Tasks::of(spans), tree(spans));
    for row in tree.iter().filter(|row| shown.contains(row.span.span_id.as_str())) {
        print_row(row, &scale, &tasks)?;
    }
    Ok(())
}

/// A span in its tree.
struct Row<'a> {
    span: &'a Span,
    depth: usize,
    /// When the last of the spans below it ended, and it itself; nanoseconds since the epoch.
    end: i64,
    /// What it belongs to was never told, as when a process is killed.
    orphan: bool,
}

/// Every span after the one that it belongs to.
fn tree(spans: &[Span]) -> Vec<Row<'_>> {
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut below: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        let parent = if known.contains(span.parent_id.as_str()) { span.parent_id.as_str() } else { "" };
        below.entry(parent).or_default().push(span);
    }
    let children =
        |of: &str, depth| below.get(of).into_iter().flatten().rev().map(move |span| (*span, depth));
    let (mut rows, mut open) = (Vec::new(), children("", 0).collect::<Vec<_>>());
    while let Some((span, depth)) = open.pop() {
        let orphan = depth == 0 && !span.parent_id.is_empty();
        rows.push(Row { span, depth, end: span.end_ns, orphan });
        open.extend(children(&span.span_id, depth + 1));
    }
    reach_down(&mut rows);
    rows
}

/// Gives each row the latest end of those below it.
fn reach_down(rows: &mut [Row<'_>]) {
    let mut latest: HashMap<&str, i64> = HashMap::new();
    for row in rows.iter_mut().rev() {
        row.end = row.end.max(latest.get(row.span.span_id.as_str()).copied().unwrap_or(i64::MIN));
        let above = latest.entry(&row.span.parent_id).or_insert(row.end);
        *above = row.end.max(*above);
    }
}

fn print_row(row: &Row<'_>, scale: &Scale, tasks: &Tasks<'_>) -> anyhow::Result<()> {
    let span = row.span;
    let mark = if span.error { '!' } else { ' ' };
    let took = milliseconds(row.end - span.start_ns);
    let indent = "  ".repeat(row.depth.min(DEEPEST));
    let lost = if row.orphan { "  (what it belongs to is lost)" } else { "" };
    let text =
        format!("{took:>10} {mark} {:<10} {indent}{}{}{lost}", span.service, span.name, tasks.about(span));
    output::line(&format!("{} {}", scale.bar(row), output::printable(&text)))
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

    /// Thick while the span lasts, thin while only what it began goes on.
    fn bar(&self, row: &Row<'_>) -> String {
        let place = |at: i64| ((at - self.start) as f64 / self.length as f64 * BAR as f64) as usize;
        let from = place(row.span.start_ns).min(BAR - 1);
        let own = place(row.span.end_ns).clamp(from + 1, BAR);
        let to = place(row.end).clamp(own, BAR);
        [(" ", from), ("▬", own - from), ("─", to - own), (" ", BAR - to)]
            .map(|(part, width)| part.repeat(width))
            .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, start_ns: i64, end_ns: i64) -> Span {
        let (span_id, parent_id) = (id.to_owned(), parent.to_owned());
        let (trace_id, service, name) = Default::default();
        Span {
            trace_id,
            span_id,
            parent_id,
            service,
            name,
            start_ns,
            end_ns,
            error: false,
            attributes: Default::default(),
        }
    }

    #[test]
    fn a_row_lasts_as_long_as_what_it_began() {
        let spans = [span("a", "", 0, 8), span("b", "a", 4, 8), span("c", "b", 16, 32)];
        let (rows, scale) = (tree(&spans), Scale::of(&spans));
        assert_eq!(
            rows.iter().map(|row| (row.depth, row.end)).collect::<Vec<_>>(),
            [(0, 32), (1, 32), (2, 32)]
        );
        let bars: Vec<_> = rows.iter().map(|row| scale.bar(row)).collect();
        assert_eq!(bars[0], format!("{}{}", "▬".repeat(8), "─".repeat(24)));
        assert_eq!(bars[1], format!("    {}{}", "▬".repeat(4), "─".repeat(24)));
        assert_eq!(bars[2], format!("{}{}", " ".repeat(16), "▬".repeat(16)));
    }

    #[test]
    fn a_span_whose_parent_is_lost_is_told_apart_from_a_root() {
        let spans = [span("root", "", 0, 1), span("lost", "killed", 2, 3), span("below", "lost", 2, 3)];
        let orphans: Vec<_> = tree(&spans).iter().map(|row| (row.orphan, row.depth)).collect();
        assert_eq!(orphans, [(false, 0), (true, 0), (false, 1)]);
    }
}
