//! Asking, recording, listing and explaining.

use std::sync::Arc;

use nova_proto::policy::v1 as pb;
use nova_rpc::Error;
use nova_types::wire::page_token;
use nova_types::{DecisionId, Violation};

use super::{PolicyApi, parse};
use crate::explain::{self, Explanation, RuleTrace};

pub(crate) fn check(api: &PolicyApi, request: pb::CheckRequest) -> Result<pb::CheckResponse, Error> {
    let question = request.question.ok_or_else(|| Violation::new("question", "must be set"))?;
    let asked = parse::question("question", question)?;
    // It is not recorded, so there is no id to find it by.
    let decision = pb::Decision { id: String::new(), ..(&api.point.check(&asked)).into() };
    Ok(pb::CheckResponse { decision: Some(decision) })
}

pub(crate) async fn report(
    api: &PolicyApi,
    request: pb::ReportDecisionsRequest,
) -> Result<pb::ReportDecisionsResponse, Error> {
    let decisions: Vec<_> = parse::decisions(request.decisions)?.into_iter().map(Arc::new).collect();
    api.decisions.record(&decisions, request.dropped).await?;
    Ok(pb::ReportDecisionsResponse {})
}

pub(crate) async fn list(
    api: &PolicyApi,
    request: pb::ListDecisionsRequest,
) -> Result<pb::ListDecisionsResponse, Error> {
    let page = parse::page(&request)?;
    let mut found = api.decisions.list(&page.filter, page.before, page.size + 1).await?;
    let more = found.len() > page.size;
    found.truncate(page.size);
    let last = found.last().filter(|_| more);
    Ok(pb::ListDecisionsResponse {
        next_page_token: last.map(|decided| page_token(decided.id.as_bytes())).unwrap_or_default(),
        decisions: found.iter().map(Into::into).collect(),
    })
}

pub(crate) async fn explain(
    api: &PolicyApi,
    request: pb::ExplainRequest,
) -> Result<pb::ExplainResponse, Error> {
    let id = DecisionId::parse("decision_id", &request.decision_id)?;
    let decided = api.decisions.get(id).await?;
    let snapshot = api.revisions.find(&decided.revision).await?;
    let asked = decided.asked.clone();
    let explaining = tokio::task::spawn_blocking(move || explain::explain(&snapshot, &asked));
    let explained = explaining.await.map_err(|error| Error::internal(&error))?;
    let Explanation { rules, remedy } = explained.map_err(|error| Error::internal(&error))?;
    let rules = rules.into_iter().map(to_wire).collect();
    Ok(pb::ExplainResponse { decision: Some((&decided).into()), rules, remedy })
}

fn to_wire(rule: RuleTrace) -> pb::RuleTrace {
    let RuleTrace { module, line, text, held } = rule;
    pb::RuleTrace { module, line, text, held }
}
