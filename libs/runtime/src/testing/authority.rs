//! A certificate authority for tests, so that proofs of leases are signed and verified as in a mesh.

use std::fmt;
use std::sync::LazyLock;

use nova_client::{Credential, Credentials};
use nova_rpc::lease::Lease;
use nova_types::{SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::lease_proof::Signer;

static SHARED: LazyLock<TestAuthority> = LazyLock::new(TestAuthority::new);

/// Certifies whoever a test names.
pub struct TestAuthority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for TestAuthority {
    /// Without its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAuthority").finish_non_exhaustive()
    }
}

impl TestAuthority {
    /// The one that all daemons of a test's process trust.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Another one.
    #[expect(clippy::new_without_default, reason = "a new key is no default")]
    pub fn new() -> Self {
        nova_client::install_crypto_provider();
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("a root can be made").der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// What `subject` (`svc/queue`) shows, with a key of its own.
    ///
    /// # Panics
    /// When it is no path of a SPIFFE id.
    pub fn credentials(&self, subject: &str) -> Credentials {
        let id =
            SpiffeId::of(&TrustDomain::default(), "subject", subject).expect("a test names a good subject");
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(id.as_ref().try_into().expect("ids are ASCII"))];
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate can be made").der().clone();
        let credential = Credential {
            chain: vec![leaf],
            key: Some(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))),
            roots: vec![self.root.clone()],
            token: None,
            expires: None,
        };
        Credentials::new(credential).expect("they fit together")
    }

    /// The proof of a lease, as the queue would sign it.
    ///
    /// # Panics
    /// Never: the key is made for it.
    pub fn proof(&self, lease: &Lease) -> String {
        let signer = Signer::new(&self.credentials("svc/queue"));
        signer.and_then(|signer| signer.sign(lease)).expect("the test's queue has a key")
    }
}
