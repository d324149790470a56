//! `nova workflow show RUN --step STEP`: one step, with its attempts and its result.

use nova_client::Mesh;
use nova_proto::lifecycle::v1::{Attempt, GetRunRequest, Phase, Step};
use serde_json::Value;

use crate::cli::Context;
use crate::commands::workflow::run;
use crate::commands::{cells, output};

pub(super) async fn show(
    context: &Context,
    mesh: &Mesh,
    namespace: &str,
    run: &str,
    step: &str,
) -> anyhow::Result<()> {
    let (namespace, run_id, step) = (namespace.to_owned(), run.to_owned(), step.to_owned());
    let request = GetRunRequest { namespace, run_id, step };
    let run = mesh.workflows().get_run(request).await?.into_inner().run.unwrap_or_default();
    let steps = || run.phases.iter().flat_map(|phase| phase.steps.iter().map(move |step| (phase, step)));
    let Some((phase, step)) = steps().next() else { return Ok(()) };
    output::fields(context, &fields(phase, step), &run::whole_step_record(phase, step))?;
    if context.json || step.attempt_log.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(&["ATTEMPT", "AGENT", "TOOK", "ERROR"], step.attempt_log.iter().map(row))
}

fn fields(phase: &Phase, step: &Step) -> Vec<(&'static str, String)> {
    vec![
        ("step", format!("{}/{}", phase.name, step.id)),
        ("state", run::step_state(step.state())),
        ("expected", run::step_state(step.expected())),
        ("queue", step.queue.clone()),
        ("task", step.task_id.clone()),
        ("took", cells::elapsed(step.start_time.as_ref(), step.end_time.as_ref())),
        ("error", step.error.clone()),
        ("result", indented(&step.result_json)),
    ]
}

/// JSON for people, a line for each field.
fn indented(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |value| format!("{value:#}"))
}

fn row(attempt: &Attempt) -> Vec<String> {
    let took = cells::elapsed(attempt.start_time.as_ref(), attempt.end_time.as_ref());
    vec![attempt.number.to_string(), attempt.agent_id.clone(), took, attempt.error.clone()]
}
