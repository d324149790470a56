//! The identity daemon's own certificate: it has the authority at hand and asks nobody.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use nova_client::Credential;
use nova_runtime::CredentialSource;
use nova_runtime::credentials::IssueError;
use nova_types::{Clock, SpiffeId, SystemClock, TrustDomain};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::authority::{Authority, AuthorityError, IssuedKeypair};
use crate::config::CertificateTerms;

/// A new certificate and key for the identity daemon itself.
pub fn self_credential(
    authority: &Authority,
    terms: &CertificateTerms,
    clock: &dyn Clock,
) -> Result<Credential, AuthorityError> {
    let id = SpiffeId::service(authority.trust_domain(), "identity");
    authority.issue_keypair(&id, &terms.dns_names, clock.now(), terms.lifetime).map(credential)
}

fn credential(issued: IssuedKeypair) -> Credential {
    Credential {
        chain: issued.svid.chain.into_iter().map(CertificateDer::from).collect(),
        key: Some(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.key_der))),
        roots: issued.svid.bundle.into_iter().map(CertificateDer::from).collect(),
        token: None,
        expires: Some(issued.svid.expires),
    }
}

/// Certifies this process with the authority in its own files.
#[derive(Debug)]
pub(crate) struct OwnAuthority {
    authority: Arc<Authority>,
    terms: CertificateTerms,
    clock: SystemClock,
}

impl OwnAuthority {
    pub(crate) fn open(
        dir: &Path,
        domain: &TrustDomain,
        terms: CertificateTerms,
    ) -> Result<Self, AuthorityError> {
        let clock = SystemClock;
        let authority = Arc::new(Authority::open_or_create(dir, domain, clock.now())?);
        Ok(Self { authority, terms, clock })
    }
}

#[async_trait]
impl CredentialSource for OwnAuthority {
    async fn issue(&self) -> Result<Credential, IssueError> {
        self_credential(&self.authority, &self.terms, &self.clock)
            .map_err(|error| IssueError::Authority(error.to_string()))
    }
}
