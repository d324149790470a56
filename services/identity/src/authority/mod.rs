//! The mesh's own certificate authority: one root, one key that signs tokens, kept in one file.
//!
//! Everything here is synchronous and needs no other daemon, so that the supervisor of a mesh can make the authority
//! before any daemon runs, and the identity daemon can certify itself. Certificates follow the SPIFFE X.509-SVID
//! standard: the identity is the one URI among the alternative names. Tokens are JWTs (RFC 7519), signed with ES256.

mod certificate;
mod file;
mod request;
mod token;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nova_types::{SpiffeId, Timestamp, TrustDomain};
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::SectionKind};

pub use certificate::{IssuedKeypair, X509Svid};
pub use token::{AUDIENCE, BearerToken, Claims, JOINING};

use certificate::Subject;
use token::TokenSigner;

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is there, but is not an authority's.
    #[error("{path} does not hold an authority: {rule}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What it lacks.
        rule: String,
    },
    /// The subject, or the file, belongs to another trust domain.
    #[error("{found} is not in the trust domain {expected}")]
    ForeignDomain {
        /// The authority's own trust domain.
        expected: TrustDomain,
        /// What was given.
        found: String,
    },
    /// The certificate request breaks a rule.
    #[error("certificate request {0}")]
    Request(String),
    /// The root certificate has ended: a new authority is needed.
    #[error("the root certificate ended at {0}")]
    RootExpired(Timestamp),
    /// A certificate could not be made.
    #[error("cannot sign a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A token could not be made.
    #[error("cannot sign a token")]
    Token(#[source] jsonwebtoken::errors::Error),
}

/// The certificate authority of one trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    root: CertificateDer<'static>,
    root_expires: Timestamp,
    issuer: Issuer<'static, KeyPair>,
    tokens: TokenSigner,
}

type Result<T> = std::result::Result<T, AuthorityError>;

impl Authority {
    /// Opens the authority that lives in `dir`, or makes one there (a root good for ten years from `now`).
    ///
    /// The folder gets the mode 0700 and the file in it 0600. Processes that race agree on one authority.
    pub fn open_or_create(dir: &Path, trust_domain: &TrustDomain, now: Timestamp) -> Result<Self> {
        let (path, text) = file::read_or_create(dir, || Self::generate(trust_domain, now))?;
        let material = file::Material::parse(&path, &text)?;
        Self::of(&path, material, trust_domain)
    }

    /// Signs a certificate for the key of a PKCS#10 request (DER); nothing else in the request is taken over.
    ///
    /// The request must be signed by its own key, an ECDSA P-256 key. A daemon's certificate (`svc/<name>`) is for
    /// serving too, and names `<name>.nova.internal`, `localhost`, the loopback addresses and `dns_names`; all others
    /// are for clients only and carry no DNS names. It ends after `ttl`, or with the root.
    pub fn sign_csr(
        &self,
        request: &[u8],
        subject: &SpiffeId,
        dns_names: &[String],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<X509Svid> {
        let key = request::verified_key(request)?;
        self.certify(&key, subject, dns_names, now, ttl)
    }

    /// Makes a key and a certificate for it in one go, for a subject that this process acts for.
    pub fn issue_keypair(
        &self,
        subject: &SpiffeId,
        dns_names: &[String],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedKeypair> {
        let key = generate_key()?;
        let svid = self.certify(&key, subject, dns_names, now, ttl)?;
        Ok(IssuedKeypair { svid, key_der: key.serialize_der() })
    }

    /// Makes a later certificate for the key and the subject of a pair that was issued without DNS names: whoever reads
    /// the two from files meanwhile has a pair that matches, with the old certificate or the new one.
    pub fn renew_keypair(
        &self,
        pair: &IssuedKeypair,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedKeypair> {
        let key = PrivatePkcs8KeyDer::from(pair.key_der.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(AuthorityError::Certificate)?;
        let svid = self.certify(&key, &pair.svid.spiffe_id, &[], now, ttl)?;
        Ok(IssuedKeypair { svid, key_der: pair.key_der.clone() })
    }

    /// Makes a token with which a process may attest itself as `subject`, once.
    pub fn join_token(&self, subject: &SpiffeId, now: Timestamp, ttl: Duration) -> Result<BearerToken> {
        self.bearer_token(subject, &[JOINING.to_owned()], now, ttl)
    }

    /// Makes a bearer token for `subject` with `roles`. Its end is a whole second, rounded up.
    pub fn bearer_token(
        &self,
        subject: &SpiffeId,
        roles: &[String],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<BearerToken> {
        self.check_domain(subject)?;
        self.tokens.sign(subject, roles, now, ttl)
    }

    /// The public keys that verify tokens, a JWK set (RFC 7517) as JSON.
    pub fn jwks(&self) -> String {
        self.tokens.jwks()
    }

    /// The root certificate, DER.
    pub fn root_der(&self) -> &[u8] {
        &self.root
    }

    /// The root certificate, PEM.
    pub fn bundle_pem(&self) -> String {
        file::pem(SectionKind::Certificate, &self.root)
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    fn generate(trust_domain: &TrustDomain, now: Timestamp) -> Result<String> {
        let root_key = generate_key()?;
        let root = certificate::root(trust_domain, &root_key, now)?;
        let token_key = generate_key()?;
        Ok(format!("{}{}{}", root.pem(), root_key.serialize_pem(), token_key.serialize_pem()))
    }

    fn of(path: &Path, material: file::Material, trust_domain: &TrustDomain) -> Result<Self> {
        let corrupt = |rule: String| AuthorityError::Corrupt { path: path.to_owned(), rule };
        let (domain, root_expires) = certificate::root_facts(&material.root).map_err(corrupt)?;
        if domain != format!("spiffe://{trust_domain}") {
            return Err(AuthorityError::ForeignDomain { expected: trust_domain.clone(), found: domain });
        }
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&material.root_key, &PKCS_ECDSA_P256_SHA256);
        let issuer =
            Issuer::from_ca_cert_der(&material.root, key.map_err(|error| corrupt(error.to_string()))?);
        Ok(Self {
            trust_domain: trust_domain.clone(),
            issuer: issuer.map_err(|error| corrupt(error.to_string()))?,
            root_expires,
            tokens: TokenSigner::new(&material.token_key)?,
            root: material.root,
        })
    }

    fn certify(
        &self,
        key: &impl rcgen::PublicKeyData,
        subject: &SpiffeId,
        dns_names: &[String],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<X509Svid> {
        self.check_domain(subject)?;
        if now >= self.root_expires {
            return Err(AuthorityError::RootExpired(self.root_expires));
        }
        let subject = Subject { id: subject, dns_names, now, expires: (now + ttl).min(self.root_expires) };
        let leaf = certificate::leaf(&subject, key, &self.issuer)?;
        Ok(X509Svid {
            spiffe_id: subject.id.clone(),
            chain: vec![leaf.der().to_vec()],
            bundle: vec![self.root.to_vec()],
            expires: subject.expires,
        })
    }

    fn check_domain(&self, subject: &SpiffeId) -> Result<()> {
        if subject.trust_domain() == self.trust_domain {
            return Ok(());
        }
        Err(AuthorityError::ForeignDomain { expected: self.trust_domain.clone(), found: subject.to_string() })
    }
}

impl fmt::Debug for Authority {
    /// Without its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

fn generate_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Certificate)
}
