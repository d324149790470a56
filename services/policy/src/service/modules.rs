//! Reading and changing the policy.

use nova_authz::Module;
use nova_proto::policy::v1 as pb;
use nova_rpc::Error;
use nova_types::Violation;

use super::{PolicyApi, parse};

pub(crate) async fn put(
    api: &PolicyApi,
    request: pb::PutPolicyRequest,
) -> Result<pb::PutPolicyResponse, Error> {
    let module = request.module.ok_or_else(|| Violation::new("module", "must be set"))?;
    let revision = api.revisions.put(parse::module(module)?).await?;
    Ok(pb::PutPolicyResponse { revision })
}

pub(crate) fn get(api: &PolicyApi, request: pb::GetPolicyRequest) -> Result<pb::GetPolicyResponse, Error> {
    parse::module_id("module_id", &request.module_id)?;
    let active = api.revisions.active();
    let found = active.snapshot.modules().iter().find(|module| module.id == request.module_id);
    let module = found.ok_or_else(|| crate::Error::NoModule(request.module_id))?;
    Ok(pb::GetPolicyResponse { module: Some(to_wire(module)) })
}

pub(crate) fn list(api: &PolicyApi) -> pb::ListPoliciesResponse {
    let active = api.revisions.active();
    let name = |module: &Module| pb::PolicyModule { id: module.id.clone(), rego: String::new() };
    let modules = active.snapshot.modules().iter().map(name).collect();
    pb::ListPoliciesResponse { modules, revision: active.snapshot.revision().to_owned() }
}

pub(crate) async fn delete(
    api: &PolicyApi,
    request: pb::DeletePolicyRequest,
) -> Result<pb::DeletePolicyResponse, Error> {
    parse::module_id("module_id", &request.module_id)?;
    let revision = api.revisions.delete(&request.module_id).await?;
    Ok(pb::DeletePolicyResponse { revision })
}

pub(crate) async fn status(api: &PolicyApi) -> Result<pb::GetPolicyStatusResponse, Error> {
    let active = api.revisions.active();
    let (decisions, dropped) = api.decisions.counts();
    Ok(pb::GetPolicyStatusResponse {
        revision: active.snapshot.revision().to_owned(),
        activate_time: Some(active.since.to_wire()),
        last_error: api.revisions.last_error().await?,
        decisions,
        dropped,
        watchers: api.watchers.names(),
    })
}

fn to_wire(module: &Module) -> pb::PolicyModule {
    pb::PolicyModule { id: module.id.clone(), rego: module.rego.clone() }
}
