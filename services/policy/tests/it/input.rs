//! Bad input is refused with its field, and nothing is done.

use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::Verdict;
use tonic::Code;

use crate::harness::{ENQUEUE, Policy, decision, question, reason};

fn assert_field(status: &tonic::Status, field: &str) {
    assert_eq!(
        reason(status),
        (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), field.to_owned()),
        "{status}"
    );
}

#[tokio::test]
async fn a_bad_question_names_its_field() {
    let mut policy = Policy::start().await;
    let good = question("agent", ENQUEUE);
    for (question, field) in [
        (None, "question"),
        (Some(pb::Question { method: String::new(), ..good.clone() }), "question.method"),
        (Some(pb::Question { method: "Enqueue".to_owned(), ..good.clone() }), "question.method"),
        (Some(pb::Question { subject: "orion".to_owned(), ..good.clone() }), "question.subject"),
        (Some(pb::Question { roles: vec![String::new()], ..good.clone() }), "question.roles[0]"),
        (Some(pb::Question { roles: vec!["r".to_owned(); 65], ..good.clone() }), "question.roles"),
        (Some(pb::Question { credential: 3, ..good.clone() }), "question.credential"),
        (Some(pb::Question { service: "a\0b".to_owned(), ..good.clone() }), "question"),
    ] {
        assert_field(&policy.client.check(pb::CheckRequest { question }).await.unwrap_err(), field);
    }
}

#[tokio::test]
async fn a_bad_report_names_its_field_and_records_nothing() {
    let mut policy = Policy::start().await;
    let good = decision("", Verdict::Deny, 1);
    for (bad, field) in [
        (pb::Decision { id: "7".to_owned(), ..good.clone() }, "decisions[1].id"),
        (pb::Decision { verdict: 0, ..good.clone() }, "decisions[1].verdict"),
        (pb::Decision { verdict: 9, ..good.clone() }, "decisions[1].verdict"),
        (pb::Decision { question: None, ..good.clone() }, "decisions[1].question"),
        (pb::Decision { time: None, ..good.clone() }, "decisions[1].time"),
        (pb::Decision { trace_id: "xyz".to_owned(), ..good.clone() }, "decisions[1].trace_id"),
        (pb::Decision { revision: "latest".to_owned(), ..good.clone() }, "decisions[1].revision"),
    ] {
        assert_field(&policy.report(vec![good.clone(), bad]).await.unwrap_err(), field);
    }
    assert_field(&policy.report(Vec::new()).await.unwrap_err(), "decisions");
    assert_field(&policy.report(vec![good; 1_001]).await.unwrap_err(), "decisions");
    assert_eq!(policy.status().await.decisions, 0);
}

#[tokio::test]
async fn a_bad_page_names_its_field() {
    let mut policy = Policy::start().await;
    for (request, field) in [
        (pb::ListDecisionsRequest { verdict: 9, ..Default::default() }, "verdict"),
        (pb::ListDecisionsRequest { trace_id: "1".to_owned(), ..Default::default() }, "trace_id"),
        (pb::ListDecisionsRequest { page_size: 1_001, ..Default::default() }, "page_size"),
        (pb::ListDecisionsRequest { page_token: "??".to_owned(), ..Default::default() }, "page_token"),
        (pb::ListDecisionsRequest { page_token: "AAAA".to_owned(), ..Default::default() }, "page_token"),
    ] {
        assert_field(&policy.client.list_decisions(request).await.unwrap_err(), field);
    }
}

#[tokio::test]
async fn a_bad_module_names_its_field() {
    let mut policy = Policy::start().await;
    let good = "package extra\nx := 1";
    assert_field(&policy.put("", good).await.unwrap_err(), "module.id");
    assert_field(&policy.put("a b", good).await.unwrap_err(), "module.id");
    assert_field(&policy.put("a.rego", "").await.unwrap_err(), "module.rego");
    assert_field(&policy.put("a.rego", &"#".repeat((1 << 20) + 1)).await.unwrap_err(), "module.rego");
    let unset = policy.client.put_policy(pb::PutPolicyRequest { module: None }).await.unwrap_err();
    assert_field(&unset, "module");
}

#[tokio::test]
async fn bad_names_are_refused() {
    let mut policy = Policy::start().await;
    let get = pb::GetPolicyRequest { module_id: "a b".to_owned() };
    assert_field(&policy.client.get_policy(get).await.unwrap_err(), "module_id");
    let delete = pb::DeletePolicyRequest { module_id: String::new() };
    assert_field(&policy.client.delete_policy(delete).await.unwrap_err(), "module_id");
    let explain = pb::ExplainRequest { decision_id: "7".to_owned() };
    assert_field(&policy.client.explain(explain).await.unwrap_err(), "decision_id");
    let watch = pb::WatchSnapshotsRequest { revision: "newest".to_owned() };
    assert_field(&policy.client.watch_snapshots(watch).await.unwrap_err(), "revision");
    let unknown = pb::GetPolicyRequest { module_id: "unknown.rego".to_owned() };
    assert_eq!(policy.client.get_policy(unknown).await.unwrap_err().code(), Code::NotFound);
}
