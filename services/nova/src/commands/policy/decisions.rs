//! Decisions: asked for now, made before, and explained.

use std::process::ExitCode;

use clap::Args;
use nova_client::Mesh;
use nova_proto::policy::v1::{
    CheckRequest, Credential, Decision, ExplainRequest, ListDecisionsRequest, Question, RuleTrace, Verdict,
};
use nova_rpc::Method;
use nova_types::{SpiffeId, TrustDomain};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::pages::Limit;
use crate::commands::{cells, output};
use crate::failure;

/// What policy is asked of besides the methods of the contracts.
const OUTSIDE_THE_CONTRACTS: &str = "grpc.reflection.";

/// Ask a question of the active revision.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nova policy check --subject agent/orion --method nova.policy.v1.PolicyService/PutPolicy"
)]
pub(crate) struct Check {
    /// SPIFFE id of the caller, or its path such as agent/orion; empty means anonymous.
    #[arg(long, value_name = "ID")]
    subject: String,
    /// Role of the caller; give it again for more than one
    /// [default: those that follow from the id of a certificate].
    #[arg(long)]
    role: Vec<String>,
    /// Ask for a caller with a bearer token: roles that are bound to its id do not hold.
    #[arg(long)]
    token: bool,
    /// Full method, such as nova.queue.v1.QueueService/Enqueue.
    #[arg(long, value_parser = known_method)]
    method: String,
}

/// List recorded decisions, newest first.
#[derive(Debug, Args)]
pub(crate) struct Decisions {
    /// Only denials.
    #[arg(long)]
    denied: bool,
    /// Only decisions of this trace.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    trace: String,
    #[command(flatten)]
    limit: Limit,
}

impl Check {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<ExitCode> {
        let request = CheckRequest { question: Some(self.question()?) };
        let answer = mesh.policy().check(request).await?.into_inner();
        let decision = answer.decision.unwrap_or_default();
        let fields = [("verdict", verdict(&decision)), ("why", decision.why.clone())];
        output::fields(context, &fields, &record(&decision))?;
        let allowed = decision.verdict() == Verdict::Allow;
        Ok(ExitCode::from(if allowed { 0 } else { failure::DENIED }))
    }

    fn question(self) -> anyhow::Result<Question> {
        let whole = self.subject.is_empty() || self.subject.contains("://");
        let subject = if whole {
            self.subject
        } else {
            SpiffeId::of(&TrustDomain::default(), "subject", &self.subject)?.to_string()
        };
        let service = daemon(&self.method).to_owned();
        let credential = if self.token { Credential::Token } else { Credential::Certificate }.into();
        let id = SpiffeId::parse("subject", &subject).ok().filter(|_| self.role.is_empty() && !self.token);
        let roles = id.map_or(self.role, |id| nova_rpc::authentication::roles_of(&id));
        Ok(Question { subject, roles, method: self.method, service, credential })
    }
}

/// Refuses what no daemon serves: it would be denied like anything that no rule names.
fn known_method(method: &str) -> Result<String, String> {
    if Method::of(method).is_some() || method.starts_with(OUTSIDE_THE_CONTRACTS) {
        return Ok(method.to_owned());
    }
    let name = method.rsplit(['/', '.']).next().unwrap_or_default();
    let meant: Vec<&str> = Method::all().map(Method::name).filter(|full| is_named(full, name)).collect();
    Err(match meant.as_slice() {
        [] => "no daemon has this method; one is written as nova.queue.v1.QueueService/Enqueue".to_owned(),
        meant => format!("no daemon has this method; did you mean {}?", meant.join(" or ")),
    })
}

fn is_named(full: &str, name: &str) -> bool {
    full.rsplit_once('/').is_some_and(|(_, own)| own.eq_ignore_ascii_case(name))
}

/// The daemon that serves a method: that of its package.
fn daemon(method: &str) -> &str {
    match method.split('.').nth(1).unwrap_or_default() {
        "memory" => "identity",
        package => package,
    }
}

impl Decisions {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let verdict = if self.denied { Verdict::Deny } else { Verdict::Unspecified };
        let decisions = list(mesh, verdict, &self.trace, self.limit).await?;
        let rows = decisions.iter().map(|decision| {
            let question = decision.question.clone().unwrap_or_default();
            let time = cells::relative(decision.time.as_ref());
            let why = cells::brief(&decision.why);
            [decision.id.clone(), time, self::verdict(decision), question.subject, question.method, why]
        });
        let records: Vec<Value> = decisions.iter().map(record).collect();
        let headers = ["DECISION", "TIME", "VERDICT", "SUBJECT", "METHOD", "WHY"];
        output::rows(context, headers, rows.collect(), &records)
    }
}

/// Recorded decisions, newest first.
pub(crate) async fn list(
    mesh: &Mesh,
    verdict: Verdict,
    trace_id: &str,
    limit: Limit,
) -> anyhow::Result<Vec<Decision>> {
    let page = async |page_size, page_token| {
        let (verdict, trace_id) = (verdict.into(), trace_id.to_owned());
        let request = ListDecisionsRequest { verdict, trace_id, page_size, page_token };
        let page = mesh.policy().list_decisions(request).await?.into_inner();
        Ok((page.decisions, page.next_page_token))
    };
    limit.gather(page).await
}

/// Tells why a decision fell as it did.
pub(crate) async fn explain(context: &Context, mesh: &Mesh, decision_id: String) -> anyhow::Result<()> {
    let answer = mesh.policy().explain(ExplainRequest { decision_id }).await?.into_inner();
    let decision = answer.decision.unwrap_or_default();
    if context.json {
        let mut record = record(&decision);
        record["rules"] = answer.rules.iter().map(rule_record).collect();
        record["remedy"] = answer.remedy.into();
        return output::json(&record);
    }
    output::fields(context, &fields(&decision, &answer.remedy), &())?;
    output::line("")?;
    let rows = answer.rules.iter().map(|rule| {
        let held = if rule.held { "held" } else { "did not hold" };
        vec![format!("{}:{}", rule.module, rule.line), held.to_owned(), cells::on_one_line(&rule.text)]
    });
    output::table(&["RULE", "OUTCOME", "TEXT"], rows)
}

fn fields(decision: &Decision, remedy: &str) -> [(&'static str, String); 10] {
    let question = decision.question.clone().unwrap_or_default();
    [
        ("decision", decision.id.clone()),
        ("verdict", verdict(decision)),
        ("why", decision.why.clone()),
        ("remedy", remedy.to_owned()),
        ("subject", if question.subject.is_empty() { "(anonymous)".to_owned() } else { question.subject }),
        ("roles", question.roles.join(" ")),
        ("method", question.method),
        ("revision", decision.revision.clone()),
        ("time", cells::moment(decision.time.as_ref())),
        ("trace", decision.trace_id.clone()),
    ]
}

fn verdict(decision: &Decision) -> String {
    cells::name(decision.verdict().as_str_name(), "VERDICT_")
}

/// A decision as programs see it.
pub(crate) fn record(decision: &Decision) -> Value {
    let question = decision.question.clone().unwrap_or_default();
    let elapsed = cells::duration(decision.elapsed.as_ref());
    json!({
        "id": decision.id,
        "verdict": verdict(decision),
        "why": decision.why,
        "subject": question.subject,
        "roles": question.roles,
        "credential": cells::name(question.credential().as_str_name(), "CREDENTIAL_"),
        "method": question.method,
        "service": question.service,
        "revision": decision.revision,
        "time": cells::rfc3339(decision.time.as_ref()),
        "elapsed_seconds": elapsed.map(|elapsed| elapsed.as_secs_f64()),
        "trace_id": decision.trace_id,
    })
}

fn rule_record(rule: &RuleTrace) -> Value {
    json!({"module": rule.module, "line": rule.line, "text": rule.text, "held": rule.held})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_served_by_the_identity_daemon() {
        assert_eq!(daemon("nova.memory.v1.MemoryService/PutMemory"), "identity");
        assert_eq!(daemon("nova.queue.v1.QueueService/Enqueue"), "queue");
        assert_eq!(daemon("nonsense"), "");
    }
}
