//! The live view: a line for each step that ended, a spinner for each that an agent works on, and how many are left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nova_proto::lifecycle::v1::{Attempt, Phase, Run, Step, StepState, WatchRunResponse};

use super::view::told;
use crate::commands::workflow::run::{has_ended, step_state};
use crate::commands::{cells, output};

const TICK: Duration = Duration::from_millis(100);

/// The screen, and what is on it.
#[derive(Debug)]
pub(crate) struct Live {
    screen: MultiProgress,
    total: ProgressBar,
    running: BTreeMap<String, ProgressBar>,
    ended: BTreeSet<String>,
    failed_attempts: BTreeMap<String, usize>,
    /// Width of the longest name of a step.
    width: usize,
}

impl Live {
    pub(crate) fn new() -> Self {
        let screen = MultiProgress::new();
        let total =
            screen.add(spinner("{spinner:.cyan} {elapsed:>3}  {wide_msg}").with_message("the run begins"));
        total.enable_steady_tick(TICK);
        Self {
            screen,
            total,
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            failed_attempts: BTreeMap::new(),
            width: 0,
        }
    }

    /// Brings the screen to what an event says; the run is as it is after it.
    pub(crate) fn show(&mut self, event: &WatchRunResponse, run: &Run) -> anyhow::Result<()> {
        let steps = || run.phases.iter().flat_map(|phase| phase.steps.iter().map(move |step| (phase, step)));
        self.width = steps().map(|(phase, step)| name(phase, step).len()).max().unwrap_or_default();
        let changed = |step: &Step| event.run.is_some() || step.id == event.step;
        for (phase, step) in steps().filter(|(_, step)| changed(step)) {
            self.update(phase, step)?;
        }
        self.total.set_message(progress(run));
        Ok(())
    }

    /// Takes everything that moves off the screen.
    pub(crate) fn close(&mut self) {
        for (_, bar) in std::mem::take(&mut self.running) {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    fn update(&mut self, phase: &Phase, step: &Step) -> anyhow::Result<()> {
        if self.ended.contains(&step.id) {
            return Ok(());
        }
        if has_ended(step.state()) {
            self.end(phase, step)
        } else {
            self.tell_failed_attempts(phase, step)?;
            self.spin(phase, step);
            Ok(())
        }
    }

    fn end(&mut self, phase: &Phase, step: &Step) -> anyhow::Result<()> {
        self.stop(step);
        self.ended.insert(step.id.clone());
        if step.state() == StepState::Skipped {
            return Ok(());
        }
        self.print(&ended(&self.padded(phase, step), step))
    }

    /// Tells of attempts that failed and were followed by another.
    fn tell_failed_attempts(&mut self, phase: &Phase, step: &Step) -> anyhow::Result<()> {
        let retried = |attempt: &&Attempt| !attempt.error.is_empty() && attempt.number < step.attempts;
        let failed: Vec<_> = step.attempt_log.iter().filter(retried).collect();
        let told = self.failed_attempts.insert(step.id.clone(), failed.len()).unwrap_or_default();
        for attempt in failed.iter().skip(told) {
            let (name, error) = (self.padded(phase, step), cells::brief(&attempt.error));
            let text = format!("{name}  attempt {}: {error}", attempt.number);
            self.print(&format!("  {} {}", painted('↻', YELLOW), output::printable(&text)))?;
        }
        Ok(())
    }

    fn spin(&mut self, phase: &Phase, step: &Step) {
        if step.state() != StepState::Running {
            return self.stop(step);
        }
        let message = output::printable(&format!("{}  {}", self.padded(phase, step), told(step)));
        match self.running.get(&step.id) {
            Some(bar) => bar.set_message(message),
            None => {
                let bar = spinner("  {spinner:.cyan} {elapsed:>3}  {wide_msg}").with_message(message);
                let bar = self.screen.insert_before(&self.total, bar);
                bar.enable_steady_tick(TICK);
                self.running.insert(step.id.clone(), bar);
            }
        }
    }

    fn stop(&mut self, step: &Step) {
        if let Some(bar) = self.running.remove(&step.id) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }

    fn padded(&self, phase: &Phase, step: &Step) -> String {
        format!("{:width$}", name(phase, step), width = self.width)
    }

    /// Prints a line above what moves.
    pub(crate) fn print(&self, line: &str) -> anyhow::Result<()> {
        Ok(self.screen.println(line)?)
    }
}

/// `foundation/cpu`.
fn name(phase: &Phase, step: &Step) -> String {
    format!("{}/{}", phase.name, step.id)
}

fn spinner(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is fixed");
    ProgressBar::new_spinner().with_style(style)
}

/// How far a run is: `7 of 20 steps, 3 queued`.
fn progress(run: &Run) -> String {
    let steps = || run.phases.iter().flat_map(|phase| &phase.steps);
    let done = steps().filter(|step| has_ended(step.state())).count();
    let queued = steps().filter(|step| step.state() == StepState::Queued).count();
    let waits = if queued == 0 { String::new() } else { format!(", {queued} queued") };
    format!("{done} of {} steps{waits}", steps().count())
}

/// The line of a step that ended: its mark, what became of it, and why.
fn ended(name: &str, step: &Step) -> String {
    let (mark, colour) = match step.state() {
        StepState::Succeeded => ('✓', GREEN),
        StepState::FellBack => ('↷', YELLOW),
        _ if step.state() == step.expected() => ('✓', YELLOW),
        _ => ('✗', RED),
    };
    let mut text = format!("{name}  {}", told(step));
    if step.state() != step.expected() && step.expected() != StepState::Succeeded {
        text.push_str(&format!("  (expected: {})", step_state(step.expected())));
    }
    if step.state() != StepState::Succeeded && !step.error.is_empty() {
        text.push_str(&format!("  {}", cells::brief(&step.error)));
    }
    format!("  {} {}", painted(mark, colour), output::printable(&text))
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Text in a colour (ECMA-48 SGR), unless NO_COLOR is set.
fn painted(text: impl std::fmt::Display, code: &str) -> String {
    if output::colours_are_wanted() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
}
