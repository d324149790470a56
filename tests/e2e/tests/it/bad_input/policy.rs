//! What policy refuses.

use nova_proto::policy::v1::*;
use prost::Message;
use prost_types::Timestamp;
use tonic::Code;

use super::{Case, UNKNOWN, bad, fails, unknown};

macro_rules! rpc {
    ($method:literal) => {
        concat!("nova.policy.v1.PolicyService/", $method)
    };
}

pub(crate) fn good(rpc: &str) -> Option<Vec<u8>> {
    Some(match rpc {
        rpc!("Explain") => ExplainRequest { decision_id: UNKNOWN.to_owned() }.encode_to_vec(),
        rpc!("GetPolicy") => GetPolicyRequest { module_id: id() }.encode_to_vec(),
        rpc!("DeletePolicy") => DeletePolicyRequest { module_id: id() }.encode_to_vec(),
        _ => return None,
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [of_questions(), of_decisions(), of_modules()].concat()
}

fn of_questions() -> Vec<Case> {
    let one = |what: &str, question: Question, field: &str| {
        bad(rpc!("Check"), what, &CheckRequest { question: Some(question) }, field)
    };
    vec![
        bad(rpc!("Check"), "nothing", &CheckRequest::default(), "question"),
        one("no method", Question::default(), "question.method"),
        one("a long method", Question { method: "m/".repeat(300), ..question() }, "question.method"),
        one("no id", Question { subject: "ada".to_owned(), ..question() }, "question.subject"),
        one("65 roles", Question { roles: vec!["r".to_owned(); 65], ..question() }, "question.roles"),
        one("an empty role", Question { roles: vec![String::new()], ..question() }, "question.roles[0]"),
        one("a long service", Question { service: "s".repeat(300), ..question() }, "question.service"),
    ]
}

fn of_decisions() -> Vec<Case> {
    let report = |decisions: Vec<Decision>| ReportDecisionsRequest { decisions, dropped: 0 };
    let one = |what: &str, decision: Decision, field: &str| {
        bad(rpc!("ReportDecisions"), what, &report(vec![decision]), field)
    };
    let list = ListDecisionsRequest { trace_id: "t".repeat(300), ..Default::default() };
    let watch = WatchSnapshotsRequest { revision: "latest".to_owned() };
    vec![
        bad(rpc!("Explain"), "nothing", &ExplainRequest::default(), "decision_id"),
        unknown(rpc!("Explain"), &ExplainRequest { decision_id: UNKNOWN.to_owned() }),
        bad(rpc!("ListDecisions"), "a long trace", &list, "trace_id"),
        bad(rpc!("ReportDecisions"), "nothing", &report(Vec::new()), "decisions"),
        bad(rpc!("ReportDecisions"), "1,001 decisions", &report(vec![decision(); 1_001]), "decisions"),
        one("an empty decision", Decision::default(), "decisions[0].id"),
        one("no verdict", Decision { verdict: 0, ..decision() }, "decisions[0].verdict"),
        one("verdict 99", Decision { verdict: 99, ..decision() }, "decisions[0].verdict"),
        one("no question", Decision { question: None, ..decision() }, "decisions[0].question"),
        one("no time", Decision { time: None, ..decision() }, "decisions[0].time"),
        bad(rpc!("WatchSnapshots"), "no revision", &watch, "revision"),
    ]
}

fn of_modules() -> Vec<Case> {
    let put = |id: &str, rego: &str| PutPolicyRequest {
        module: Some(PolicyModule { id: id.to_owned(), rego: rego.to_owned() }),
    };
    let broken = fails(
        rpc!("PutPolicy"),
        "what does not compile",
        &put("a.rego", "package a\nb := {"),
        Code::InvalidArgument,
        "POLICY_INVALID",
    );
    vec![
        bad(rpc!("PutPolicy"), "nothing", &PutPolicyRequest::default(), "module"),
        bad(rpc!("PutPolicy"), "no id", &put("", "package a"), "module.id"),
        bad(rpc!("PutPolicy"), "an id of 300 bytes", &put(&"i".repeat(300), "package a"), "module.id"),
        bad(rpc!("PutPolicy"), "no text", &put("a.rego", ""), "module.rego"),
        bad(rpc!("PutPolicy"), "2 MiB", &put("a.rego", &"# ".repeat(1 << 20)), "module.rego"),
        Case { field: "module.rego".to_owned(), ..broken },
        bad(rpc!("GetPolicy"), "nothing", &GetPolicyRequest::default(), "module_id"),
        unknown(rpc!("GetPolicy"), &GetPolicyRequest { module_id: id() }),
        bad(rpc!("DeletePolicy"), "nothing", &DeletePolicyRequest::default(), "module_id"),
        unknown(rpc!("DeletePolicy"), &DeletePolicyRequest { module_id: id() }),
    ]
}

fn id() -> String {
    "stranger.rego".to_owned()
}

fn question() -> Question {
    Question { method: "nova.queue.v1.QueueService/Enqueue".to_owned(), ..Default::default() }
}

fn decision() -> Decision {
    Decision {
        id: UNKNOWN.to_owned(),
        question: Some(question()),
        verdict: 2,
        time: Some(Timestamp::default()),
        ..Default::default()
    }
}
