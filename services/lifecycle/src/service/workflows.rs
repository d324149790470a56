//! WorkflowService.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use nova_proto::lifecycle::v1 as pb;
use nova_proto::lifecycle::v1::workflow_service_server::WorkflowService;
use nova_rpc::{Lease, caller, lease, trace};
use nova_types::{Namespace, RequestId, RunId, StepId, Violation, Violations, wire};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Answer;
use super::agents::{Page, namespace, next_token};
use super::run_messages as messages;
use super::watch_run::{self, Watches};
use crate::error::Error;
use crate::plan::{self, Plan};
use crate::run::{Evidence, Runs, Scheduler, Start, State, report};

/// A plan with its input may take this many bytes as a record.
const MAX_START_BYTES: usize = 900 << 10;

/// WorkflowService over the runs.
#[derive(Debug)]
pub(super) struct WorkflowRpcs {
    scheduler: Scheduler,
    watches: Watches,
    drain: CancellationToken,
}

impl WorkflowRpcs {
    pub(super) fn new(scheduler: Scheduler, max_watches: usize, drain: CancellationToken) -> Self {
        Self { scheduler, watches: Watches::new(max_watches), drain }
    }

    fn runs(&self) -> &Runs {
        &self.scheduler.executor().runs
    }

    /// Starts a run, or finds the one that the same request started.
    async fn start(
        &self,
        request: pb::StartRunRequest,
        actor: String,
        lease: Option<Arc<Lease>>,
    ) -> Result<(Namespace, RunId), Error> {
        let namespace = namespace(&request.namespace)?;
        let request_id = RequestId::parse("request_id", &request.request_id)?;
        let fingerprint = fingerprint(&request);
        if let Some(known) = self.known(&namespace, request_id.as_ref(), &fingerprint).await? {
            return Ok((namespace, known));
        }
        let start = Start { request_id: request_id.clone(), ..self.checked(&namespace, &request, actor)? };
        let run_id = start.run_id;
        match (self.scheduler.start(start, &fingerprint, lease).await, &request_id) {
            (Err(Error::Contended(_)), Some(request_id)) => {
                // The same request came twice at once, and the other was faster.
                let known = self.known(&namespace, Some(request_id), &fingerprint).await?;
                known.map(|known| (namespace, known)).ok_or(Error::Contended(request_id.to_string()))
            }
            (started, _) => started.map(|()| (namespace, run_id)),
        }
    }

    /// The run that the same request started before; it goes on, whatever became of that call.
    async fn known(
        &self,
        namespace: &Namespace,
        request_id: Option<&RequestId>,
        fingerprint: &str,
    ) -> Result<Option<RunId>, Error> {
        let Some(request_id) = request_id else { return Ok(None) };
        let known = self.runs().started_by(namespace, request_id, fingerprint).await?;
        if let Some(run_id) = known {
            self.scheduler.go_on(namespace, run_id).await?;
        }
        Ok(known)
    }

    fn checked(
        &self,
        namespace: &Namespace,
        request: &pb::StartRunRequest,
        actor: String,
    ) -> Result<Start, Error> {
        let plan = plan(&request.plan, &request.file_name)?;
        let input = plan::parse_input("input_json", &request.input_json)?;
        let start = Start {
            run_id: RunId::new(self.runs().clock().now()),
            namespace: namespace.clone(),
            input: plan::check_input("input_json", &plan, input)?,
            skip_phases: skip_phases(&plan, &request.skip_phases)?,
            plan,
            actor,
            traceparent: trace::current_traceparent().unwrap_or_default(),
            request_id: None,
        };
        let size = serde_json::to_vec(&start).map_or(usize::MAX, |bytes| bytes.len());
        if size > MAX_START_BYTES {
            let rule = format!("with its input it takes {size} bytes as a record; at most {MAX_START_BYTES}");
            return Err(Violation::new("plan", rule).into());
        }
        Ok(start)
    }
}

#[tonic::async_trait]
impl WorkflowService for WorkflowRpcs {
    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<pb::WatchRunResponse, Status>> + Send>>;

    async fn validate_plan(
        &self,
        request: Request<pb::ValidatePlanRequest>,
    ) -> Answer<pb::ValidatePlanResponse> {
        let request = request.into_inner();
        let plan = plan(&request.plan, &request.file_name)?;
        if !request.input_json.is_empty() {
            let input = plan::parse_input("input_json", &request.input_json).map_err(Error::from)?;
            plan::check_input("input_json", &plan, input).map_err(Error::from)?;
        }
        let phases = messages::plan_to_wire(&plan);
        Ok(Response::new(pb::ValidatePlanResponse { plan: plan.metadata.name, phases }))
    }

    async fn start_run(&self, request: Request<pb::StartRunRequest>) -> Answer<pb::StartRunResponse> {
        let (actor, lease) = (caller(&request).name().to_owned(), lease(&request));
        let (_, run_id) = self.start(request.into_inner(), actor, lease).await?;
        let run = messages::run_to_wire(&self.runs().outline(run_id).await?);
        Ok(Response::new(pb::StartRunResponse { run: Some(run) }))
    }

    async fn cancel_run(&self, request: Request<pb::CancelRunRequest>) -> Answer<pb::CancelRunResponse> {
        let (by, lease) = (caller(&request).name().to_owned(), lease(&request));
        let request = request.into_inner();
        let (namespace, run_id) = name(&request.namespace, &request.run_id)?;
        self.scheduler.cancel(&namespace, run_id, &by, lease).await?;
        let run = messages::run_to_wire(&self.runs().outline(run_id).await?);
        Ok(Response::new(pb::CancelRunResponse { run: Some(run) }))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::GetRunResponse> {
        let request = request.into_inner();
        let (namespace, run_id) = name(&request.namespace, &request.run_id)?;
        let step = step(&request.step)?;
        self.runs().head(&namespace, run_id).await?;
        let state = self.runs().outline(run_id).await?;
        let run = match step {
            None => messages::run_to_wire(&state),
            Some(step) => {
                let wanted = state.fallbacks_from(index_of(&step, &state)?);
                let state = self.runs().state_with(run_id, |step, _| wanted.contains(step)).await?;
                messages::run_with_step(&state, index_of(&step, &state)?)
            }
        };
        Ok(Response::new(pb::GetRunResponse { run: Some(run) }))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let (heads, next) = match request.running {
            true => self.runs().list_open(&namespace, page.size, page.after).await?,
            false => self.runs().list(&namespace, page.size, page.after).await?,
        };
        let runs = heads.into_iter().map(messages::head_to_wire).collect();
        Ok(Response::new(pb::ListRunsResponse { runs, next_page_token: next_token(next) }))
    }

    async fn watch_run(&self, request: Request<pb::WatchRunRequest>) -> Answer<Self::WatchRunStream> {
        let request = request.into_inner();
        let (namespace, run_id) = name(&request.namespace, &request.run_id)?;
        self.runs().head(&namespace, run_id).await?;
        let (permit, drain) = (self.watches.permit()?, self.drain.clone());
        let events = watch_run::events(self.runs().clone(), run_id, request.after, drain, permit);
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_run_report(
        &self,
        request: Request<pb::GetRunReportRequest>,
    ) -> Answer<pb::GetRunReportResponse> {
        let request = request.into_inner();
        let (namespace, run_id) = name(&request.namespace, &request.run_id)?;
        self.runs().head(&namespace, run_id).await?;
        let markdown = match self.runs().report(run_id).await? {
            Some(markdown) => markdown,
            None => {
                let told = |_: &StepId, result: &serde_json::Value| result.get("markdown").is_some();
                report(&self.runs().state_with(run_id, told).await?, &Evidence::default())
            }
        };
        Ok(Response::new(pb::GetRunReportResponse { markdown }))
    }
}

fn plan(text: &str, file: &str) -> Result<Plan, Error> {
    wire::text("file_name", file, 0..=4_096)?;
    Ok(plan::parse(text, file)?)
}

fn skip_phases(plan: &Plan, names: &[String]) -> Result<BTreeSet<String>, Violations> {
    let mut violations = Violations::new();
    for (index, name) in names.iter().enumerate().take(1_000) {
        if plan.phase_index(name).is_none() {
            let shown: String = name.chars().take(64).collect();
            let rule = format!("the plan has no phase {shown:?}");
            violations.push(Violation::new(format!("skip_phases[{index}]"), rule));
        }
    }
    violations.finish()?;
    Ok(names.iter().cloned().collect())
}

/// Tells requests apart: everything but the key itself.
fn fingerprint(request: &pb::StartRunRequest) -> String {
    let body = serde_json::json!([request.plan, request.input_json, request.skip_phases]);
    format!("{:x}", Sha256::digest(body.to_string()))
}

/// A step that is asked for; none when all are.
fn step(id: &str) -> Result<Option<StepId>, Error> {
    Ok(if id.is_empty() { None } else { Some(StepId::parse("step", id)?) })
}

fn index_of(step: &StepId, state: &State) -> Result<usize, Error> {
    state.step_index(step).ok_or_else(|| Error::StepUnknown(step.clone()))
}

fn name(namespace: &str, id: &str) -> Result<(Namespace, RunId), Error> {
    Ok(Violations::both(Namespace::parse("namespace", namespace), RunId::parse("run_id", id))?)
}
