//! Changing the policy.

use nova_policy::Config;
use nova_proto::policy::v1 as pb;
use tonic::Code;

use crate::harness::{ENQUEUE, Policy, reason};

const WITHOUT_TESTS: &str = "package nova.authz\n\ndecision := {\"allow\": true, \"why\": \"open\"}\n";

/// The default policy with agents allowed to enqueue.
async fn agents_may_enqueue(policy: &mut Policy) -> String {
    let rego = policy.rego("authz.rego").await;
    rego.replace("Enqueue\": {\"operator\"", "Enqueue\": {\"agent\", \"operator\"")
}

/// The default tests but the one that lists what an agent may.
async fn tests_without_agents(policy: &mut Policy) -> String {
    policy.rego("authz_test.rego").await.replace("test_an_agent_may", "an_agent_might")
}

#[tokio::test]
async fn the_built_in_policy_is_active_at_first() {
    let mut policy = Policy::start().await;
    let request = pb::ListPoliciesRequest {};
    let listed = policy.client.list_policies(request).await.unwrap().into_inner();
    let ids: Vec<&str> = listed.modules.iter().map(|module| module.id.as_str()).collect();
    assert_eq!(ids, ["authz.rego", "authz_test.rego"]);
    assert_eq!(policy.status().await.revision, listed.revision);
    assert!(policy.allows("worker", ENQUEUE).await);
    assert!(!policy.allows("agent", ENQUEUE).await);
}

#[tokio::test]
async fn a_module_that_passes_is_in_force_when_the_call_returns() {
    let mut policy = Policy::start().await;
    let tests = tests_without_agents(&mut policy).await;
    let rego = agents_may_enqueue(&mut policy).await;
    policy.put("authz_test.rego", &tests).await.unwrap();
    let revision = policy.put("authz.rego", &rego).await.unwrap();
    assert!(policy.allows("agent", ENQUEUE).await);
    assert_eq!(policy.check("agent", ENQUEUE).await.revision, revision);
    assert_eq!(policy.server.runtime.policy().status().revision, revision);
}

#[tokio::test]
async fn a_module_that_does_not_compile_is_refused_with_its_place_and_the_old_one_goes_on() {
    let mut policy = Policy::start().await;
    let before = policy.status().await.revision;
    let refused = policy.put("authz.rego", "package nova.authz\n\nallow := {{\n").await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (Code::InvalidArgument, "POLICY_INVALID".to_owned(), "module.rego".to_owned())
    );
    assert!(
        refused.message().contains("authz.rego:3:") || refused.message().contains("authz.rego:4:"),
        "{refused}"
    );
    let status = policy.status().await;
    assert_eq!(status.revision, before);
    assert!(status.last_error.contains("authz.rego:"), "{}", status.last_error);
    assert!(policy.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn a_revision_whose_tests_fail_is_refused_by_their_names() {
    let mut policy = Policy::start().await;
    let rego = agents_may_enqueue(&mut policy).await;
    let refused = policy.put("authz.rego", &rego).await.unwrap_err();
    assert_eq!(reason(&refused).0, Code::FailedPrecondition);
    assert!(refused.message().contains("test_an_agent_may_do_its_work_and_no_more"), "{refused}");
    assert!(!policy.allows("agent", ENQUEUE).await);
}

#[tokio::test]
async fn a_good_change_clears_the_error_of_the_last_one() {
    let mut policy = Policy::start().await;
    policy.put("extra.rego", "package").await.unwrap_err();
    policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    assert_eq!(policy.status().await.last_error, "");
}

#[tokio::test]
async fn a_module_can_be_deleted_unless_the_decision_goes_with_it() {
    let mut policy = Policy::start().await;
    policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    let delete = |id: &str| pb::DeletePolicyRequest { module_id: id.to_owned() };
    policy.client.delete_policy(delete("extra.rego")).await.unwrap();
    let again = policy.client.delete_policy(delete("extra.rego")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    let refused = policy.client.delete_policy(delete("authz.rego")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).1.as_str()), (Code::FailedPrecondition, "POLICY_INVALID"));
    assert!(policy.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn the_same_module_again_changes_nothing() {
    let mut policy = Policy::start().await;
    let rego = policy.rego("authz.rego").await;
    let before = policy.status().await;
    assert_eq!(policy.put("authz.rego", &rego).await.unwrap(), before.revision);
    assert_eq!(policy.status().await.activate_time, before.activate_time);
}

#[tokio::test]
async fn what_was_activated_survives_a_restart() {
    let mut policy = Policy::start().await;
    let revision = policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    let mut policy = policy.restart().await;
    assert_eq!(policy.status().await.revision, revision);
    assert_eq!(policy.rego("extra.rego").await, "package extra\nx := 1");
}

#[tokio::test]
async fn old_revisions_are_let_go_and_the_active_one_stays_whole() {
    let mut policy = Policy::start_with(Config { revisions_kept: 2, ..Config::default() }).await;
    for number in 0..5 {
        policy.put("extra.rego", &format!("package extra\nx := {number}")).await.unwrap();
    }
    let mut policy = policy.restart().await;
    assert_eq!(policy.rego("extra.rego").await, "package extra\nx := 4");
    assert!(policy.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn a_policy_without_tests_may_replace_the_default_one() {
    let mut policy = Policy::start().await;
    let delete = pb::DeletePolicyRequest { module_id: "authz_test.rego".to_owned() };
    policy.client.delete_policy(delete).await.unwrap();
    policy.put("authz.rego", WITHOUT_TESTS).await.unwrap();
    assert!(policy.allows("agent", ENQUEUE).await);
}
