//! Requests as the domain has them.

use std::time::Duration;

use nova_authz::{Asked, Decided, LARGEST_BATCH, Module};
use nova_proto::policy::v1 as pb;
use nova_rpc::Credential;
use nova_types::{DecisionId, SpiffeId, Timestamp, Violation, Violations, shown, wire};

use crate::decisions::Filter;

const LARGEST_MODULE: usize = 1 << 20;
const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 1_000;
const LONGEST_EVALUATION: Duration = Duration::from_secs(3_600);

/// A module: its id and a text of a bounded size.
pub(crate) fn module(wire: pb::PolicyModule) -> Result<Module, Violations> {
    let mut violations = Violations::new();
    violations.take(module_id("module.id", &wire.id));
    violations.take(wire::text("module.rego", &wire.rego, 1..=LARGEST_MODULE));
    violations.finish()?;
    Ok(Module { id: wire.id, rego: wire.rego })
}

pub(crate) fn module_id(field: &str, id: &str) -> Result<(), Violation> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let holds = (1..=128).contains(&id.len()) && id.chars().all(good);
    Violation::require(holds, field, &format!("{} must be 1 to 128 of a-z A-Z 0-9 . _ - /", shown(id)))
}

/// A revision, or none.
pub(crate) fn revision(field: &str, revision: &str) -> Result<(), Violation> {
    let good = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let holds = revision.is_empty() || (revision.len() == 64 && revision.chars().all(good));
    Violation::require(holds, field, "must be empty or 64 hex digits")
}

/// A question; `field` is where it stands.
pub(crate) fn question(field: &str, wire: pb::Question) -> Result<Asked, Violations> {
    let at = |name: &str| format!("{field}.{name}");
    let mut violations = Violations::new();
    if !wire.subject.is_empty() {
        violations.take(SpiffeId::parse(&at("subject"), &wire.subject));
    }
    violations.take(wire::text(&at("method"), &wire.method, 1..=256));
    violations.require(wire.method.contains('/'), &at("method"), "must be service/method");
    violations.take(wire::text(&at("service"), &wire.service, 0..=64));
    violations.require(wire.roles.len() <= 64, &at("roles"), "must be at most 64");
    for (index, role) in wire.roles.iter().enumerate() {
        violations.take(wire::text(&at(&format!("roles[{index}]")), role, 1..=64));
    }
    let texts = [&wire.method, &wire.service].into_iter().chain(&wire.roles);
    let controls = texts.into_iter().any(|text| text.chars().any(char::is_control));
    violations.require(!controls, field, "must not hold control characters");
    let credential = violations.take(credential(&at("credential"), wire.credential));
    violations.finish()?;
    let credential = credential.expect("no violation");
    let pb::Question { subject, roles, method, service, .. } = wire;
    Ok(Asked { subject, roles, credential, service, method }.sorted())
}

fn credential(field: &str, credential: i32) -> Result<Credential, Violation> {
    match pb::Credential::try_from(credential) {
        Ok(pb::Credential::Unspecified | pb::Credential::Certificate) => Ok(Credential::Certificate),
        Ok(pb::Credential::Token) => Ok(Credential::Token),
        Err(_) => Err(Violation::new(field, format!("{credential} is no credential"))),
    }
}

/// 1 to 1,000 decisions; all are good, or none is taken.
pub(crate) fn decisions(wire: Vec<pb::Decision>) -> Result<Vec<Decided>, Violations> {
    let rule = format!("{} must be 1 to {LARGEST_BATCH}", wire.len());
    Violation::require((1..=LARGEST_BATCH).contains(&wire.len()), "decisions", &rule)?;
    let decided = wire.into_iter().enumerate();
    decided.map(|(index, decision)| decided_of(&format!("decisions[{index}]"), decision)).collect()
}

fn decided_of(field: &str, wire: pb::Decision) -> Result<Decided, Violations> {
    let at = |name: &str| format!("{field}.{name}");
    let mut violations = Violations::new();
    let id = violations.take(DecisionId::parse(&at("id"), &wire.id));
    let allow = violations.take(verdict(&at("verdict"), wire.verdict));
    let elapsed = wire::duration(
        &at("elapsed"),
        wire.elapsed.as_ref(),
        Duration::ZERO..=LONGEST_EVALUATION,
        Duration::ZERO,
    );
    let elapsed = violations.take(elapsed);
    violations.take(wire::text(&at("why"), &wire.why, 0..=8_192));
    violations.take(revision(&at("revision"), &wire.revision));
    violations.take(trace_id(&at("trace_id"), &wire.trace_id));
    violations.require(wire.question.is_some(), &at("question"), "must be set");
    violations.require(wire.time.is_some(), &at("time"), "must be set");
    violations.finish()?;
    let asked = question(&at("question"), wire.question.unwrap_or_default())?;
    Ok(Decided {
        id: id.expect("no violation"),
        allow: allow.flatten().ok_or_else(|| Violation::new(at("verdict"), "must be ALLOW or DENY"))?,
        elapsed: elapsed.expect("no violation"),
        asked,
        why: wire.why,
        revision: wire.revision,
        time: wire.time.as_ref().map(Timestamp::from_wire).unwrap_or_default(),
        trace_id: wire.trace_id,
    })
}

/// Whether it is allowed; none when it is left open.
fn verdict(field: &str, verdict: i32) -> Result<Option<bool>, Violation> {
    match pb::Verdict::try_from(verdict) {
        Ok(pb::Verdict::Allow) => Ok(Some(true)),
        Ok(pb::Verdict::Deny) => Ok(Some(false)),
        Ok(pb::Verdict::Unspecified) => Ok(None),
        Err(_) => Err(Violation::new(field, format!("{verdict} is no verdict"))),
    }
}

fn trace_id(field: &str, trace_id: &str) -> Result<(), Violation> {
    let good = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let holds = trace_id.is_empty() || (trace_id.len() == 32 && trace_id.chars().all(good));
    Violation::require(holds, field, "must be empty or 32 hex digits")
}

/// Which page of which decisions.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) filter: Filter,
    pub(crate) before: Option<DecisionId>,
    pub(crate) size: usize,
}

pub(crate) fn page(request: &pb::ListDecisionsRequest) -> Result<Page, Violations> {
    let mut violations = Violations::new();
    let allow = violations.take(verdict("verdict", request.verdict));
    violations.take(trace_id("trace_id", &request.trace_id));
    let size = violations.take(wire::page_size("page_size", request.page_size, DEFAULT_PAGE, LARGEST_PAGE));
    let before = violations.take(before(&request.page_token));
    violations.finish()?;
    let filter = Filter { allow: allow.flatten(), trace_id: request.trace_id.clone() };
    Ok(Page { filter, before: before.flatten(), size: size.expect("no violation") })
}

fn before(token: &str) -> Result<Option<DecisionId>, Violation> {
    let Some(key) = wire::parse_page_token("page_token", token)? else { return Ok(None) };
    let key = <[u8; 16]>::try_from(key);
    key.map(|bytes| Some(DecisionId::from_bytes(bytes)))
        .map_err(|_| Violation::new("page_token", "must be a token from the page before"))
}
