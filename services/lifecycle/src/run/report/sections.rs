//! The parts of a report, in its order.

use nova_types::Namespace;
use nova_types::markdown::inline;
use serde_json::Value;

use super::super::cause::{why_phase_skipped, why_skipped};
use super::super::event::Skip;
use super::super::mesh::{Denial, ProcessView};
use super::super::state::{PhaseStatus, State, StepRecord, StepStatus};
use super::elapsed;
use super::markdown::{Document, code};

pub(super) fn head(document: &mut Document, state: &State) {
    let plan = &state.start.plan;
    let outcome = match &state.end {
        None => "goes on",
        Some(_) if state.is_cancelled() => "cancelled",
        Some(end) if end.succeeded => "succeeded",
        Some(_) => "failed",
    };
    document.title(&format!("Run of {} {}: {outcome}", plan.metadata.name, plan.version()));
    if !plan.metadata.description.is_empty() {
        document.paragraph(&inline(&plan.metadata.description));
    }
    let end = state.end.as_ref().map(|end| end.time);
    let row = |name: &str, value: String| [name.to_owned(), value];
    document.table(
        ["", ""],
        [
            row("Run", format!("`{}`", state.start.run_id)),
            row("Started", format!("{} by {}", state.start_time, state.start.actor)),
            row("Took", elapsed(Some(state.start_time), end)),
            row("Steps", counts(&state.steps)),
            row("Trace", format!("`{}`", state.start.recorded_trace_id())),
        ],
    );
}

/// `12 succeeded, 1 fell_back`.
fn counts<'a>(steps: impl IntoIterator<Item = &'a StepRecord>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for step in steps {
        let name = step.status.name();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn attention(document: &mut Document, state: &State) {
    document.heading("What did not go as planned");
    let mut nothing = state.given_up.is_none();
    if let Some(why) = &state.given_up {
        document.item(&format!("The run ended before its steps: {}", inline(&why.why())));
    }
    for (index, phase) in
        state.phases.iter().enumerate().filter(|(_, phase)| phase.status == PhaseStatus::Failed)
    {
        nothing = false;
        let name = &state.phase(index).name;
        document.item(&format!("Phase **{name}** could not begin: {}", inline(&phase.message)));
    }
    for index in (0..state.steps.len()).filter(|index| is_surprise(state, *index)) {
        nothing = false;
        let (step, spec) = (&state.steps[index], state.step(index));
        let why =
            step.error.as_ref().map(|error| format!(": {}", inline(&error.to_string()))).unwrap_or_default();
        let (ended, expected) = (describe(state, index), spec.expect.status().name());
        document
            .item(&format!("Step **{}** ended as {ended}, and the plan expects {expected}{why}", spec.id));
    }
    if nothing {
        document.paragraph("Nothing: every step ended as the plan expects.");
    }
}

fn is_surprise(state: &State, index: usize) -> bool {
    state.steps[index].status.is_settled() && !state.as_expected(index)
}

fn describe(state: &State, index: usize) -> String {
    match state.steps[index].status {
        StepStatus::Skipped(_) => format!("skipped ({})", why_skipped(state, index)),
        status => status.name().to_owned(),
    }
}

pub(super) fn input(document: &mut Document, state: &State) {
    document.heading("Input");
    document.block("json", &serde_json::to_string_pretty(&state.start.input).unwrap_or_default());
}

pub(super) fn phases(document: &mut Document, state: &State) {
    document.heading("Phases");
    let rows = (0..state.phases.len()).map(|index| {
        let spec = state.phase(index);
        let agents: Vec<&str> = spec.agents.iter().map(AsRef::as_ref).collect();
        let steps = state.steps_of(index).map(|step| &state.steps[step]);
        [
            spec.name.clone(),
            phase_status(state, index),
            agents.join(", "),
            counts(steps),
            spec.instructions.clone(),
        ]
    });
    document.table(["Phase", "State", "Agents", "Steps", "Instructions"], rows);
}

fn phase_status(state: &State, phase: usize) -> String {
    match state.phases[phase].status {
        PhaseStatus::Pending => "waits".to_owned(),
        PhaseStatus::Running => "runs".to_owned(),
        PhaseStatus::Ended => "ended".to_owned(),
        PhaseStatus::Failed => "could not begin".to_owned(),
        PhaseStatus::Skipped(reason) => format!("skipped: {}", why_phase_skipped(state, phase, reason)),
    }
}

pub(super) fn steps(document: &mut Document, state: &State) {
    document.heading("Steps");
    let shown = |index: &usize| state.steps[*index].status != StepStatus::Skipped(Skip::LeftOut);
    let rows = (0..state.steps.len()).filter(shown).map(|index| {
        let (step, spec) = (&state.steps[index], state.step(index));
        let start = step.attempts.first().map(|attempt| attempt.start);
        let fallback = step.fallback.filter(|_| step.status == StepStatus::FellBack);
        let via = fallback.map(|fallback| format!(" to {}", state.step(fallback).id)).unwrap_or_default();
        [
            spec.id.to_string(),
            state.phase(step.phase).name.clone(),
            format!("{}{via}", describe(state, index)),
            spec.expect.status().name().to_owned(),
            step.attempts.len().to_string(),
            elapsed(start, step.end_time.filter(|_| start.is_some())),
            step.agent().to_owned(),
        ]
    });
    document.table(["Step", "Phase", "State", "Expected", "Attempts", "Took", "Agent"], rows);
}

pub(super) fn failed_attempts(document: &mut Document, state: &State) {
    let rows: Vec<[String; 5]> =
        (0..state.steps.len()).flat_map(|index| failed_attempts_of(state, index)).collect();
    if !rows.is_empty() {
        document.heading("Attempts that failed");
        document.table(["Step", "Attempt", "Agent", "Took", "Error"], rows);
    }
}

fn failed_attempts_of(state: &State, index: usize) -> Vec<[String; 5]> {
    let failed =
        state.steps[index].attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
    let row = |(attempt, error): (&crate::run::Attempt, &crate::run::StepError)| {
        [
            state.step(index).id.to_string(),
            attempt.number.to_string(),
            attempt.agent.clone(),
            elapsed(Some(attempt.start), attempt.end),
            error.to_string().chars().take(500).collect(),
        ]
    };
    failed.map(row).collect()
}

pub(super) fn denials(document: &mut Document, state: &State, denials: &[Denial]) {
    let denied =
        state.steps.iter().filter(|step| step.error.as_ref().is_some_and(|error| error.is_denied())).count();
    if denials.is_empty() && denied == 0 {
        return;
    }
    document.heading("Denials");
    if denials.len() < denied {
        document
            .paragraph("Policy denied steps whose decisions had not been reported when this was written.");
    }
    for denial in denials {
        document.item(&format!(
            "{} may not call {}: {}",
            code(&denial.subject),
            code(&denial.method),
            inline(&denial.why)
        ));
        for rule in &denial.rules {
            document.sub_item(&format!("did not hold: {}", code(rule)));
        }
        if !denial.remedy.is_empty() {
            document.sub_item(&format!("what would have to change: {}", inline(&denial.remedy)));
        }
        document.sub_item(&format!("`nova policy explain {}`", denial.decision_id));
    }
}

pub(super) fn resources(document: &mut Document, state: &State, processes: &[ProcessView]) {
    let agents = state.agents();
    let of_the_run = |process: &&ProcessView| agents.iter().any(|agent| agent.as_ref() == process.agent);
    let rows: Vec<[String; 4]> = processes
        .iter()
        .filter(of_the_run)
        .map(|process| {
            let memory = memory(process.max_memory_bytes);
            let cpu = format!("{}.{:03} s", process.cpu_millis / 1_000, process.cpu_millis % 1_000);
            [process.agent.clone(), cpu, memory, process.restarts.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        document.heading("What the agents used");
        document.table(["Agent", "CPU time", "Peak memory", "Restarts"], rows);
        document.paragraph(PEAK);
    }
}

const PEAK: &str = "Peak memory is the most that was seen, of one process of the agent (`VmHWM` of the kernel) or of all its processes \
                    together. A dash stands for an agent that ended before its memory was first looked at.";

/// A process that ended before it was ever looked at used an unknown amount.
fn memory(bytes: u64) -> String {
    if bytes == 0 { "–".to_owned() } else { format!("{:.1} MiB", bytes as f64 / 1_048_576.0) }
}

/// The Markdown that summaries gave.
pub(super) fn findings(document: &mut Document, state: &State) {
    for index in 0..state.steps.len() {
        let summary = state.steps[index].result.as_ref().and_then(|result| result.get("markdown"));
        if let Some(markdown) = summary.and_then(Value::as_str) {
            document.heading(&format!("Findings: {}", state.step(index).id));
            document.embed(markdown);
        }
    }
}

pub(super) fn next_steps(document: &mut Document, state: &State) {
    let (run, namespace) = (state.start.run_id, option(&state.start.namespace));
    document.heading("Where to look next");
    document.item(&format!(
        "`nova workflow show {run}{namespace}`: every step; with `--step STEP` one with its attempts and its result"
    ));
    let trace = state.start.recorded_trace_id();
    if !trace.is_empty() {
        document.item(&format!("`nova trace {trace}`: the run across the daemons"));
    }
    document.item(&format!("`nova memory search QUERY{namespace}`: what the agents found and remembered"));
}

/// How a command is told the namespace, unless it is the default one.
fn option(namespace: &Namespace) -> String {
    if *namespace == Namespace::default() { String::new() } else { format!(" --namespace {namespace}") }
}
