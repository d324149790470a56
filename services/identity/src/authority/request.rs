//! Checks of a certificate request (PKCS#10, RFC 2986).

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::AuthorityError;

/// A request is a few hundred bytes; more is refused before it is parsed.
const REQUEST_MAX: usize = 8 * 1024;

/// The key of a request, once it is proven that the asker holds its private half.
pub(super) fn verified_key(der: &[u8]) -> Result<SubjectPublicKeyInfo, AuthorityError> {
    let refused = |rule: &str| AuthorityError::Request(rule.to_owned());
    if der.len() > REQUEST_MAX {
        return Err(AuthorityError::Request(format!("of {} bytes must be at most {REQUEST_MAX}", der.len())));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| refused("must be a PKCS#10 request, DER"))?;
    if !rest.is_empty() {
        return Err(refused("must end where the PKCS#10 request ends"));
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| refused("must be for an ECDSA P-256 key"))?;
    if *key.algorithm() != PKCS_ECDSA_P256_SHA256 {
        return Err(refused("must be for an ECDSA P-256 key"));
    }
    request.verify_signature().map_err(|_| refused("must be signed by its own key"))?;
    Ok(key)
}
