//! Certificates and tokens of the authority, verified by others' code.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use nova_identity::authority::{Authority, AuthorityError, Claims, X509Svid};
use nova_types::{Clock as _, SpiffeId, SystemClock, Timestamp, TrustDomain};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;

const MINUTE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(3_600);

struct Home {
    dir: tempfile::TempDir,
    authority: Authority,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(dir.path(), &TrustDomain::default(), now()).unwrap();
    Home { dir, authority }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::of(&TrustDomain::default(), "subject", path).unwrap()
}

/// A certificate request made by an ordinary client: a new key, and wishes that the authority must not grant.
pub(crate) fn csr_of(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

pub(crate) fn csr() -> Vec<u8> {
    csr_of(&rcgen::PKCS_ECDSA_P256_SHA256)
}

fn sign(home: &Home, path: &str) -> X509Svid {
    home.authority.sign_csr(&csr(), &id(path), &[], now(), LIFETIME).unwrap()
}

fn roots(svid: &X509Svid) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(svid.bundle[0].clone())).unwrap();
    Arc::new(roots)
}

fn leaf(svid: &X509Svid) -> CertificateDer<'static> {
    CertificateDer::from(svid.chain[0].clone())
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(at.since(Timestamp::default()))
}

fn serves_as(svid: &X509Svid, name: &str, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(svid), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&leaf(svid), &[], &name, &[], unix(at)).is_ok()
}

fn calls(svid: &X509Svid, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(svid), provider).build().unwrap();
    verifier.verify_client_cert(&leaf(svid), &[], unix(at)).is_ok()
}

fn verify(authority: &Authority, token: &str) -> Option<Claims> {
    let keys: JwkSet = serde_json::from_str(&authority.jwks()).unwrap();
    let key = keys.find(&jsonwebtoken::decode_header(token).ok()?.kid?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["nova"]);
    validation.leeway = 0;
    let verified = jsonwebtoken::decode(token, &DecodingKey::from_jwk(key).unwrap(), &validation);
    verified.ok().map(|data| data.claims)
}

#[test]
fn a_daemon_serves_and_calls_with_its_certificate() {
    let svid = sign(&home(), "svc/queue");
    for name in ["queue.nova.internal", "localhost", "127.0.0.1", "::1"] {
        assert!(serves_as(&svid, name, now()), "{name}");
    }
    assert!(!serves_as(&svid, "policy.nova.internal", now()));
    assert!(!serves_as(&svid, "evil.example", now()), "names of the request are not taken over");
    assert!(calls(&svid, now()));
}

#[test]
fn an_agent_only_calls() {
    let svid = sign(&home(), "agent/orion");
    assert!(calls(&svid, now()));
    assert!(!serves_as(&svid, "localhost", now()));
    let (_, certificate) = x509_parser::parse_x509_certificate(&svid.chain[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(names, [x509_parser::extensions::GeneralName::URI("spiffe://nova.local/agent/orion")]);
}

#[test]
fn a_configured_name_is_certified_for_daemons() {
    let home = home();
    let names = ["mesh.example".to_owned()];
    let svid = home.authority.sign_csr(&csr(), &id("svc/queue"), &names, now(), MINUTE).unwrap();
    assert!(serves_as(&svid, "mesh.example", now()));
}

#[test]
fn a_certificate_ends() {
    let svid = sign(&home(), "svc/queue");
    assert!(!calls(&svid, svid.expires + MINUTE));
    assert!(calls(&svid, svid.expires - MINUTE));
}

#[test]
fn openssl_accepts_the_chain() {
    let home = home();
    let pair = home.authority.issue_keypair(&id("user/operator"), &[], now(), LIFETIME).unwrap();
    let (bundle, leaf) = (home.dir.path().join("bundle.pem"), home.dir.path().join("leaf.pem"));
    std::fs::write(&bundle, home.authority.bundle_pem()).unwrap();
    std::fs::write(&leaf, pair.svid.chain_pem()).unwrap();
    let verify = std::process::Command::new("openssl")
        .args(["verify", "-purpose", "sslclient", "-CAfile"])
        .args([&bundle, &leaf])
        .output();
    let Ok(verify) = verify else {
        return eprintln!("SKIPPED openssl_accepts_the_chain: no openssl (`apt-get install -y openssl`)");
    };
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
}

#[test]
fn an_issued_pair_belongs_together() {
    let pair = home().authority.issue_keypair(&id("user/operator"), &[], now(), MINUTE).unwrap();
    belong_together(&pair.key_pem(), &pair.svid);
}

#[track_caller]
fn belong_together(key_pem: &str, svid: &X509Svid) {
    let key = rcgen::KeyPair::from_pem(key_pem).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&svid.chain[0]).unwrap();
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
}

#[test]
fn a_renewed_certificate_fits_the_key_that_was_there() {
    let home = home();
    let first = home.authority.issue_keypair(&id("user/operator"), &[], now(), MINUTE).unwrap();
    let renewed = home.authority.renew_keypair(&first, now() + MINUTE, MINUTE).unwrap();
    assert_eq!(renewed.svid.spiffe_id, first.svid.spiffe_id);
    assert!(renewed.svid.expires > first.svid.expires);
    belong_together(&first.key_pem(), &renewed.svid);
}

#[test]
fn a_bad_request_is_refused_with_its_rule() {
    let home = home();
    let mut forged = csr();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut longer = csr();
    longer.push(0);
    for (request, rule) in [
        (vec![], "PKCS#10"),
        (b"hello".to_vec(), "PKCS#10"),
        (vec![0x30; 10_000], "8192"),
        (forged, "signed by its own key"),
        (longer, "end where"),
        (csr_of(&rcgen::PKCS_ECDSA_P384_SHA384), "P-256"),
        (csr_of(&rcgen::PKCS_ED25519), "P-256"),
    ] {
        let refused = home.authority.sign_csr(&request, &id("agent/orion"), &[], now(), MINUTE).unwrap_err();
        assert!(
            matches!(&refused, AuthorityError::Request(text) if text.contains(rule)),
            "{refused}: {rule}"
        );
    }
}

#[test]
fn a_subject_of_another_domain_is_refused() {
    let stranger = SpiffeId::parse("subject", "spiffe://elsewhere/agent/orion").unwrap();
    let authority = home().authority;
    let refused = authority.sign_csr(&csr(), &stranger, &[], now(), MINUTE).unwrap_err();
    assert!(matches!(refused, AuthorityError::ForeignDomain { .. }));
    assert!(authority.bearer_token(&stranger, &[], now(), MINUTE).is_err());
}

#[test]
fn a_token_verifies_with_the_published_keys() {
    let home = home();
    let token = home.authority.join_token(&id("agent/orion"), now(), MINUTE).unwrap().token;
    let claims = verify(&home.authority, &token).unwrap();
    assert_eq!(claims.sub, "spiffe://nova.local/agent/orion");
    assert_eq!(claims.roles, ["joining"]);
}

#[test]
fn a_changed_token_does_not_verify() {
    let home = home();
    let token =
        home.authority.bearer_token(&id("user/ada"), &["viewer".to_owned()], now(), MINUTE).unwrap().token;
    for place in (0..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(verify(&home.authority, std::str::from_utf8(&changed).unwrap()), None, "byte {place}");
    }
    let other = self::home().authority;
    assert_eq!(verify(&other, &token), None, "another authority's keys");
}

#[test]
fn a_token_ends() {
    let home = home();
    let past = now() - Duration::from_secs(120);
    let token = home.authority.bearer_token(&id("user/ada"), &[], past, MINUTE).unwrap().token;
    assert_eq!(verify(&home.authority, &token), None);
}

#[test]
fn an_authority_is_the_same_when_opened_again() {
    let home = home();
    let again = Authority::open_or_create(home.dir.path(), &TrustDomain::default(), now()).unwrap();
    assert_eq!(again.bundle_pem(), home.authority.bundle_pem());
    assert_eq!(again.jwks(), home.authority.jwks());
}

#[test]
fn racing_openers_agree_on_one_authority() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Authority::open_or_create(dir.path(), &TrustDomain::default(), now()).unwrap().bundle_pem();
    let bundles: Vec<String> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));
}

#[test]
fn the_keys_are_for_their_owner_alone() {
    let home = home();
    let mode = |name: &str| home.dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("authority.pem"), 0o600);
}

#[test]
fn a_folder_of_another_domain_or_with_garbage_is_refused() {
    let home = home();
    let other = TrustDomain::parse("trust_domain", "other.example").unwrap();
    let refused = Authority::open_or_create(home.dir.path(), &other, now()).unwrap_err();
    assert!(matches!(refused, AuthorityError::ForeignDomain { .. }));

    std::fs::write(home.dir.path().join("authority.pem"), "garbage").unwrap();
    let refused = Authority::open_or_create(home.dir.path(), &TrustDomain::default(), now()).unwrap_err();
    assert!(matches!(refused, AuthorityError::Corrupt { .. }));
}
