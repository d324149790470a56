//! `nova trace`: a waterfall, from the spans that the mesh's own collector keeps.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::output;
use crate::cli::Context;
use crate::collector::{Span, Traces};

/// Width of the waterfall's bars, characters.
const BAR: usize = 32;
/// Deepest level that is indented.
const DEEPEST: usize = 24;

/// Show a recorded trace as a waterfall; without an id, the latest traces.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Trace id: 32 hex digits, or their beginning as `nova trace` lists them.
    trace_id: Option<String>,
    /// Traces to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Show only spans that ended in an error, and those above them.
    #[arg(long)]
    errors: bool,
}

impl Trace {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let path = context.home.traces();
        if !path.exists() {
            bail!("no trace is recorded in {} yet; run something first", context.home.path().display());
        }
        let traces = Traces::open(&path).context("cannot open the recorded traces")?;
        match &self.trace_id {
            Some(id) => self.show(context, &traces, id),
            None => list(context, &traces, usize::from(self.limit)),
        }
    }

    fn show(&self, context: &Context, traces: &Traces, id: &str) -> anyhow::Result<ExitCode> {
        let spans = traces.spans(&whole_id(traces, id)?)?;
        if spans.is_empty() {
            bail!("there is no trace {id}; `nova trace` lists the latest");
        }
        if context.json {
            output::json(&spans)?
        } else {
            waterfall(&spans, self.errors)?
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The id that begins with `id`.
fn whole_id(traces: &Traces, id: &str) -> anyhow::Result<String> {
    let id = id.to_ascii_lowercase();
    if id.len() == 32 {
        return Ok(id);
    }
    let known = traces.latest(1_000)?;
    let found: Vec<_> = known.iter().filter(|trace| trace.trace_id.starts_with(&id)).collect();
    match found.as_slice() {
        [trace] => Ok(trace.trace_id.clone()),
        [] => bail!("no recorded trace begins with {id:?}"),
        _ => bail!("{} recorded traces begin with {id:?}; give more digits", found.len()),
    }
}

fn list(context: &Context, traces: &Traces, limit: usize) -> anyhow::Result<ExitCode> {
    let latest = traces.latest(limit)?;
    if context.json {
        output::json(&latest)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = latest.iter().map(|trace| {
        let start = Timestamp::from_nanosecond(i128::from(trace.start_ns)).unwrap_or_default();
        vec![
            trace.trace_id.clone(),
            start.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            milliseconds(trace.duration_ns),
            trace.spans.to_string(),
            trace.errors.to_string(),
            trace.root.clone(),
        ]
    });
    output::table(&["TRACE", "STARTED (UTC)", "TOOK", "SPANS", "ERRORS", "FIRST SPAN"], rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the spans as a tree, each with a bar where it lies in the whole.
fn waterfall(spans: &[Span], errors_only: bool) -> anyhow::Result<()> {
    let scale = Scale::of(spans);
    let shown =
        if errors_only { above_errors(spans) } else { spans.iter().map(|s| s.span_id.as_str()).collect() };
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut below: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        let parent = if known.contains(span.parent_id.as_str()) { span.parent_id.as_str() } else { "" };
        below.entry(parent).or_default().push(span);
    }
    let services: HashSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    output::line(&format!(
        "{} spans of {} services in {}",
        spans.len(),
        services.len(),
        milliseconds(scale.length)
    ))?;
    let mut open: Vec<(&Span, usize)> =
        below.get("").into_iter().flatten().rev().map(|span| (*span, 0)).collect();
    while let Some((span, depth)) = open.pop() {
        if shown.contains(span.span_id.as_str()) {
            print_span(span, depth, &scale)?;
        }
        let children = below.get(span.span_id.as_str()).into_iter().flatten().rev();
        open.extend(children.map(|child| (*child, depth + 1)));
    }
    Ok(())
}

fn print_span(span: &Span, depth: usize, scale: &Scale) -> anyhow::Result<()> {
    let mark = if span.error { '!' } else { ' ' };
    let took = milliseconds(span.end_ns - span.start_ns);
    let indent = "  ".repeat(depth.min(DEEPEST));
    output::line(&format!("{} {took:>10} {mark} {:<10} {indent}{}", scale.bar(span), span.service, span.name))
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

fn milliseconds(nanoseconds: i64) -> String {
    format!("{:.1} ms", nanoseconds as f64 / 1e6)
}
