//! The cryptography of the mesh's tokens: ES256 and nothing else, with ring, which TLS needs
//! anyway. A token of any other algorithm is refused before its signature is looked at.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::jwk::{EllipticCurve, ThumbprintHash};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};

/// Bytes of one coordinate of a point of P-256.
const COORDINATE: usize = 32;

static ES256: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        ec_pub_components_from_private_key: public_point,
        compute_digest,
        ..KeyUtils::new_unimplemented()
    },
};

/// Makes this the process's cryptography of tokens; to be called before the first token is
/// signed or verified. Calling it again changes nothing.
pub fn install() {
    // An error says that a provider is there already: the caller's own choice, or this one.
    ES256.install_default().ok();
}

struct Es256Signer(EcdsaKeyPair);

impl Signer<Vec<u8>> for Es256Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| SignatureError::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Es256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

struct Es256Verifier(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for Es256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        self.0.verify(message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Es256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    only_es256(*algorithm, key.family())?;
    Ok(Box::new(Es256Signer(key_pair(key.as_bytes())?)))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    only_es256(*algorithm, key.family())?;
    let point = key.try_get_as_bytes()?.to_vec();
    Ok(Box::new(Es256Verifier(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))))
}

fn only_es256(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), Error> {
    match (algorithm, family) {
        (Algorithm::ES256, AlgorithmFamily::Ec) => Ok(()),
        (Algorithm::ES256, _) => Err(new_error(ErrorKind::InvalidKeyFormat)),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    }
}

fn key_pair(pkcs8: &[u8]) -> Result<EcdsaKeyPair, Error> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))
}

/// The public half of a private key: its curve and the two coordinates of its point.
fn public_point(pkcs8: &[u8], algorithm: Algorithm) -> Result<(EllipticCurve, Vec<u8>, Vec<u8>), Error> {
    only_es256(algorithm, AlgorithmFamily::Ec)?;
    let pair = key_pair(pkcs8)?;
    // Uncompressed: a byte that says so, then x, then y.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(COORDINATE);
    Ok((EllipticCurve::P256, x.to_vec(), y.to_vec()))
}

fn compute_digest(data: &[u8], hash: ThumbprintHash) -> Result<Vec<u8>, Error> {
    let algorithm = match hash {
        ThumbprintHash::SHA256 => &digest::SHA256,
        ThumbprintHash::SHA384 => &digest::SHA384,
        ThumbprintHash::SHA512 => &digest::SHA512,
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(digest::digest(algorithm, data).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto::{sign, verify};
    use jsonwebtoken::jwk::Jwk;

    use super::*;

    /// A fresh private key and its public half, which went through a JWK.
    fn keys() -> (EncodingKey, DecodingKey) {
        install();
        let pair = rcgen::KeyPair::generate().unwrap();
        let private = EncodingKey::from_ec_der(&pair.serialize_der());
        let public = Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap();
        (private, DecodingKey::from_jwk(&public).unwrap())
    }

    #[test]
    fn what_a_key_signed_its_own_public_half_verifies_and_no_other() {
        let ((private, public), (_, other)) = (keys(), keys());
        let signature = sign(b"claims", &private, Algorithm::ES256).unwrap();
        assert!(verify(&signature, b"claims", &public, Algorithm::ES256).unwrap());
        assert!(!verify(&signature, b"other claims", &public, Algorithm::ES256).unwrap());
        assert!(!verify(&signature, b"claims", &other, Algorithm::ES256).unwrap());
    }

    #[test]
    fn another_algorithm_or_kind_of_key_is_refused() {
        let (private, public) = keys();
        let secret = EncodingKey::from_secret(b"secret");
        for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::EdDSA, Algorithm::ES384] {
            sign(b"claims", &private, algorithm).unwrap_err();
            verify("", b"claims", &public, algorithm).unwrap_err();
        }
        sign(b"claims", &secret, Algorithm::ES256).unwrap_err();
    }
}
