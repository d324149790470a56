//! The policy daemon: what a run was denied, and why.

use nova_client::Mesh;
use nova_proto::policy::v1 as pb;

use super::error;
use crate::run::{Denial, MeshError};

/// Denials of a report at most.
const MAX_DENIALS: u32 = 50;

/// Rules of a denial at most.
const MAX_RULES: usize = 8;

pub(super) async fn denials(mesh: &Mesh, trace_id: &str) -> Result<Vec<Denial>, MeshError> {
    let request = pb::ListDecisionsRequest {
        verdict: pb::Verdict::Deny.into(),
        trace_id: trace_id.to_owned(),
        page_size: MAX_DENIALS,
        page_token: String::new(),
    };
    let response = mesh.policy().list_decisions(request).await.map_err(|status| error(&status))?;
    let mut denials = Vec::new();
    for decision in response.into_inner().decisions {
        denials.push(explain(mesh, decision).await);
    }
    Ok(denials)
}

/// A denial is reported also when it cannot be explained.
async fn explain(mesh: &Mesh, decision: pb::Decision) -> Denial {
    let question = decision.question.unwrap_or_default();
    let mut denial = Denial {
        decision_id: decision.id.clone(),
        subject: question.subject,
        method: question.method,
        why: decision.why,
        ..Denial::default()
    };
    match mesh.policy().explain(pb::ExplainRequest { decision_id: decision.id }).await {
        Ok(response) => {
            let explained = response.into_inner();
            let rule = |rule: &pb::RuleTrace| format!("{}:{} {}", rule.module, rule.line, rule.text);
            let failed = explained.rules.iter().filter(|rule| !rule.held);
            denial.rules = failed.take(MAX_RULES).map(rule).collect();
            denial.remedy = explained.remedy;
        }
        Err(status) => tracing::warn!(decision = denial.decision_id, %status, "a denial was not explained"),
    }
    denial
}
