//! Attestation and renewal.

use nova_proto::identity::v1::{
    AttestWorkloadRequest, AttestWorkloadResponse, GetBundleRequest, RenewX509Request, X509Svid,
};
use nova_types::Timestamp;
use tonic::{Code, Request, Response, Status};

use crate::authority::csr;
use crate::daemon::{Daemon, Place, assert_invalid, assert_refused};

/// A call that shows a verified token with this id.
fn with_token<T>(message: T, token_id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-test-token-id", token_id.parse().unwrap());
    request
}

async fn attest(
    daemon: &Daemon,
    token_id: &str,
    csr: Vec<u8>,
) -> Result<Response<AttestWorkloadResponse>, Status> {
    let request = with_token(AttestWorkloadRequest { csr }, token_id);
    daemon.identity("agent/orion", &["joining"]).attest_workload(request).await
}

fn uri_of(svid: &X509Svid) -> String {
    let (_, certificate) = x509_parser::parse_x509_certificate(&svid.certificates[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_join_token_becomes_a_certificate_of_its_subject() {
    for place in Place::both() {
        let daemon = place.start().await;
        let svid = attest(&daemon, "t1", csr()).await.unwrap().into_inner().svid.unwrap();
        assert_eq!(svid.spiffe_id, "spiffe://nova.local/agent/orion");
        assert!(uri_of(&svid).contains("spiffe://nova.local/agent/orion"));
        let life = Timestamp::from_wire(&svid.expire_time.unwrap())
            .since(Timestamp::from_micros(crate::daemon::START));
        assert_eq!(life.as_secs(), 3_600);
    }
}

#[tokio::test]
async fn a_join_token_is_good_for_one_key_also_after_a_restart() {
    for place in Place::both() {
        let daemon = place.start().await;
        attest(&daemon, "t1", csr()).await.unwrap();
        assert_refused(attest(&daemon, "t1", csr()).await, Code::FailedPrecondition, "TOKEN_USED");
        attest(&daemon, "t2", csr()).await.unwrap();
        daemon.stop().await;

        let daemon = place.start().await;
        assert_refused(attest(&daemon, "t1", csr()).await, Code::FailedPrecondition, "TOKEN_USED");
    }
}

#[tokio::test]
async fn the_same_request_may_be_sent_again_when_its_answer_got_lost() {
    let daemon = Place::sqlite().start().await;
    let request = csr();
    attest(&daemon, "t1", request.clone()).await.unwrap();
    attest(&daemon, "t1", request).await.unwrap();
}

#[tokio::test]
async fn a_bad_request_does_not_use_the_token_up() {
    let daemon = Place::sqlite().start().await;
    for bad in [vec![], vec![0; 100], vec![0x30; 20_000]] {
        assert_invalid(attest(&daemon, "t1", bad).await, "csr");
    }
    attest(&daemon, "t1", csr()).await.unwrap();
}

#[tokio::test]
async fn attestation_needs_a_join_token() {
    let daemon = Place::sqlite().start().await;
    let without_token = Request::new(AttestWorkloadRequest { csr: csr() });
    let answer = daemon.identity("agent/orion", &["joining"]).attest_workload(without_token).await;
    assert_refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");

    let other_role = with_token(AttestWorkloadRequest { csr: csr() }, "t1");
    let answer = daemon.identity("agent/orion", &["agent"]).attest_workload(other_role).await;
    assert_refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_certificate_is_renewed_for_whom_it_names() {
    let daemon = Place::sqlite().start().await;
    let answer = daemon.identity("svc/queue", &[]).renew_x509(RenewX509Request { csr: csr() }).await.unwrap();
    let svid = answer.into_inner().svid.unwrap();
    assert_eq!(svid.spiffe_id, "spiffe://nova.local/svc/queue");

    let bad = daemon.identity("svc/queue", &[]).renew_x509(RenewX509Request { csr: vec![1] }).await;
    assert_invalid(bad, "csr");
}

#[tokio::test]
async fn a_token_renews_nothing() {
    let daemon = Place::sqlite().start().await;
    let request = with_token(RenewX509Request { csr: csr() }, "t1");
    let answer = daemon.identity("worker/mailer", &["worker"]).renew_x509(request).await;
    assert_refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_bundle_is_what_signs() {
    let daemon = Place::sqlite().start().await;
    let svid = attest(&daemon, "t1", csr()).await.unwrap().into_inner().svid.unwrap();
    let bundle =
        daemon.identity("agent/orion", &[]).get_bundle(GetBundleRequest {}).await.unwrap().into_inner();
    assert_eq!(bundle.trust_domain, "nova.local");
    assert_eq!(bundle.x509_authorities, svid.bundle);
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&bundle.jwks).unwrap();
    assert_eq!(jwks.keys.len(), 1);
}
