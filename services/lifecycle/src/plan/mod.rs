//! Plans: what to run. A plan is written in YAML or JSON, checked against the published schema
//! (`schema.json`), then against what a schema cannot say. What leaves [`parse`] can be run.

mod check;
mod check_expressions;
mod document;
mod duration;
mod graph;
mod input;
mod lines;

use std::collections::{BTreeMap, BTreeSet};

use nova_types::{AgentId, QueueName, StepId, Violations};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use duration::PlanDuration;
pub use input::{check_input, parse_input};

/// The published JSON schema of plans.
pub const SCHEMA: &str = include_str!("schema.json");

/// Largest plan, in bytes.
pub const MAX_PLAN_BYTES: usize = 1 << 20;

/// Checks the text of a plan. `file` is its name, for messages.
///
/// Every violation has the path in the plan as its field, and `file:line:` before its rule.
pub fn parse(text: &str, file: &str) -> Result<Plan, Violations> {
    let document = document::Document::read(text, file)?;
    let plan = document.plan()?;
    check::check(&plan, &document)?;
    Ok(plan)
}

/// A plan that can be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name and version.
    pub metadata: Metadata,
    /// What it does.
    pub spec: Spec,
}

/// Names a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Version, a number or text; null when it has none.
    #[serde(default)]
    pub version: Value,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// What a plan does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// JSON schema of the input.
    #[serde(default = "any_object")]
    pub input: Value,
    /// Longest time of the whole run.
    #[serde(default = "PlanDuration::hour")]
    pub timeout: PlanDuration,
    /// Agents by id.
    pub agents: BTreeMap<AgentId, AgentSpec>,
    /// Phases in order.
    pub phases: Vec<Phase>,
}

/// An agent of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// What it is for.
    pub role: String,
    /// What it can do; it works on the queue of each.
    pub capabilities: Vec<String>,
    /// Version, a number or text; null when it has none.
    #[serde(default)]
    pub version: Value,
    /// Program that drives it.
    #[serde(default = "runner")]
    pub program: String,
    /// Arguments of the program.
    #[serde(default)]
    pub args: Vec<String>,
    /// Bounds of its process.
    #[serde(default)]
    pub limits: Limits,
}

/// Bounds of a process; zero means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Address space, bytes.
    pub memory_bytes: u64,
    /// CPU time, seconds.
    pub cpu_seconds: u64,
    /// Open files.
    pub open_files: u64,
}

/// A part of a plan: its agents are told its instructions, then its steps run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Name.
    pub name: String,
    /// What its agents are told.
    #[serde(default)]
    pub instructions: String,
    /// Agents that it engages.
    pub agents: Vec<AgentId>,
    /// Phases that must have ended; the one before unless the plan says otherwise.
    pub needs: Vec<String>,
    /// Begins also when a phase that it needs did not end as expected.
    #[serde(default)]
    pub always: bool,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// One piece of work, which becomes one task of the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Id within the plan.
    pub id: StepId,
    /// Kind of work.
    pub kind: String,
    /// Who may do it.
    #[serde(flatten)]
    pub target: Target,
    /// Steps that must have ended.
    #[serde(default)]
    pub needs: Vec<StepId>,
    /// Parameters, a JSON object; `${…}` in a text is an expression.
    #[serde(default = "empty_object")]
    pub with: Value,
    /// Runs only if this expression holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Longest time of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<PlanDuration>,
    /// How attempts are repeated.
    #[serde(default)]
    pub retry: Retry,
    /// Step that runs when the attempts are spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<StepId>,
    /// Runs only as a fallback.
    #[serde(default)]
    pub standby: bool,
    /// How it is expected to end.
    #[serde(default)]
    pub expect: Expect,
}

/// Who may do a step: exactly one of these is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Any agent with this capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// This agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Whoever works on this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

/// How attempts are repeated; what is unset is the queue's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Attempts in all.
    pub max_attempts: u32,
    /// Waits between them.
    pub backoff: Backoff,
}

/// Waits between attempts; what is unset is the queue's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// After the first attempt.
    pub initial: Option<PlanDuration>,
    /// Growth.
    pub factor: f64,
    /// Longest.
    pub max: Option<PlanDuration>,
}

/// How a step is expected to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Well.
    #[default]
    Succeeded,
    /// With its attempts spent.
    Failed,
    /// In its fallback.
    FellBack,
    /// Denied by policy.
    Denied,
}

impl Plan {
    /// Steps in the plan's order, each with the index of its phase.
    pub fn steps(&self) -> impl Iterator<Item = (usize, &Step)> {
        let phases = self.spec.phases.iter().enumerate();
        phases.flat_map(|(index, phase)| phase.steps.iter().map(move |step| (index, step)))
    }

    /// The version as text; empty when it has none.
    pub fn version(&self) -> String {
        version_text(&self.metadata.version)
    }

    /// The phases that a phase needs, and those that they need.
    pub fn phases_before(&self, phase: usize) -> BTreeSet<usize> {
        graph::ancestors(phase, |index| {
            let needs = &self.spec.phases[index].needs;
            needs.iter().filter_map(|name| self.phase_index(name)).collect()
        })
    }

    /// Where a phase stands in the plan.
    pub fn phase_index(&self, name: &str) -> Option<usize> {
        self.spec.phases.iter().position(|phase| phase.name == name)
    }
}

impl AgentSpec {
    /// The version as text; empty when it has none.
    pub fn version(&self) -> String {
        version_text(&self.version)
    }
}

impl Target {
    /// Name of the queue of the step's task.
    pub fn queue(&self) -> String {
        match (&self.capability, &self.agent, &self.queue) {
            (Some(capability), _, _) => QueueName::for_capability(capability).to_string(),
            (None, Some(agent), _) => QueueName::for_agent(agent).to_string(),
            (None, None, queue) => queue.clone().unwrap_or_default(),
        }
    }
}

fn version_text(version: &Value) -> String {
    match version {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn runner() -> String {
    "nova-runner".to_owned()
}

fn any_object() -> Value {
    serde_json::json!({ "type": "object" })
}

fn empty_object() -> Value {
    serde_json::json!({})
}

#[cfg(test)]
mod tests;
