//! The contract: parse, call, map.

mod decisions;
mod modules;
mod parse;
mod snapshots;

use nova_authz::PolicyPoint;
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::policy_service_server::PolicyService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::decisions::Decisions;
use crate::revisions::Revisions;
use crate::watchers::Watchers;

/// What the RPCs work with.
#[derive(Debug)]
pub(crate) struct PolicyApi {
    pub(crate) revisions: Revisions,
    pub(crate) decisions: Decisions,
    pub(crate) watchers: Watchers,
    pub(crate) point: PolicyPoint,
    pub(crate) shutdown: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PolicyService for PolicyApi {
    type WatchSnapshotsStream = snapshots::Stream;

    async fn check(&self, request: Request<pb::CheckRequest>) -> Answer<pb::CheckResponse> {
        Ok(Response::new(decisions::check(self, request.into_inner())?))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Answer<pb::ExplainResponse> {
        Ok(Response::new(decisions::explain(self, request.into_inner()).await?))
    }

    async fn list_decisions(
        &self,
        request: Request<pb::ListDecisionsRequest>,
    ) -> Answer<pb::ListDecisionsResponse> {
        Ok(Response::new(decisions::list(self, request.into_inner()).await?))
    }

    async fn report_decisions(
        &self,
        request: Request<pb::ReportDecisionsRequest>,
    ) -> Answer<pb::ReportDecisionsResponse> {
        Ok(Response::new(decisions::report(self, request.into_inner()).await?))
    }

    async fn watch_snapshots(
        &self,
        request: Request<pb::WatchSnapshotsRequest>,
    ) -> Answer<Self::WatchSnapshotsStream> {
        let caller = nova_rpc::caller(&request);
        Ok(Response::new(snapshots::watch(self, caller.name(), request.into_inner())?))
    }

    async fn put_policy(&self, request: Request<pb::PutPolicyRequest>) -> Answer<pb::PutPolicyResponse> {
        Ok(Response::new(modules::put(self, request.into_inner()).await?))
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::GetPolicyResponse> {
        Ok(Response::new(modules::get(self, request.into_inner())?))
    }

    async fn list_policies(
        &self,
        _request: Request<pb::ListPoliciesRequest>,
    ) -> Answer<pb::ListPoliciesResponse> {
        Ok(Response::new(modules::list(self)))
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Answer<pb::DeletePolicyResponse> {
        Ok(Response::new(modules::delete(self, request.into_inner()).await?))
    }

    async fn get_policy_status(
        &self,
        _request: Request<pb::GetPolicyStatusRequest>,
    ) -> Answer<pb::GetPolicyStatusResponse> {
        Ok(Response::new(modules::status(self).await?))
    }
}
