//! Processes: start, stop, read, watch.

use std::collections::BTreeMap;
use std::time::Duration;

use nova_proto::node::v1 as pb;
use nova_rpc::Error;
use nova_types::{ProcessId, Violations, wire};

use super::streams::ResponseStream;
use super::{Service, parse, render};
use crate::process::{Process, Watcher};

const LONGEST_GRACE: Duration = Duration::from_secs(300);
const USUAL_GRACE: Duration = Duration::from_secs(5);

/// Processes that a watcher wants to see.
struct Watch {
    watcher: Watcher,
    labels: BTreeMap<String, String>,
}

impl Service {
    pub(super) async fn start(
        &self,
        request: pb::StartProcessRequest,
    ) -> Result<pb::StartProcessResponse, Error> {
        let started = self.supervisor.start(parse::spec(request.spec)?).await?;
        let process = Some(render::process(&started.process));
        Ok(pb::StartProcessResponse { process, already_running: started.was_running })
    }

    pub(super) async fn stop(
        &self,
        request: &pb::StopProcessRequest,
    ) -> Result<pb::StopProcessResponse, Error> {
        let mut violations = Violations::new();
        let id = violations.take(ProcessId::parse("process_id", &request.process_id));
        let graces = Duration::ZERO..=LONGEST_GRACE;
        let grace = violations.take(wire::duration("grace", request.grace.as_ref(), graces, USUAL_GRACE));
        let (Some(id), Some(grace)) = (id, grace) else { return Err(violations.into()) };
        let process = self.supervisor.stop(&id, grace).await?;
        Ok(pb::StopProcessResponse { process: Some(render::process(&process)) })
    }

    pub(super) fn get(&self, request: &pb::GetProcessRequest) -> Result<pb::GetProcessResponse, Error> {
        let process = self.supervisor.get(&ProcessId::parse("process_id", &request.process_id)?)?;
        Ok(pb::GetProcessResponse { process: Some(render::process(&process)) })
    }

    pub(super) fn list(&self, request: pb::ListProcessesRequest) -> Result<pb::ListProcessesResponse, Error> {
        let processes = self.supervisor.list(&parse::labels(request.labels)?);
        Ok(pb::ListProcessesResponse { processes: processes.iter().map(render::process).collect() })
    }

    pub(super) fn watch(
        &self,
        request: pb::WatchProcessesRequest,
    ) -> Result<ResponseStream<pb::WatchProcessesResponse>, Error> {
        let labels = parse::labels(request.labels)?;
        let permit = self.streams.permit()?;
        let (processes, watcher) = self.supervisor.watch();
        let mut first = wanted(processes, &labels);
        first.push(pb::WatchProcessesResponse { process: None });
        Ok(self.streams.open(permit, first, Watch { watcher, labels }, next_changes))
    }
}

async fn next_changes(mut watch: Watch) -> Option<(Vec<pb::WatchProcessesResponse>, Watch)> {
    let changes = wanted(watch.watcher.next().await?, &watch.labels);
    Some((changes, watch))
}

fn wanted(processes: Vec<Process>, labels: &BTreeMap<String, String>) -> Vec<pb::WatchProcessesResponse> {
    let wanted = processes.iter().filter(|process| process.spec.has_labels(labels));
    wanted.map(|process| pb::WatchProcessesResponse { process: Some(render::process(process)) }).collect()
}
