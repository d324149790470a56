//! `nova workflow check`.

use clap::Args;
use nova_proto::lifecycle::v1::{Phase, ValidatePlanRequest};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::orchestrate::input::{self, Inputs};
use crate::commands::output;
use crate::commands::workflow::run;
use crate::connection;

/// Check a plan, and show its steps in the order in which they begin.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Plan, YAML or JSON; - for standard input.
    plan: String,
    #[command(flatten)]
    inputs: Inputs,
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let plan = input::read_plan(&self.plan)?;
        let input_json = match self.inputs.are_given() {
            true => Value::Object(self.inputs.gather(&plan)?).to_string(),
            false => String::new(),
        };
        let request = ValidatePlanRequest { plan, file_name: self.plan.clone(), input_json };
        let answer = connection::reading(context, async |mesh| {
            Ok(mesh.workflows().validate_plan(request).await?.into_inner())
        })
        .await?;
        let rows = answer.phases.iter().flat_map(rows).collect();
        let phases: Vec<Value> = answer.phases.iter().map(run::phase_record).collect();
        let record = json!({"plan": answer.plan, "phases": phases});
        output::rows(context, ["PHASE", "STEP", "QUEUE", "NEEDS", "EXPECTED", "FALLBACK"], rows, &record)
    }
}

fn rows(phase: &Phase) -> Vec<[String; 6]> {
    let row = |step: &nova_proto::lifecycle::v1::Step| {
        [
            phase.name.clone(),
            step.id.clone(),
            step.queue.clone(),
            step.needs.join(" "),
            run::step_state(step.expected()),
            step.fallback.clone(),
        ]
    };
    phase.steps.iter().map(row).collect()
}
