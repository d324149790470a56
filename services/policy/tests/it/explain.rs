//! Explaining a decision.

use nova_authz::Snapshot;
use nova_policy::Config;
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::Verdict;
use tonic::Code;

use crate::harness::{Policy, decision};

async fn explain(policy: &mut Policy, id: &str) -> Result<pb::ExplainResponse, tonic::Status> {
    let request = pb::ExplainRequest { decision_id: id.to_owned() };
    policy.client.explain(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_denial_names_the_rule_and_the_way_out() {
    let mut policy = Policy::start().await;
    let denied = decision(&policy.status().await.revision, Verdict::Deny, 1);
    policy.report(vec![denied.clone()]).await.unwrap();
    let explained = explain(&mut policy, &denied.id).await.unwrap();
    assert_eq!(explained.decision.unwrap(), denied);
    assert_eq!(
        explained.remedy,
        "it would be allowed with one of the roles: developer, lifecycle, operator, worker"
    );
    let rule = explained.rules.iter().find(|rule| rule.text.starts_with("granted contains sprintf")).unwrap();
    assert_eq!((rule.module.as_str(), rule.held), ("authz.rego", false));
    let table = explained.rules.iter().find(|rule| rule.text.contains("QueueService/Enqueue\"")).unwrap();
    assert!(table.held && table.line > 50);
}

#[tokio::test]
async fn a_decision_is_explained_by_the_revision_that_made_it() {
    let mut policy = Policy::start().await;
    let denied = decision(&policy.status().await.revision, Verdict::Deny, 1);
    policy.report(vec![denied.clone()]).await.unwrap();
    let delete = pb::DeletePolicyRequest { module_id: "authz_test.rego".to_owned() };
    policy.client.delete_policy(delete).await.unwrap();
    policy
        .put("authz.rego", "package nova.authz\ndecision := {\"allow\": true, \"why\": \"x\"}")
        .await
        .unwrap();
    let explained = explain(&mut policy, &denied.id).await.unwrap();
    assert!(explained.remedy.contains("lifecycle"), "{}", explained.remedy);
}

#[tokio::test]
async fn a_decision_from_before_the_first_revision_is_explained_too() {
    let mut policy = Policy::start().await;
    let denied = decision(Snapshot::bootstrap().revision(), Verdict::Deny, 1);
    policy.report(vec![denied.clone()]).await.unwrap();
    assert!(
        explain(&mut policy, &denied.id)
            .await
            .unwrap()
            .rules
            .iter()
            .all(|rule| rule.module == "bootstrap.rego")
    );
}

#[tokio::test]
async fn a_decision_of_a_revision_that_is_gone_says_so() {
    let mut policy = Policy::start_with(Config { revisions_kept: 1, ..Config::default() }).await;
    let denied = decision(&policy.status().await.revision, Verdict::Deny, 1);
    policy.report(vec![denied.clone()]).await.unwrap();
    policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    let missing = explain(&mut policy, &denied.id).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert!(missing.message().contains(&denied.revision), "{missing}");
}

#[tokio::test]
async fn an_unknown_decision_is_not_found() {
    let mut policy = Policy::start().await;
    let unknown = decision("", Verdict::Deny, 1).id;
    assert_eq!(explain(&mut policy, &unknown).await.unwrap_err().code(), Code::NotFound);
}
