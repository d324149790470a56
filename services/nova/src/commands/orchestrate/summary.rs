//! The end of a run: its report in a file, and a short summary of what became of it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use nova_client::Mesh;
use nova_proto::lifecycle::v1::Run;
use nova_proto::policy::v1::{Decision, Verdict};
use serde_json::Value;

use super::highlights;
use crate::cli::Context;
use crate::commands::pages::Limit;
use crate::commands::policy::decisions;
use crate::commands::workflow::{self, run};
use crate::commands::{cells, output};

/// Denials that a summary shows.
const DENIALS: u32 = 20;

/// Writes the report of a run that is over, and prints its summary.
pub(crate) async fn conclude(
    context: &Context,
    mesh: &Mesh,
    run: &Run,
    copy: Option<&Path>,
) -> anyhow::Result<()> {
    let (markdown, denials) =
        (workflow::report(mesh, &run.namespace, &run.id).await?, denials(mesh, run).await?);
    let path = context.home.reports().join(format!("{}.md", run.id));
    let saved = save(context, &path, copy, &markdown);
    output::regardless_of_readers(match context.json {
        true => output::json_line(&record(run, &path, &denials)),
        false => print(run, &path, &markdown, &denials),
    })?;
    saved
}

/// Into the home, and where else it is wanted.
fn save(context: &Context, path: &Path, copy: Option<&Path>, markdown: &str) -> anyhow::Result<()> {
    let kept = context.home.write_private(path, markdown);
    if let Some(copy) = copy {
        fs::write(copy, markdown).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    kept.with_context(|| format!("cannot write {}", path.display()))
}

/// What policy denied in the run. Daemons report that in batches: lifecycle waits for it before it ends a run.
async fn denials(mesh: &Mesh, run: &Run) -> anyhow::Result<Vec<Decision>> {
    if run.trace_id.is_empty() {
        return Ok(Vec::new());
    }
    decisions::list(mesh, Verdict::Deny, &run.trace_id, Limit::silently(DENIALS)).await
}

fn print(run: &Run, report: &Path, markdown: &str, denials: &[Decision]) -> anyhow::Result<()> {
    let took = cells::elapsed(run.create_time.as_ref(), run.end_time.as_ref());
    output::line(&format!("\n{} {} in {took}", output::printable(&run.plan), run::state(run)))?;
    if !run.message.is_empty() {
        output::line(&format!("  {}", output::printable(&run.message).replace("; ", "\n  ")))?;
    }
    output::line("")?;
    run::steps(run)?;
    tell_highlights(markdown)?;
    for denial in denials {
        output::line(&denied(denial))?;
    }
    output::line(&format!(
        "\nreport  {}\ntrace   nova trace {}\nrun     nova workflow show {}",
        report.display(),
        run.trace_id,
        run::name(run)
    ))
}

fn tell_highlights(report: &str) -> anyhow::Result<()> {
    let (told, more) = highlights::of(report);
    if told.is_empty() {
        return Ok(());
    }
    output::line("\nwhat matters most")?;
    for item in told {
        output::line(&format!("  {}", cells::brief_in(110, &output::printable(&item))))?;
    }
    if more > 0 { output::line(&format!("  and {more} more, in the report")) } else { Ok(()) }
}

fn denied(decision: &Decision) -> String {
    let why = output::printable(&decision.why);
    format!("\ndenied  {why}\n        nova policy explain {}", decision.id)
}

fn record(run: &Run, report: &Path, denials: &[Decision]) -> Value {
    let mut record = run::record(run);
    record["kind"] = "summary".into();
    record["report"] = report.display().to_string().into();
    record["denials"] = denials.iter().map(decisions::record).collect();
    record
}
