//! Where a process gets its certificate, and how it keeps a fresh one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nova_client::{Credential, Credentials, Mesh};
use nova_proto::identity::v1::{AttestWorkloadRequest, RenewX509Request, X509Svid};
use nova_rpc::trace;
use nova_types::{Clock, Timestamp};
use opentelemetry::global;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Readiness;

/// Wait before a certificate that could not be issued is asked for again.
const RETRY: Duration = Duration::from_millis(200);
/// Shortest time between two certificates.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Issues the certificates of this process.
#[async_trait]
pub trait CredentialSource: Send + Sync + Debug {
    /// A new certificate, for a new key that never leaves this process.
    async fn issue(&self) -> Result<Credential, IssueError>;
}

/// No certificate this time.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The identity daemon refused, or cannot be reached.
    #[error("the identity daemon: {}", .0.message())]
    Identity(Box<tonic::Status>),
    /// Its answer has no certificate.
    #[error("the identity daemon's answer has no certificate")]
    Empty,
    /// A key or request that cannot be made.
    #[error("a certificate request cannot be made")]
    Request(#[from] rcgen::Error),
    /// The certificate authority of this process.
    #[error("the certificate authority: {0}")]
    Authority(String),
}

impl From<tonic::Status> for IssueError {
    fn from(status: tonic::Status) -> Self {
        Self::Identity(Box::new(status))
    }
}

/// Asks the identity daemon: first with a join token, then with the certificate it has.
///
/// Until the first certificate is there, the same key is asked for again: the token is bound to the
/// request it came with, so that an answer that was lost can be had again.
#[derive(Debug)]
pub struct IdentityDaemon {
    mesh: Mesh,
    first_key: KeyPair,
}

impl IdentityDaemon {
    /// Asks through `mesh`, whose credentials hold the join token or a certificate.
    pub fn new(mesh: Mesh) -> Result<Self, IssueError> {
        Ok(Self { mesh, first_key: new_key()? })
    }

    async fn attest(&self) -> Result<Credential, IssueError> {
        let request = AttestWorkloadRequest { csr: request_for(&self.first_key)? };
        let mut identity = self.mesh.identity();
        let svid = trace::unrecorded(identity.attest_workload(request)).await?.into_inner().svid;
        Ok(credential(svid.ok_or(IssueError::Empty)?, &self.first_key))
    }

    async fn renew(&self) -> Result<Credential, IssueError> {
        let key = new_key()?;
        let request = RenewX509Request { csr: request_for(&key)? };
        let mut identity = self.mesh.identity();
        let svid = trace::unrecorded(identity.renew_x509(request)).await?.into_inner().svid;
        Ok(credential(svid.ok_or(IssueError::Empty)?, &key))
    }
}

#[async_trait]
impl CredentialSource for IdentityDaemon {
    async fn issue(&self) -> Result<Credential, IssueError> {
        let joined = self.mesh.credentials().current().key.is_some();
        if joined { self.renew().await } else { self.attest().await }
    }
}

fn new_key() -> Result<KeyPair, IssueError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn request_for(key: &KeyPair) -> Result<Vec<u8>, IssueError> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

fn credential(svid: X509Svid, key: &KeyPair) -> Credential {
    Credential {
        chain: svid.certificates.into_iter().map(CertificateDer::from).collect(),
        key: Some(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))),
        roots: svid.bundle.into_iter().map(CertificateDer::from).collect(),
        token: None,
        expires: svid.expire_time.as_ref().map(Timestamp::from_wire),
    }
}

/// Gets a certificate, however long it takes, then a new one at half of its life, for ever.
pub(crate) async fn keep_fresh(
    source: Arc<dyn CredentialSource>,
    credentials: Credentials,
    readiness: Readiness,
    clock: Arc<dyn Clock>,
) {
    loop {
        let wait = match renew(source.as_ref(), &credentials).await {
            Ok(expires) => {
                readiness.ready();
                half_life(clock.now(), expires)
            }
            Err(error) => {
                if credentials.current().key.is_none() {
                    readiness.not_ready(error.to_string());
                }
                tracing::warn!(%error, "no certificate yet");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn renew(
    source: &dyn CredentialSource,
    credentials: &Credentials,
) -> Result<Option<Timestamp>, IssueError> {
    let credential = source.issue().await?;
    let expires = credential.expires;
    credentials.replace(credential).map_err(|error| IssueError::Authority(error.to_string()))?;
    show(expires);
    tracing::debug!(expires = %expires.unwrap_or_default(), "a certificate was issued");
    Ok(expires)
}

/// Shows on the page of metrics how long the certificate is good, to be alarmed when none follows it.
fn show(expires: Option<Timestamp>) {
    let Some(expires) = expires else { return };
    global::meter("nova.runtime")
        .f64_gauge("nova.tls.certificate.not_after")
        .with_unit("s")
        .with_description("When the certificate of this process ends, seconds since the epoch")
        .build()
        .record(expires.micros() as f64 / 1e6, &[]);
}

/// [`keep_fresh`] for a process that has its first certificate.
pub(crate) async fn keep_fresh_from_half_life(
    source: Arc<dyn CredentialSource>,
    credentials: Credentials,
    readiness: Readiness,
    clock: Arc<dyn Clock>,
) {
    tokio::time::sleep(half_life(clock.now(), credentials.current().expires)).await;
    keep_fresh(source, credentials, readiness, clock).await;
}

fn half_life(now: Timestamp, expires: Option<Timestamp>) -> Duration {
    let life = expires.unwrap_or(now + Duration::from_secs(3_600)).since(now);
    (life / 2).max(SHORTEST_LIFE)
}
