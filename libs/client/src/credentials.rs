//! The identity that this process shows, and the roots that it trusts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use nova_types::Timestamp;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

/// What a process shows and whom it trusts, at one moment.
#[derive(Debug)]
pub struct Credential {
    /// Certificate chain, leaf first; empty for a process that has no certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Key of the leaf.
    pub key: Option<PrivateKeyDer<'static>>,
    /// Roots of the mesh.
    pub roots: Vec<CertificateDer<'static>>,
    /// Bearer token, for a process without a certificate.
    pub token: Option<String>,
    /// When the leaf ends.
    pub expires: Option<Timestamp>,
}

/// Credentials that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// PEM text that cannot be read.
    #[error("the PEM text of {what} cannot be read")]
    Pem {
        /// What it should have held.
        what: &'static str,
        /// Why not.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A chain, key or root that TLS refuses.
    #[error("TLS refuses the credential")]
    Tls(#[from] rustls::Error),
}

impl Credential {
    /// Trusts `roots` and shows nothing but a bearer token.
    pub fn bearer(roots: Vec<CertificateDer<'static>>, token: Option<String>) -> Self {
        Self { chain: Vec::new(), key: None, roots, token, expires: None }
    }

    /// Trusts roots in PEM text, and shows a bearer token.
    pub fn token_from_pem(roots: &str, token: String) -> Result<Self, CredentialsError> {
        Ok(Self::bearer(certificates(roots)?, Some(token)))
    }

    /// From PEM text: a chain, its key, and the roots.
    pub fn from_pem(chain: &str, key: &str, roots: &str) -> Result<Self, CredentialsError> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|source| CredentialsError::Pem { what: "a private key", source })?;
        let (chain, roots) = (certificates(chain)?, certificates(roots)?);
        Ok(Self { chain, key: Some(key), roots, token: None, expires: None })
    }

    /// The TLS settings of a caller with this credential.
    pub fn client_config(&self) -> Result<ClientConfig, CredentialsError> {
        let builder = ClientConfig::builder().with_root_certificates(self.root_store()?);
        let mut config = match &self.key {
            Some(key) => builder.with_client_auth_cert(self.chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The roots, for verification.
    pub fn root_store(&self) -> Result<RootCertStore, CredentialsError> {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store.add(root.clone())?;
        }
        Ok(store)
    }
}

/// Certificates from PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| CredentialsError::Pem { what: "certificates", source })
}

/// The present credential of this process; it is replaced as certificates rotate.
/// Connections that stand are not disturbed, new ones use the new credential.
#[derive(Clone, Debug)]
pub struct Credentials(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Current>,
    /// True until a process that joins with a one-time token has its first certificate.
    joining: watch::Sender<bool>,
}

#[derive(Debug)]
struct Current {
    credential: Arc<Credential>,
    client: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
}

impl Credentials {
    /// Begins with `credential`.
    pub fn new(credential: Credential) -> Result<Self, CredentialsError> {
        Self::begin(credential, false)
    }

    /// Reads roots in PEM, for a process that has nothing else yet than a one-time token. Until its
    /// credential is replaced by a certificate, every call but the one that gets it waits.
    pub fn joining(roots_pem: &str, token: String) -> Result<Self, CredentialsError> {
        Self::begin(Credential::bearer(certificates(roots_pem)?, Some(token)), true)
    }

    fn begin(credential: Credential, joining: bool) -> Result<Self, CredentialsError> {
        let current = ArcSwap::from_pointee(Current::of(credential)?);
        Ok(Self(Arc::new(Shared { current, joining: watch::Sender::new(joining) })))
    }

    /// Waits until the process is more than a candidate for the mesh.
    pub(crate) async fn joined(&self) {
        if !*self.0.joining.borrow() {
            return;
        }
        let mut joining = self.0.joining.subscribe();
        if joining.wait_for(|joining| !joining).await.is_err() {
            tracing::trace!("the credentials are gone");
        }
    }

    /// Replaces the credential for all connections to come.
    pub fn replace(&self, credential: Credential) -> Result<(), CredentialsError> {
        self.0.current.store(Arc::new(Current::of(credential)?));
        self.0.joining.send_replace(false);
        Ok(())
    }

    /// The present credential.
    pub fn current(&self) -> Arc<Credential> {
        self.0.current.load().credential.clone()
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.0.current.load().client.clone()
    }

    /// The `authorization` header of each call; none for a process that shows no token.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.0.current.load().authorization.clone()
    }
}

impl Current {
    fn of(credential: Credential) -> Result<Self, CredentialsError> {
        let client = Arc::new(credential.client_config()?);
        let authorization = credential.token.as_deref().and_then(bearer);
        Ok(Self { credential: Arc::new(credential), client, authorization })
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
