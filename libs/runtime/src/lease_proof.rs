//! Proofs of leases: how the queue signs them, and how every daemon verifies them by itself.
//!
//! A proof is a JWT that is signed with the key of the queue's own certificate and carries that certificate (`x5c`,
//! RFC 7515). Whoever trusts the roots of the mesh can verify it, and nobody but a process that identity has certified
//! as `svc/queue` can make one: there is no further key to hand out, to keep or to rotate.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::sync::Cache;
use nova_client::Credentials;
use nova_rpc::lease::{Lease, LeaseVerifier};
use nova_rpc::{Caller, Error};
use nova_types::{Clock, Namespace, SpiffeId, TaskId, Timestamp, TrustDomain};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};

use crate::authentication::Peer;

/// The audience of a proof; that of bearer tokens is another, so that neither passes for the other.
const AUDIENCE: &str = "nova-lease";
/// The daemon that signs.
const SIGNER: &str = "queue";

/// What a proof says. Times are microseconds since the epoch: a proof is too short for whole seconds.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    sub: String,
    namespace: String,
    task: String,
    attempt: u32,
    token: u64,
    not_after: i64,
}

/// Signs with the present certificate of this process, which must be the queue's.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    ends: Timestamp,
}

impl std::fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with what this process shows now.
    ///
    /// # Errors
    /// UNAVAILABLE while the process has no certificate.
    pub fn new(credentials: &Credentials) -> Result<Self, Error> {
        crate::token_crypto::install();
        let credential = credentials.current();
        let (Some(leaf), Some(key)) = (credential.chain.first(), &credential.key) else {
            return Err(Error::unavailable("certificate", "there is none yet to sign with"));
        };
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![STANDARD.encode(leaf)]);
        let ends = credential.expires.unwrap_or(Timestamp::from_micros(i64::MAX));
        Ok(Self { key: EncodingKey::from_ec_der(key.secret_der()), header, ends })
    }

    /// When the certificate ends, and with it everything signed here.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// The proof of a lease.
    ///
    /// # Errors
    /// INTERNAL when the key is none for ES256.
    pub fn sign(&self, lease: &Lease) -> Result<String, Error> {
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            sub: lease.holder.to_string(),
            namespace: lease.namespace.to_string(),
            task: lease.task.to_string(),
            attempt: lease.attempt,
            token: lease.token,
            not_after: lease.not_after.micros(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|error| Error::internal(&error))
    }
}

/// Verifies proofs with the roots of the mesh. What was verified is remembered until it has ended for long.
#[derive(Debug)]
pub(crate) struct Verifier {
    credentials: Credentials,
    domain: TrustDomain,
    clock: Arc<dyn Clock>,
    verified: Cache<String, Arc<Lease>>,
}

impl Verifier {
    pub(crate) fn new(credentials: Credentials, domain: TrustDomain, clock: Arc<dyn Clock>) -> Self {
        crate::token_crypto::install();
        let verified = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(20)).build();
        Self { credentials, domain, clock, verified }
    }

    fn signed(&self, proof: &str) -> Result<Claims, &'static str> {
        let header = jsonwebtoken::decode_header(proof).map_err(|_| "it is no token")?;
        let chain = header.x5c.unwrap_or_default();
        let [leaf] = chain.as_slice() else { return Err("it does not carry the certificate of its signer") };
        let leaf = CertificateDer::from(STANDARD.decode(leaf).map_err(|_| "its certificate is no base64")?);
        self.check_signer(&leaf)?;
        let key = public_key(&leaf).ok_or("the key of its signer cannot be read")?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["aud", "sub"]);
        rules.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Claims>(proof, &key, &rules);
        Ok(decoded.map_err(|_| "its signature does not verify")?.claims)
    }

    /// The signer must be certified as the queue of this mesh, now.
    fn check_signer(&self, leaf: &CertificateDer<'_>) -> Result<(), &'static str> {
        let roots = self.credentials.current().root_store().map_err(|_| "the roots cannot be read")?;
        let chains =
            WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(|_| "there are no roots")?;
        let now = Duration::from_micros(u64::try_from(self.clock.now().micros()).unwrap_or(0));
        chains
            .verify_client_cert(leaf, &[], UnixTime::since_unix_epoch(now))
            .map_err(|_| "its signer is not certified by this mesh")?;
        let signer: Arc<Caller> = Peer::of(Some(leaf), &self.domain).0.unwrap_or_default();
        let certified = signer.has_role("daemon") && signer.has_role(SIGNER);
        if certified { Ok(()) } else { Err("its signer is not the queue") }
    }
}

impl LeaseVerifier for Verifier {
    fn verify(&self, proof: &str) -> Result<Arc<Lease>, Error> {
        if let Some(known) = self.verified.get(proof) {
            return Ok(known);
        }
        let forged = |why: &str| Error::unauthenticated(format!("the lease proof does not hold: {why}"));
        let claims = self.signed(proof).map_err(forged)?;
        let lease = Arc::new(lease_of(&claims).ok_or_else(|| forged("it names no lease"))?);
        self.verified.insert(proof.to_owned(), lease.clone());
        Ok(lease)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn lease_of(claims: &Claims) -> Option<Lease> {
    Some(Lease {
        namespace: Namespace::parse("namespace", &claims.namespace).ok()?,
        task: TaskId::parse("task", &claims.task).ok()?,
        attempt: claims.attempt,
        token: claims.token,
        holder: SpiffeId::parse("sub", &claims.sub).ok()?,
        not_after: Timestamp::from_micros(claims.not_after),
    })
}

/// The point of P-256 that a certificate is for.
fn public_key(leaf: &CertificateDer<'_>) -> Option<DecodingKey> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(DecodingKey::from_ec_der(&certificate.public_key().subject_public_key.data))
}

#[cfg(test)]
mod tests {
    use nova_types::SystemClock;
    use tonic::Code;

    use super::*;
    use crate::testing::TestAuthority;

    fn lease() -> Lease {
        let now = SystemClock.now();
        Lease {
            namespace: Namespace::default(),
            task: TaskId::new(now),
            attempt: 2,
            token: u64::MAX,
            holder: SpiffeId::parse("id", "spiffe://nova.local/worker/a").unwrap(),
            not_after: now + Duration::from_secs(10),
        }
    }

    fn verifier(authority: &TestAuthority) -> Verifier {
        let (domain, clock) = (TrustDomain::default(), Arc::new(SystemClock));
        Verifier::new(authority.credentials("svc/identity"), domain, clock)
    }

    fn proof_by(authority: &TestAuthority, signer: &str) -> String {
        Signer::new(&authority.credentials(signer)).unwrap().sign(&lease()).unwrap()
    }

    #[test]
    fn what_the_queue_signed_every_daemon_verifies() {
        let authority = TestAuthority::new();
        let lease = lease();
        let proof = Signer::new(&authority.credentials("svc/queue")).unwrap().sign(&lease).unwrap();
        let verifier = verifier(&authority);
        for _ in 0..2 {
            assert_eq!(*verifier.verify(&proof).unwrap(), lease);
        }
    }

    #[test]
    fn only_the_queue_of_this_mesh_signs() {
        let authority = TestAuthority::new();
        let verifier = verifier(&authority);
        let forged = [
            proof_by(&authority, "svc/lifecycle"),
            proof_by(&authority, "worker/queue"),
            proof_by(&authority, "agent/queue"),
            proof_by(&TestAuthority::new(), "svc/queue"),
            String::new(),
            "a.b.c".to_owned(),
        ];
        for proof in forged {
            assert_eq!(verifier.verify(&proof).unwrap_err().code(), Code::Unauthenticated, "{proof}");
        }
    }

    #[test]
    fn a_proof_that_was_changed_does_not_hold() {
        let authority = TestAuthority::new();
        let verifier = verifier(&authority);
        let (mine, other) = (proof_by(&authority, "svc/queue"), proof_by(&authority, "svc/queue"));
        let parts = |proof: &str| proof.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (mine, other) = (parts(&mine), parts(&other));
        for mixed in [[&mine[0], &mine[1], &other[2]], [&other[0], &mine[1], &mine[2]]] {
            let mixed = mixed.map(String::as_str).join(".");
            assert_eq!(verifier.verify(&mixed).unwrap_err().code(), Code::Unauthenticated);
        }
    }
}
