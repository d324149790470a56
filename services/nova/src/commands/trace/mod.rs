//! `nova trace`: traces from the spans that the mesh's own collector keeps; one is shown as a [`waterfall`].

mod about;
mod arriving;
mod waterfall;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use nova_rpc::Method;
use nova_types::Timestamp;

use super::{cells, output, short_id};
use crate::cli::Context;
use crate::collector::{TraceSummary, Traces};
use crate::failure::NotFound;

/// Show a recorded trace as a waterfall; without an id, the latest traces.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Trace id: 32 hex digits, or how those of one of the latest 1,000 begin.
    trace_id: Option<String>,
    /// Traces to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Show only spans that ended in an error, and those above them; in the list, only traces that have any.
    #[arg(long)]
    errors: bool,
    /// List also traces that are a stream alone, such as the one on which a worker takes its tasks, or a call that only reads.
    #[arg(long)]
    all: bool,
}

impl Trace {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let path = context.home.traces();
        if !path.exists() {
            let home = context.home.path().display();
            bail!(NotFound(format!("no trace is recorded in {home} yet; run something first")));
        }
        let traces = Traces::open(&path).context("cannot open the recorded traces")?;
        match &self.trace_id {
            Some(id) => self.show(context, &traces, id),
            None => self.list(context, &traces),
        }
    }

    fn show(&self, context: &Context, traces: &Traces, id: &str) -> anyhow::Result<ExitCode> {
        let id_of_it = whole_id(traces, id)?;
        let spans = match context.home.running()? {
            Some(_) => arriving::whole(traces, &id_of_it)?,
            None => traces.spans(&id_of_it)?,
        };
        if spans.is_empty() {
            bail!(NotFound(format!("there is no trace {id}; `nova trace` lists the latest")));
        }
        if context.json {
            output::json(&spans)?
        } else {
            waterfall::print(&spans, self.errors)?
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether a trace is in the list.
    fn lists(&self, trace: &TraceSummary) -> bool {
        (self.all || tells(trace)) && (!self.errors || trace.errors > 0)
    }

    fn list(&self, context: &Context, traces: &Traces) -> anyhow::Result<ExitCode> {
        let latest = traces.latest(self.limit.into(), |trace| self.lists(trace))?;
        if context.json {
            output::json(&latest)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = latest.iter().map(|trace| {
            let start = Timestamp::from_micros(trace.start_ns / 1_000).to_wire();
            vec![
                trace.trace_id.clone(),
                cells::local(&start, "%Y-%m-%d %H:%M:%S"),
                milliseconds(trace.duration_ns),
                trace.spans.to_string(),
                trace.errors.to_string(),
                trace.root.clone(),
            ]
        });
        output::table(&["TRACE", "BEGAN", "TOOK", "SPANS", "ERRORS", "FIRST SPAN"], rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether it tells of something that was done. The life of a stream alone does not: who does something in one has a
/// trace of its own. Nor does what only reads, unless it failed.
fn tells(trace: &TraceSummary) -> bool {
    let plain = |method: &Method| method.streams() || (method.reads() && trace.errors == 0);
    !Method::of(&trace.root).is_some_and(plain)
}

/// The id that begins with `id`.
fn whole_id(traces: &Traces, id: &str) -> anyhow::Result<String> {
    if id.len() == 32 {
        return Ok(id.to_ascii_lowercase());
    }
    let known = traces.latest(short_id::LATEST as usize, |_| true)?;
    short_id::complete("recorded trace", id, known.iter().map(|trace| trace.trace_id.as_str()))
}

fn milliseconds(nanoseconds: i64) -> String {
    format!("{:.1} ms", nanoseconds as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_errors_has_the_traces_that_have_any() {
        let trace = |errors| TraceSummary {
            trace_id: "07".repeat(16),
            root: "nova orchestrate".to_owned(),
            start_ns: 0,
            duration_ns: 1,
            spans: 2,
            errors,
        };
        let list = |errors| Trace { trace_id: None, limit: 20, errors, all: false };
        assert!(list(true).lists(&trace(1)) && !list(true).lists(&trace(0)));
        assert!(list(false).lists(&trace(1)) && list(false).lists(&trace(0)));
    }
}
