//! What is seen of a run while it goes on: a live view on a terminal, a line for each event
//! elsewhere, and with `--json` a record for each.

use nova_proto::lifecycle::v1::{Run, Step, WatchRunResponse};
use serde_json::json;

use super::live::Live;
use crate::cli::Context;
use crate::commands::workflow::run;
use crate::commands::{cells, output};

/// What is seen, and whether it matters that somebody looks.
#[derive(Debug)]
pub(crate) struct View {
    form: Form,
    /// A reader that goes away ends nothing.
    regardless: bool,
}

/// One of the four.
#[derive(Debug)]
enum Form {
    Live(Live),
    Lines,
    Records,
    Nothing,
}

impl View {
    /// The view for where the output goes.
    pub(crate) fn of(context: &Context) -> Self {
        let form = match (context.json, output::is_animated()) {
            (true, _) => Form::Records,
            (false, true) => Form::Live(Live::new()),
            (false, false) => Form::Lines,
        };
        Self { form, regardless: false }
    }

    /// Shows nothing: only the end of the run matters.
    pub(crate) fn nothing() -> Self {
        Self { form: Form::Nothing, regardless: false }
    }

    /// The same, for what goes on when nobody reads any more.
    pub(crate) fn regardless_of_readers(self) -> Self {
        Self { regardless: true, ..self }
    }

    /// Shows an event of a run, which is as it is after the event.
    pub(crate) fn show(&mut self, event: &WatchRunResponse, run: &Run) -> anyhow::Result<()> {
        let shown = match &mut self.form {
            Form::Live(live) => live.show(event, run),
            Form::Lines if concerns_people(event) => output::line(&output::printable(&line(event, run))),
            Form::Lines | Form::Nothing => Ok(()),
            Form::Records => output::json_line(&record(event, run)),
        };
        if self.regardless { output::regardless_of_readers(shown) } else { shown }
    }

    /// Tells something besides the events.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        let text = output::printable(text);
        match &self.form {
            Form::Live(live) => live.print(&text)?,
            Form::Lines | Form::Records | Form::Nothing => tell!("{text}"),
        }
        Ok(())
    }

    /// Leaves the terminal to what comes next.
    pub(crate) fn close(&mut self) {
        if let Form::Live(live) = &mut self.form {
            live.close();
        }
    }
}

/// Events without a message, phase or step are the engine's own; but for the run's first and last.
fn concerns_people(event: &WatchRunResponse) -> bool {
    let named = [&event.phase, &event.step, &event.message].iter().any(|text| !text.is_empty());
    named || event.kind.starts_with("run_")
}

/// Events after which the step goes on: what is next for it says nothing of them.
const TO_BE_CONTINUED: [&str; 2] = ["attempt_failed", "step_falls_back"];

/// `10:03:22  survey/cpu  succeeded, auditor-1, 1.2s`
fn line(event: &WatchRunResponse, run: &Run) -> String {
    let time = event.time.as_ref().map(|time| cells::local(time, "%H:%M:%S")).unwrap_or_default();
    format!("{time}  {}  {}", place(event, run), said(event)).trim_end().to_owned()
}

/// The step with its phase, the phase, or the run.
fn place(event: &WatchRunResponse, run: &Run) -> String {
    match (event.phase.as_str(), event.step.as_str()) {
        ("", "") => format!("run {} of {}", run::name(run), run.plan),
        (phase, "") => phase.to_owned(),
        (phase, step) => format!("{phase}/{step}"),
    }
}

fn said(event: &WatchRunResponse) -> String {
    let message = cells::brief(&event.message);
    let step = event.step_after.as_ref().filter(|_| !TO_BE_CONTINUED.contains(&event.kind.as_str()));
    let stands = match (step.map(told), event.kind.as_str()) {
        (Some(stands), _) => stands,
        (None, "attempt_failed") => return message,
        (None, kind) => kind.split_once('_').map_or(kind, |(_, verb)| verb).replace('_', " "),
    };
    let is_known = message.is_empty() || stands.starts_with(&message) || event.kind == "attempt_started";
    if is_known { stands } else { format!("{stands}: {message}") }
}

/// How a step stands, in a few words.
pub(crate) fn told(step: &Step) -> String {
    let attempts = match step.attempts {
        0 | 1 => String::new(),
        attempts => format!("attempt {attempts}"),
    };
    let took = cells::elapsed(step.start_time.as_ref(), step.end_time.as_ref());
    let parts = [run::step_state(step.state()), attempts, step.agent_id.clone(), took];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn record(event: &WatchRunResponse, run: &Run) -> serde_json::Value {
    json!({
        "sequence": event.sequence,
        "time": cells::rfc3339(event.time.as_ref()),
        "kind": event.kind,
        "phase": event.phase,
        "step": event.step,
        "message": event.message,
        "run_id": run.id,
        "run_state": run::state(run),
        "step_after": event.step_after.as_ref().map(run::step_record),
    })
}

#[cfg(test)]
mod tests {
    use nova_proto::lifecycle::v1::StepState;

    use super::*;

    fn event(kind: &str, state: StepState, message: &str) -> WatchRunResponse {
        let step = Step { id: "cpu".into(), agent_id: "auditor".into(), attempts: 2, ..Step::default() };
        WatchRunResponse {
            kind: kind.into(),
            phase: "survey".into(),
            step: "cpu".into(),
            message: message.into(),
            step_after: Some(Step { state: state.into(), ..step }),
            ..WatchRunResponse::default()
        }
    }

    #[test]
    fn a_line_tells_where_what_and_how() {
        let check = |event: &WatchRunResponse, told: &str| {
            assert_eq!(line(event, &Run::default()).trim(), told);
        };
        let succeeded = event("step_succeeded", StepState::Succeeded, "succeeded");
        check(&succeeded, "survey/cpu  succeeded, attempt 2, auditor");
        let failed = event("attempt_failed", StepState::Queued, "attempt 2 failed: no disk");
        check(&failed, "survey/cpu  attempt 2 failed: no disk");
        let falls_back = event("step_falls_back", StepState::Running, "no disk");
        check(&falls_back, "survey/cpu  falls back: no disk");
        let waits = event("phase_waits", StepState::Pending, "the node is full");
        check(
            &WatchRunResponse { step: String::new(), step_after: None, ..waits },
            "survey  waits: the node is full",
        );
    }
}
