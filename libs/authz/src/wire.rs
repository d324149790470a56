//! Snapshots and decisions as the contract has them.

use nova_proto::policy::v1 as pb;
use nova_rpc::Credential;
use nova_types::wire::to_duration;

use crate::{Asked, Batch, Decided, Module, Snapshot, SnapshotError};

impl From<&Snapshot> for pb::Snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let module = |module: &Module| pb::PolicyModule { id: module.id.clone(), rego: module.rego.clone() };
        Self {
            revision: snapshot.revision().to_owned(),
            modules: snapshot.modules().iter().map(module).collect(),
            data_json: snapshot.data_json().to_owned(),
        }
    }
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = SnapshotError;

    fn try_from(wire: pb::Snapshot) -> Result<Self, SnapshotError> {
        let module = |module: pb::PolicyModule| Module { id: module.id, rego: module.rego };
        Self::received(&wire.revision, wire.modules.into_iter().map(module).collect(), &wire.data_json)
    }
}

impl From<&Asked> for pb::Question {
    fn from(asked: &Asked) -> Self {
        let Asked { subject, roles, credential, service, method } = asked.clone();
        let credential = match credential {
            Credential::Certificate => pb::Credential::Certificate,
            Credential::Token => pb::Credential::Token,
        };
        Self { subject, roles, method, service, credential: credential.into() }
    }
}

impl From<&Decided> for pb::Decision {
    fn from(decided: &Decided) -> Self {
        let verdict = if decided.allow { pb::Verdict::Allow } else { pb::Verdict::Deny };
        Self {
            id: decided.id.to_string(),
            question: Some((&decided.asked).into()),
            verdict: verdict.into(),
            why: decided.why.clone(),
            revision: decided.revision.clone(),
            time: Some(decided.time.to_wire()),
            elapsed: Some(to_duration(decided.elapsed)),
            trace_id: decided.trace_id.clone(),
        }
    }
}

impl From<&Batch> for pb::ReportDecisionsRequest {
    fn from(batch: &Batch) -> Self {
        let decisions = batch.decisions.iter().map(|decided| decided.as_ref().into()).collect();
        Self { decisions, dropped: batch.dropped }
    }
}
