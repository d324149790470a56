//! The end of a run: its report in a file, and a short summary of what became of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nova_client::Mesh;
use nova_proto::lifecycle::v1::{Run, StepState};
use nova_proto::policy::v1::{Decision, Verdict};
use serde_json::Value;

use crate::cli::Context;
use crate::commands::pages::Limit;
use crate::commands::policy::decisions;
use crate::commands::workflow::{self, run};
use crate::commands::{cells, output};

/// Denials that a summary shows.
const DENIALS: u32 = 20;
/// Decisions reach the policy daemon in batches: how often, and after what pause, to look for them.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

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
        false => print(run, &path, &denials),
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

/// What policy denied in the run. A step that ended as denied says that there is something to wait for.
async fn denials(mesh: &Mesh, run: &Run) -> anyhow::Result<Vec<Decision>> {
    if run.trace_id.is_empty() {
        return Ok(Vec::new());
    }
    let mut steps = run.phases.iter().flat_map(|phase| &phase.steps);
    let expected = steps.any(|step| step.state() == StepState::Denied);
    for _ in 0..LOOKS {
        let found = decisions::list(mesh, Verdict::Deny, &run.trace_id, Limit::silently(DENIALS)).await?;
        if !found.is_empty() || !expected {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Vec::new())
}

fn print(run: &Run, report: &Path, denials: &[Decision]) -> anyhow::Result<()> {
    let took = cells::elapsed(run.create_time.as_ref(), run.end_time.as_ref());
    output::line(&format!("\n{} {} in {took}", output::printable(&run.plan), run::state(run)))?;
    if !run.message.is_empty() {
        output::line(&format!("  {}", output::printable(&run.message).replace("; ", "\n  ")))?;
    }
    output::line("")?;
    run::steps(run)?;
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
