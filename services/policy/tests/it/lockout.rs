//! No revision locks the operator and the daemons out, and there is a way back from one that does.

use std::fs;

use nova_authz::{Module, Snapshot};
use nova_proto::policy::v1 as pb;
use nova_storage::Commit;
use nova_types::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::harness::{ENQUEUE, Policy, reason};

const NOTHING: &str = "package nova.authz\n\ndecision := {\"allow\": false, \"why\": \"closed\"}\n";

/// Everything but one method.
fn all_but(method: &str) -> String {
    format!(
        "package nova.authz\n\ndefault decision := {{\"allow\": true, \"why\": \"open\"}}\n\n\
         decision := {{\"allow\": false, \"why\": \"closed\"}} if input.method == \"{method}\"\n"
    )
}

async fn without_tests() -> Policy {
    let mut policy = Policy::start().await;
    let delete = pb::DeletePolicyRequest { module_id: "authz_test.rego".to_owned() };
    policy.client.delete_policy(delete).await.unwrap();
    policy
}

#[tokio::test]
async fn a_revision_that_denies_everything_is_refused() {
    let mut policy = without_tests().await;
    let before = policy.status().await.revision;
    let refused = policy.put("authz.rego", NOTHING).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).1.as_str()), (Code::FailedPrecondition, "POLICY_INVALID"));
    assert!(
        refused
            .message()
            .contains("user/operator must be allowed to call nova.policy.v1.PolicyService/PutPolicy"),
        "{refused}"
    );
    let status = policy.status().await;
    assert_eq!(status.revision, before);
    assert!(status.last_error.contains("user/operator"), "{}", status.last_error);
    assert!(policy.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn each_call_without_which_nothing_could_be_mended_must_stay_allowed() {
    let mut policy = without_tests().await;
    for (method, who) in [
        ("nova.policy.v1.PolicyService/PutPolicy", "user/operator must"),
        ("nova.policy.v1.PolicyService/DeletePolicy", "user/operator must"),
        ("nova.policy.v1.PolicyService/GetPolicyStatus", "user/operator must"),
        ("nova.policy.v1.PolicyService/ListPolicies", "user/operator must"),
        ("nova.policy.v1.PolicyService/WatchSnapshots", "svc/queue must"),
        ("nova.policy.v1.PolicyService/ReportDecisions", "svc/queue must"),
        ("nova.identity.v1.IdentityService/RenewX509", "svc/queue must"),
        ("nova.identity.v1.IdentityService/AttestWorkload", "svc/queue with a join token must"),
    ] {
        let refused = policy.put("authz.rego", &all_but(method)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{method}");
        assert!(refused.message().contains(method) && refused.message().contains(who), "{refused}");
    }
    policy.put("authz.rego", &all_but(ENQUEUE)).await.unwrap();
}

#[tokio::test]
async fn deleting_what_grants_it_is_refused_too() {
    let mut policy = without_tests().await;
    policy.put("grants.rego", "package grants\nall := true").await.unwrap();
    let rego = "package nova.authz\n\ndefault decision := {\"allow\": false, \"why\": \"closed\"}\n\n\
        decision := {\"allow\": true, \"why\": \"open\"} if data.grants.all\n";
    policy.put("authz.rego", rego).await.unwrap();
    let delete = pb::DeletePolicyRequest { module_id: "grants.rego".to_owned() };
    let refused = policy.client.delete_policy(delete).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).1.as_str()), (Code::FailedPrecondition, "POLICY_INVALID"));
}

/// Stores a revision as an older daemon would have, which asked no such questions.
async fn store_unchecked(policy: &Policy, rego: &str) -> String {
    let kv = policy.server.runtime.kv().await.unwrap();
    let module = Module { id: "authz.rego".to_owned(), rego: rego.to_owned() };
    let snapshot = Snapshot::new(vec![module], "{}").unwrap();
    let hash = hex::encode(Sha256::digest(rego));
    let state = kv.get("policy/state").await.unwrap().unwrap();
    let mut fields: serde_json::Value = serde_json::from_slice(&state.value).unwrap();
    fields["active"] = snapshot.revision().into();
    fields["since"] = serde_json::to_value(Timestamp::from_micros(1)).unwrap();
    fields["built_in"] = false.into();
    let manifest = json!({"modules": [{"id": "authz.rego", "hash": hash}], "data_json": "{}"});
    let commit = Commit::new()
        .check("policy/state", Some(state.version))
        .put("policy/state", serde_json::to_vec(&fields).unwrap())
        .put(format!("policy/revision/{}", snapshot.revision()), serde_json::to_vec(&manifest).unwrap())
        .put(format!("policy/module/{hash}"), rego.as_bytes());
    kv.commit(commit).await.unwrap();
    snapshot.revision().to_owned()
}

#[tokio::test]
async fn a_stored_revision_that_locks_everybody_out_gives_way_at_the_next_start() {
    let policy = Policy::start().await;
    let built_in = policy.status().await.revision;
    store_unchecked(&policy, NOTHING).await;
    let mut policy = policy.restart().await;
    assert_eq!(policy.status().await.revision, built_in);
    assert_eq!(policy.server.runtime.policy().status().revision, built_in);
    assert!(policy.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn a_file_in_the_data_folder_brings_the_built_in_revision_back_once() {
    let mut policy = Policy::start().await;
    let built_in = policy.status().await.revision;
    policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    let mut policy = policy.restart_after(|folder| fs::write(folder.join("policy-reset"), "").unwrap()).await;
    assert_eq!(policy.status().await.revision, built_in);
    let changed = policy.put("extra.rego", "package extra\nx := 2").await.unwrap();
    let policy = policy.restart_after(|folder| assert!(!folder.join("policy-reset").exists())).await;
    assert_eq!(policy.status().await.revision, changed);
}
