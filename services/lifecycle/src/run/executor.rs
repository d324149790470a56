//! Does what the engine asks for. Every effect may be done again: it is the same effect.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use nova_rpc::trace;
use nova_types::{AgentId, QueueName, SessionId, SpiffeId, TrustDomain};
use serde_json::json;
use tracing::{Instrument as _, Span};

use super::engine::TaskSpec;
use super::event::{Event, Start, StepError};
use super::mesh::{AgentProcess, Mesh, MeshError, Stored, Watch};
use super::observe::TaskView;
use super::report::Evidence;
use super::state::{State, StepStatus};
use super::store::Runs;
use super::wants::Wants;
use crate::agent::{AgentState, Agents, Author, Description};
use crate::error::Error;
use crate::session::{NewSession, SessionChange, SessionState, Sessions};

/// Tasks of one call to the queue at most, in number and in bytes of payload.
const MAX_TASKS: usize = 500;
const MAX_BYTES: usize = 3 << 20;

/// Everything that effects touch.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Logs of runs.
    pub runs: Runs,
    /// Agents.
    pub agents: Agents,
    /// Sessions.
    pub sessions: Sessions,
    /// The other daemons.
    pub mesh: Arc<dyn Mesh>,
    /// Processes that open runs want.
    pub wants: Wants,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// How long the end of a run waits for decisions that daemons have not reported yet.
    pub decision_wait: Duration,
}

/// What came of the task of a step.
#[derive(Debug)]
pub(super) struct Enqueued {
    /// What to record.
    pub(super) event: Event,
    /// Whether an earlier driver stored it and did not come to record that.
    pub(super) known: bool,
}

impl Executor {
    /// Says which processes a run wants that was begun before.
    pub(super) fn want_agents(&self, state: &State) {
        for process in state.agents_needed().iter().filter_map(|agent| process_of(&state.start, agent)) {
            self.wants.add(state.start.run_id, process);
        }
    }

    /// Watches the run's tasks.
    pub(super) async fn watch(&self, state: &State, cursor: Option<String>) -> Result<Watch, MeshError> {
        let span = tracing::info_span!("run.watch", otel.name = "run.watch", run = %state.start.run_id);
        let watch = self.mesh.watch(&state.start.namespace, state.start.run_id, cursor);
        watch.instrument(run_span(&state.start, span)).await
    }

    /// Reads the task of a step.
    pub(super) async fn task(&self, state: &State, task_id: &str) -> Result<Option<TaskView>, MeshError> {
        let span = tracing::info_span!("run.step", otel.name = "run.step", run = %state.start.run_id);
        self.mesh.task(&state.start.namespace, task_id).instrument(run_span(&state.start, span)).await
    }

    /// Starts the agents of a phase and tells them its instructions.
    pub(super) async fn begin_phase(&self, start: &Start, phase: usize) -> Result<Event, Error> {
        let name = start.phase(phase).name.clone();
        let span =
            tracing::info_span!("run.phase", otel.name = "run.phase", run = %start.run_id, phase = name);
        let agents = start.phase(phase).agents.iter();
        let engaged = try_join_all(agents.map(|agent| self.engage(start, phase, agent)));
        match engaged.instrument(run_span(start, span)).await {
            Ok(sessions) => Ok(Event::PhaseStarted { phase: name, sessions: sessions.into_iter().collect() }),
            Err(Error::Mesh(MeshError::Refused(message))) => Ok(Event::PhaseFailed { phase: name, message }),
            Err(error) => Err(error),
        }
    }

    async fn engage(
        &self,
        start: &Start,
        phase: usize,
        agent: &AgentId,
    ) -> Result<(AgentId, SessionId), Error> {
        let namespace = &start.namespace;
        let author = self.author(start);
        let process = process_of(start, agent);
        // Wanted before anything is written, so that a run that ends now sees it and lets the agent be.
        process.iter().for_each(|process| self.wants.add(start.run_id, process.clone()));
        let turn = self.wants.turn(agent.as_ref()).await;
        self.agents.register(namespace, &description(start, agent), &author).await?;
        let why = format!("phase {} of run {}", start.phase(phase).name, start.run_id);
        self.agents.engage(namespace, agent, &why, &author).await?;
        self.mesh.register_identity(namespace, agent).await?;
        if let Some(process) = process {
            self.mesh.start_process(&process).await?;
        }
        drop(turn);
        Ok((agent.clone(), self.brief(start, phase, agent).await?))
    }

    /// Opens the session that tells an agent what the phase is about.
    async fn brief(&self, start: &Start, phase: usize, agent: &AgentId) -> Result<SessionId, Error> {
        let (namespace, spec) = (&start.namespace, start.phase(phase));
        let context = json!({
            "plan": start.plan.metadata.name, "run": start.run_id, "phase": spec.name,
            "instructions": spec.instructions, "needs": spec.needs, "agents": spec.agents,
            "steps": spec.steps.iter().map(|step| &step.id).collect::<Vec<_>>(),
        });
        let request_id = session_request(start, phase, agent);
        let new = NewSession {
            agent_id: agent.clone(),
            run_id: start.run_id.to_string(),
            context: context.as_object().cloned().unwrap_or_default(),
        };
        let session = self.sessions.start(namespace, new, request_id.as_ref()).await?;
        if session.state == SessionState::Waiting {
            let begin = SessionChange { state: Some(SessionState::Processing), ..SessionChange::default() };
            self.sessions.update(namespace, &session.id, &begin, "", |_| Ok(())).await?;
        }
        Ok(session.id)
    }

    /// Closes the sessions of a phase that the agents did not close themselves.
    pub(super) async fn end_phase(&self, state: &State, phase: usize) -> Result<(), Error> {
        let well = state.steps_of(phase).all(|step| state.as_expected(step));
        for session in state.phases[phase].sessions.values() {
            self.close(state, session, well).await?;
        }
        Ok(())
    }

    /// Closes a session, unless it is closed already.
    pub(super) async fn close(&self, state: &State, session: &SessionId, well: bool) -> Result<(), Error> {
        let to = match well {
            true => SessionState::Completed,
            false if state.is_cancelled() => SessionState::Cancelled,
            false => SessionState::Error,
        };
        let change = SessionChange { state: Some(to), ..SessionChange::default() };
        match self.sessions.update(&state.start.namespace, session, &change, "", |_| Ok(())).await {
            Ok(_) | Err(Error::IllegalSessionMove { .. } | Error::SessionUnknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores the tasks of steps.
    pub(super) async fn enqueue(&self, state: &State, tasks: Vec<TaskSpec>) -> Result<Vec<Enqueued>, Error> {
        let mut enqueued = Vec::new();
        for batch in batches(tasks) {
            let span = tracing::info_span!("run.step", otel.name = "run.step", run = %state.start.run_id, steps = %names(&batch));
            let stored = self.enqueue_batch(state, batch).instrument(run_span(&state.start, span));
            enqueued.extend(stored.await?);
        }
        Ok(enqueued)
    }

    async fn enqueue_batch(&self, state: &State, batch: Vec<TaskSpec>) -> Result<Vec<Enqueued>, Error> {
        match self.mesh.enqueue(&state.start.namespace, &batch).await {
            Ok(stored) => Ok(batch.into_iter().zip(stored).map(enqueued).collect()),
            Err(MeshError::Refused(_)) => self.enqueue_singly(state, batch).await,
            Err(error) => Err(error.into()),
        }
    }

    /// One of a batch is at fault: that one fails, the others are stored.
    async fn enqueue_singly(&self, state: &State, batch: Vec<TaskSpec>) -> Result<Vec<Enqueued>, Error> {
        let mut answers = Vec::new();
        for task in batch {
            match self.mesh.enqueue(&state.start.namespace, std::slice::from_ref(&task)).await {
                Ok(mut stored) => answers.extend(stored.pop().map(|stored| enqueued((task, stored)))),
                Err(MeshError::Refused(why)) => {
                    let error = StepError::new("TASK_REFUSED", why);
                    answers
                        .push(Enqueued { event: Event::StepFailed { step: task.step, error }, known: false });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(answers)
    }

    /// Lets the agents and processes go that no other run wants, and gathers what the report tells.
    /// What fails here is logged, and the reconciler's to heal: the run has ended.
    pub(super) async fn finish(&self, state: &State) -> Evidence {
        let span = run_span(
            &state.start,
            tracing::info_span!("run.finish", otel.name = "run.finish", run = %state.start.run_id),
        );
        let processes = self.give_up_processes(state);
        let why = format!("the end of run {}", state.start.run_id);
        let finish = async {
            let released = processes.iter().map(|process| self.let_go(&state.start, process, &why));
            let released = futures::future::join_all(released);
            let (_, denials) = tokio::join!(released, self.denials(state));
            let processes = self.mesh.processes().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "what the agents used is not known");
                Vec::new()
            });
            Evidence { denials, processes }
        };
        finish.instrument(span).await
    }

    /// A run wants these agents no more: gives the processes of those that it did want, for [`Executor::dismiss`].
    pub(super) fn give_up<'a>(
        &self,
        start: &Start,
        agents: impl Iterator<Item = &'a AgentId>,
    ) -> Vec<AgentProcess> {
        let processes = agents.filter_map(|agent| process_of(start, agent));
        processes.filter(|process| self.wants.remove(start.run_id, &process.id())).collect()
    }

    /// Lets agents go that their run gave up, unless it wants them again: their places are for others.
    pub(super) async fn dismiss(&self, start: &Start, idle: Vec<AgentProcess>) {
        let span = tracing::info_span!("run.dismiss", otel.name = "run.dismiss", run = %start.run_id);
        let why = format!("run {} does not need it at present", start.run_id);
        let let_go = idle.iter().map(|process| self.let_go(start, process, &why));
        futures::future::join_all(let_go).instrument(run_span(start, span)).await;
    }

    /// Gives up what the run wants, and gives the processes of its agents, whoever else wants them.
    fn give_up_processes(&self, state: &State) -> Vec<AgentProcess> {
        let mut processes = self.wants.release(state.start.run_id);
        let agents = state.agents();
        let engaged = agents.iter().filter_map(|agent| process_of(&state.start, agent));
        processes.extend(engaged);
        processes.sort_by_key(AgentProcess::id);
        processes.dedup();
        processes
    }

    /// Lets an agent and its process go, each unless another open run wants it.
    async fn let_go(&self, start: &Start, process: &AgentProcess, why: &str) {
        use AgentState::{Draining, Retired};
        let author = self.author(start);
        let (namespace, agent) = (&process.namespace, &process.agent);
        let _turn = self.wants.turn(agent.as_ref()).await;
        let wanted = || self.wants.has_agent(namespace, agent);
        let drained = self.agents.let_go(namespace, agent, Draining, wanted, why, &author).await;
        if !self.wants.has_process(&process.id())
            && let Err(error) = self.mesh.stop_process(&process.id()).await
        {
            tracing::warn!(process = process.id(), %error, "an agent's process was not stopped");
        }
        let retired = self.agents.let_go(namespace, agent, Retired, wanted, why, &author).await;
        if let Err(error) = drained.and(retired) {
            tracing::warn!(%agent, %error, "an agent was not retired");
        }
    }

    /// Denied calls of the run. Daemons report decisions in batches: waits a little for those of denied steps.
    async fn denials(&self, state: &State) -> Vec<super::mesh::Denial> {
        let trace_id = state.start.trace_id();
        let expected = state.steps.iter().filter(|step| step.status == StepStatus::Denied).count();
        if trace_id.is_empty() {
            return Vec::new();
        }
        let give_up = tokio::time::Instant::now() + self.decision_wait;
        loop {
            let found = self.mesh.denials(trace_id).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the run's denials are not known");
                Vec::new()
            });
            if found.len() >= expected || tokio::time::Instant::now() >= give_up {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn author(&self, start: &Start) -> Author {
        let actor = SpiffeId::service(&self.trust_domain, "lifecycle").to_string();
        Author { actor, trace_id: start.recorded_trace_id().to_owned() }
    }
}

/// The process that drives an agent of the run's plan.
fn process_of(start: &Start, agent: &AgentId) -> Option<AgentProcess> {
    let spec = start.plan.spec.agents.get(agent)?;
    Some(AgentProcess {
        agent: agent.clone(),
        namespace: start.namespace.clone(),
        program: spec.program.clone(),
        args: spec.args.clone(),
        queues: spec.capabilities.iter().map(|name| QueueName::for_capability(name).to_string()).collect(),
        limits: spec.limits,
    })
}

fn description(start: &Start, agent: &AgentId) -> Description {
    let spec = start.plan.spec.agents.get(agent);
    Description {
        id: agent.clone(),
        role: spec.map(|spec| spec.role.clone()).unwrap_or_default(),
        capabilities: spec.map(|spec| spec.capabilities.clone()).unwrap_or_default(),
        version: spec.map(crate::plan::AgentSpec::version).unwrap_or_default(),
        framework: spec.map(|spec| spec.program.chars().take(64).collect()).unwrap_or_default(),
        metadata: [("plan".to_owned(), start.plan.metadata.name.clone())].into(),
    }
}

/// A span of the run: it hangs below the call that started the run, whoever drives it now.
pub(super) fn run_span(start: &Start, span: Span) -> Span {
    trace::set_remote_parent(&span, &start.traceparent);
    span
}

/// At most 36 + 2 + 63 bytes and two strokes: the phase is named by its index.
fn session_request(start: &Start, phase: usize, agent: &AgentId) -> Option<nova_types::RequestId> {
    let text = format!("{}/{phase}/{agent}", start.run_id);
    nova_types::RequestId::parse("request_id", &text).ok().flatten()
}

fn enqueued((task, stored): (TaskSpec, Stored)) -> Enqueued {
    let event = Event::StepQueued { step: task.step, task_id: stored.task_id };
    Enqueued { event, known: stored.known }
}

fn names(tasks: &[TaskSpec]) -> String {
    tasks.iter().take(20).map(|task| task.step.as_ref()).collect::<Vec<_>>().join(" ")
}

fn batches(tasks: Vec<TaskSpec>) -> Vec<Vec<TaskSpec>> {
    let mut batches: Vec<Vec<TaskSpec>> = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        let fits = batches.last().is_some_and(|batch| batch.len() < MAX_TASKS);
        if !fits || bytes + task.payload.len() > MAX_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += task.payload.len();
        batches.last_mut().expect("one was added").push(task);
    }
    batches
}
