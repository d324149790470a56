//! What stands in the certificates: the root's and those of the mesh's members.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nova_types::{SpiffeId, Timestamp, TrustDomain};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::pem::SectionKind;
use x509_parser::extensions::GeneralName;

use super::{AuthorityError, file};

/// A certificate begins earlier than now, for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// X.509's own bound of a common name.
const COMMON_NAME_MAX: usize = 64;

/// A certificate that names a SPIFFE id, and what verifies its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Svid {
    /// Whom it names.
    pub spiffe_id: SpiffeId,
    /// Chain, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// Roots of the mesh, DER.
    pub bundle: Vec<Vec<u8>>,
    /// When the leaf ends.
    pub expires: Timestamp,
}

impl X509Svid {
    /// The chain as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| file::pem(SectionKind::Certificate, der)).collect()
    }

    /// The roots as PEM.
    pub fn bundle_pem(&self) -> String {
        self.bundle.iter().map(|der| file::pem(SectionKind::Certificate, der)).collect()
    }
}

/// A certificate with its private key.
pub struct IssuedKeypair {
    /// The certificate.
    pub svid: X509Svid,
    /// The private key, PKCS#8 DER: a secret.
    pub key_der: Vec<u8>,
}

impl IssuedKeypair {
    /// The private key as PEM: a secret, for a file with the mode 0600.
    pub fn key_pem(&self) -> String {
        file::pem(SectionKind::PrivateKey, &self.key_der)
    }
}

impl std::fmt::Debug for IssuedKeypair {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedKeypair").field("svid", &self.svid).finish_non_exhaustive()
    }
}

/// Whom a certificate is for.
pub(super) struct Subject<'a> {
    pub(super) id: &'a SpiffeId,
    pub(super) dns_names: &'a [String],
    pub(super) now: Timestamp,
    pub(super) expires: Timestamp,
}

/// The self-signed root of a trust domain.
pub(super) fn root(
    domain: &TrustDomain,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let mut params = params(&format!("root of {domain}"), now, now + ROOT_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(ia5(&format!("spiffe://{domain}"))?)];
    params.self_signed(key).map_err(AuthorityError::Certificate)
}

/// A root's trust domain (as `spiffe://<domain>`) and its end; or what is wrong with it.
pub(super) fn root_facts(der: &[u8]) -> Result<(String, Timestamp), String> {
    let (_, root) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
    let names = root.subject_alternative_name().map_err(|error| error.to_string())?;
    let uri = names.into_iter().flat_map(|names| &names.value.general_names).find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let expires = Timestamp::from_micros(root.validity().not_after.timestamp().saturating_mul(1_000_000));
    Ok((uri.ok_or("its root names no trust domain")?, expires))
}

/// A member's certificate, signed by the root.
pub(super) fn leaf(
    subject: &Subject<'_>,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Certificate, AuthorityError> {
    let path = subject.id.path();
    let mut params = params(path, subject.now, subject.expires);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(ia5(subject.id.as_ref())?)];
    if let Some(name) = subject.id.service_name() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.extend(service_names(name, subject.dns_names)?);
    }
    params.signed_by(key, issuer).map_err(AuthorityError::Certificate)
}

/// The names under which a daemon may be called, so that a client in any language can verify it.
fn service_names(name: &str, more: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    let internal = format!("{name}.nova.internal");
    let names = [internal.as_str(), "localhost"].into_iter().chain(more.iter().map(String::as_str));
    let mut names =
        names.map(|name| Ok(SanType::DnsName(ia5(name)?))).collect::<Result<Vec<_>, AuthorityError>>()?;
    names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    Ok(names)
}

fn params(common_name: &str, now: Timestamp, expires: Timestamp) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Nova");
    name.push(DnType::CommonName, common_name.chars().take(COMMON_NAME_MAX).collect::<String>());
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - BACKDATED).since(Timestamp::default());
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + expires.since(Timestamp::default());
    params
}

fn ia5(text: &str) -> Result<Ia5String, AuthorityError> {
    Ia5String::try_from(text).map_err(AuthorityError::Certificate)
}
