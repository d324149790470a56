//! A run with a queue that answers at once: what ends how, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use nova_types::{Namespace, RunId, SessionId, StepId, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::plan;

/// Runs a plan to its end. `work` decides each attempt: a result, or an error.
struct Bench<'a> {
    log: Vec<Entry>,
    state: State,
    work: &'a dyn Fn(&TaskSpec, u32) -> Result<Value, StepError>,
}

impl<'a> Bench<'a> {
    fn start(
        plan: &str,
        skip: &[&str],
        work: &'a dyn Fn(&TaskSpec, u32) -> Result<Value, StepError>,
    ) -> Self {
        let plan = plan::parse(plan, "").unwrap();
        let start = Start {
            run_id: RunId::new(Timestamp::from_micros(1)),
            namespace: Namespace::default(),
            input: plan::check_input("input", &plan, json!({"repo": "/src"})).unwrap(),
            plan,
            skip_phases: skip.iter().map(|name| (*name).to_owned()).collect(),
            actor: "spiffe://nova.local/user/ada".to_owned(),
            traceparent: String::new(),
            request_id: None,
        };
        let entry = Entry {
            sequence: 1,
            time: Timestamp::from_micros(1),
            cursor: None,
            event: Event::RunStarted(Box::new(start)),
        };
        Self { state: State::begin(&entry).unwrap(), log: vec![entry], work }
    }

    fn run(mut self) -> (State, Vec<Entry>) {
        for _ in 0..1_000 {
            let commands = next(&self.state);
            assert_eq!(commands, next(&self.state), "the same state gives the same commands");
            if commands.is_empty() {
                break;
            }
            commands.into_iter().for_each(|command| self.execute(command));
        }
        assert!(self.state.end.is_some(), "the run did not end: {:#?}", self.state.steps);
        assert_eq!(State::fold(&self.log).unwrap(), self.state);
        (self.state, self.log)
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::OpenWatch => self.record(Event::WatchOpened),
            Command::Record(events) => events.into_iter().for_each(|event| self.record(event)),
            Command::BeginPhase(phase) => {
                let spec = self.state.phase(phase);
                let session =
                    |agent: &nova_types::AgentId| (agent.clone(), SessionId::new(Timestamp::from_micros(1)));
                let sessions: BTreeMap<_, _> = spec.agents.iter().map(session).collect();
                self.record(Event::PhaseStarted { phase: spec.name.clone(), sessions });
            }
            Command::EndPhase(phase) => {
                self.record(Event::PhaseEnded { phase: self.state.phase(phase).name.clone() });
            }
            Command::Enqueue(tasks) => tasks.iter().for_each(|task| self.work_on(task)),
            Command::Finish { succeeded, message } => self.record(Event::RunEnded { succeeded, message }),
        }
    }

    fn work_on(&mut self, task: &TaskSpec) {
        self.record(Event::StepQueued { step: task.step.clone(), task_id: task.request_id.clone() });
        let attempts = task.retry.max_attempts.max(1);
        for attempt in 1..=attempts {
            self.observe(task, TaskPlace::Leased, attempt, None);
            match (self.work)(task, attempt) {
                Ok(result) => return self.observe(task, TaskPlace::Completed(result), attempt, None),
                Err(error) => {
                    let last = attempt == attempts || error.is_denied();
                    let place = if last { TaskPlace::Dead } else { TaskPlace::Waiting };
                    self.observe(task, place, attempt, Some(error));
                    if last {
                        return;
                    }
                }
            }
        }
    }

    fn observe(&mut self, task: &TaskSpec, place: TaskPlace, attempts: u32, error: Option<StepError>) {
        let view = TaskView {
            step: task.step.clone(),
            state: place,
            attempts,
            worker: "orion".to_owned(),
            last_error: error,
            time: Timestamp::from_micros(self.log.len() as i64),
        };
        for event in observe(&self.state, &view) {
            self.record(event);
        }
        assert_eq!(observe(&self.state, &view), [], "a repeat is no news");
    }

    fn record(&mut self, event: Event) {
        let sequence = self.state.sequence + 1;
        let time = Timestamp::from_micros(sequence as i64);
        let entry = Entry { sequence, time, cursor: Some("c".to_owned()), event };
        self.state.apply(&entry).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry, "the log keeps what it is given");
        self.log.push(entry);
    }
}

const PLAN: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: check}
spec:
  input: {type: object, properties: {repo: {type: string}, deep: {type: boolean, default: false}}}
  agents:
    orion: {role: auditor, capabilities: [host]}
  phases:
    - name: audit
      agents: [orion]
      steps:
        - {id: cpu, kind: cpu, capability: host}
        - {id: deep, kind: deep, capability: host, when: input.deep}
        - {id: size, kind: size, capability: host, needs: [cpu, deep], with: {n: "${steps.cpu.result.n}"}}
    - name: rehearsal
      agents: [orion]
      steps:
        - {id: flaky, kind: flaky, capability: host, retry: {max_attempts: 3}}
        - {id: broken, kind: broken, capability: host, fallback: spare, expect: fell_back}
        - {id: spare, kind: spare, agent: orion, standby: true}
        - {id: forbidden, kind: forbidden, capability: host, expect: denied, retry: {max_attempts: 5}}
        - {id: after, kind: after, capability: host, needs: [broken, forbidden]}
        - {id: solid, kind: solid, capability: host, fallback: unused}
        - {id: unused, kind: unused, agent: orion, standby: true}
    - name: report
      agents: [orion]
      steps:
        - {id: summary, kind: summary, capability: host, needs: [size, after]}
"#;

fn good_work(task: &TaskSpec, attempt: u32) -> Result<Value, StepError> {
    match task.kind.as_str() {
        "flaky" if attempt == 1 => Err(StepError::new("EXIT", "code 1")),
        "broken" => Err(StepError::new("EXIT", "code 2")),
        "forbidden" => Err(StepError::new("PERMISSION_DENIED", "no")),
        _ => Ok(json!({"n": 7})),
    }
}

fn status(state: &State, step: &str) -> StepStatus {
    state.steps[state.step_index(&StepId::parse("step", step).unwrap()).unwrap()].status
}

#[test]
fn a_run_succeeds_when_every_step_ends_as_expected() {
    let (state, _) = Bench::start(PLAN, &[], &good_work).run();
    assert_eq!(state.end.as_ref().unwrap().message, "");
    assert_eq!(status(&state, "deep"), StepStatus::Skipped(Skip::Condition));
    assert_eq!(status(&state, "flaky"), StepStatus::Succeeded);
    assert_eq!(status(&state, "broken"), StepStatus::FellBack);
    assert_eq!(status(&state, "forbidden"), StepStatus::Denied);
    assert_eq!(status(&state, "after"), StepStatus::Succeeded);
    assert_eq!(status(&state, "unused"), StepStatus::Skipped(Skip::NotNeeded));
}

#[test]
fn every_attempt_is_kept_with_its_error() {
    let (state, _) = Bench::start(PLAN, &[], &good_work).run();
    let flaky = &state.steps[state.step_index(&StepId::parse("step", "flaky").unwrap()).unwrap()];
    let errors: Vec<bool> = flaky.attempts.iter().map(|attempt| attempt.error.is_some()).collect();
    assert_eq!(errors, [true, false]);
    assert!(flaky.attempts.iter().all(|attempt| attempt.end.is_some() && attempt.agent == "orion"));
}

#[test]
fn a_phase_that_is_left_out_satisfies_those_that_need_it() {
    let (state, log) = Bench::start(PLAN, &["rehearsal"], &good_work).run();
    assert!(state.end.unwrap().succeeded);
    let queued: BTreeSet<&str> = log
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::StepQueued { step, .. } => Some(step.as_ref()),
            _ => None,
        })
        .collect();
    assert_eq!(queued, BTreeSet::from(["cpu", "size", "summary"]));
}

#[test]
fn a_phase_that_is_left_out_keeps_the_order_of_the_others() {
    let (_, log) = Bench::start(PLAN, &["rehearsal"], &good_work).run();
    let place = |kind: &str, phase: &str| {
        log.iter().position(|entry| entry.event.kind() == kind && entry.event.phase() == Some(phase))
    };
    assert!(place("phase_started", "report").unwrap() > place("phase_ended", "audit").unwrap());
}

#[test]
fn a_phase_that_is_left_out_passes_on_what_failed_before_it() {
    let work = |task: &TaskSpec, attempt: u32| match task.kind.as_str() {
        "cpu" => Err(StepError::new("EXIT", "code 9")),
        _ => good_work(task, attempt),
    };
    let (state, _) = Bench::start(PLAN, &["rehearsal"], &work).run();
    assert_eq!(state.phases[2].status, PhaseStatus::Skipped(Skip::NeedFailed));
}

#[test]
fn what_needs_a_failed_step_is_skipped_and_the_run_fails() {
    let work = |task: &TaskSpec, attempt: u32| match task.kind.as_str() {
        "cpu" => Err(StepError::new("EXIT", "code 9")),
        _ => good_work(task, attempt),
    };
    let (state, _) = Bench::start(PLAN, &[], &work).run();
    let end = state.end.clone().unwrap();
    assert!(!end.succeeded);
    assert_eq!(end.message, "step cpu ended failed, expected succeeded", "causes, not what they entail");
    assert_eq!(status(&state, "size"), StepStatus::Skipped(Skip::NeedFailed));
    for skipped in ["size", "summary"] {
        let index = state.step_index(&StepId::parse("step", skipped).unwrap()).unwrap();
        assert_eq!(super::why_skipped(&state, index), "not run: audit/cpu failed", "{skipped}");
    }
    assert_eq!(state.phases[2].status, PhaseStatus::Skipped(Skip::NeedFailed));
}

#[test]
fn a_fallback_that_fails_leaves_the_step_failed() {
    let work = |task: &TaskSpec, attempt: u32| match task.kind.as_str() {
        "spare" => Err(StepError::new("EXIT", "code 3")),
        _ => good_work(task, attempt),
    };
    let (state, _) = Bench::start(PLAN, &[], &work).run();
    assert_eq!(status(&state, "broken"), StepStatus::Failed);
    assert!(!state.end.unwrap().succeeded);
}

#[test]
fn an_expression_that_fails_fails_its_step() {
    let work = |task: &TaskSpec, attempt: u32| match task.kind.as_str() {
        "cpu" => Ok(json!("no object")),
        _ => good_work(task, attempt),
    };
    let (state, _) = Bench::start(PLAN, &["rehearsal"], &work).run();
    assert_eq!(status(&state, "size"), StepStatus::Failed);
}

#[test]
fn a_task_carries_what_its_step_needs() {
    let seen = std::cell::RefCell::new(Value::Null);
    let work = |task: &TaskSpec, attempt: u32| {
        if task.kind == "size" {
            assert_eq!(task.queue, "agents.can.host");
            assert_eq!(task.metadata["phase"], "audit");
            assert!(task.metadata.contains_key("session"));
            *seen.borrow_mut() = serde_json::from_slice(&task.payload).unwrap();
        }
        good_work(task, attempt)
    };
    Bench::start(PLAN, &["rehearsal"], &work).run();
    let payload = seen.into_inner();
    assert_eq!(payload["with"], json!({"n": 7}));
    assert_eq!(payload["inputs"], json!({"cpu": {"n": 7}}));
}

/// A run that is given up while a task of its first phase is open.
fn given_up(event: Event) -> State {
    let mut bench = Bench::start(PLAN, &[], &good_work);
    bench.record(Event::WatchOpened);
    bench.execute(Command::BeginPhase(0));
    let queued = Event::StepQueued { step: StepId::parse("step", "cpu").unwrap(), task_id: "t".to_owned() };
    bench.record(queued);
    bench.record(event);
    bench.run().0
}

#[test]
fn a_run_without_time_gives_up_what_is_open() {
    let state = given_up(Event::RunTimedOut);
    assert_eq!(status(&state, "cpu"), StepStatus::Failed);
    assert_eq!(status(&state, "size"), StepStatus::Skipped(Skip::TimedOut));
    assert!(!state.is_cancelled());
    assert!(state.end.unwrap().message.starts_with("the run had no time left; step cpu ended failed"));
}

#[test]
fn a_run_that_is_cancelled_gives_up_what_is_open() {
    let state = given_up(Event::RunCancelled { by: "spiffe://nova.local/user/ada".to_owned() });
    assert_eq!(status(&state, "cpu"), StepStatus::Cancelled);
    assert_eq!(status(&state, "size"), StepStatus::Skipped(Skip::Cancelled));
    assert!(state.is_cancelled());
    let report = report(&state, &Evidence::default());
    assert!(report.contains(": cancelled\n"), "{report}");
    let end = state.end.unwrap();
    assert!(!end.succeeded);
    assert_eq!(end.message, "the run was cancelled by spiffe://nova.local/user/ada");
}

#[test]
fn a_run_that_is_cancelled_before_it_began_ends_without_the_queue() {
    let mut bench = Bench::start(PLAN, &[], &good_work);
    bench.record(Event::RunCancelled { by: String::new() });
    let (state, log) = bench.run();
    assert!(state.is_cancelled());
    assert!(log.iter().all(|entry| entry.event != Event::WatchOpened));
}
