//! Tokens: JWTs signed with ES256, whose subject is a full SPIFFE id.

use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nova_types::{SpiffeId, Timestamp};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AuthorityError;

/// The audience of every token of the mesh.
pub const AUDIENCE: &str = "nova";
/// The role of a join token: it is good for attestation and for nothing else.
pub const JOINING: &str = "joining";

/// Tokens count whole seconds: the end is rounded up, so that a token is good for all of its time.
const ALMOST_A_SECOND: Duration = Duration::from_micros(999_999);

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Full SPIFFE id of the subject.
    pub sub: String,
    /// Always [`AUDIENCE`].
    pub aud: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
    /// When it was made, in seconds since the epoch.
    pub iat: i64,
    /// Its own id, a UUID.
    pub jti: String,
    /// Roles that it carries.
    pub roles: Vec<String>,
}

/// A token and what its maker wants to know of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// The JWT: a secret.
    pub token: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl std::fmt::Debug for BearerToken {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BearerToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Signs tokens with one key.
pub(super) struct TokenSigner {
    key: EncodingKey,
    header: Header,
    jwks: String,
}

impl TokenSigner {
    /// A signer whose key id is the key's own thumbprint (RFC 7638).
    pub(super) fn new(key: &PrivatePkcs8KeyDer<'_>) -> Result<Self, AuthorityError> {
        nova_runtime::token_crypto::install();
        let key = EncodingKey::from_ec_der(key.secret_pkcs8_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(AuthorityError::Token)?;
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(AuthorityError::Token)?;
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);

        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key_id);
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("a JWK set is plain data");
        Ok(Self { key, header, jwks })
    }

    pub(super) fn sign(
        &self,
        subject: &SpiffeId,
        roles: &[String],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<BearerToken, AuthorityError> {
        let issued = now.micros() / 1_000_000;
        let expires = (now + ttl + ALMOST_A_SECOND).micros() / 1_000_000;
        let claims = Claims {
            sub: subject.to_string(),
            aud: AUDIENCE.to_owned(),
            exp: expires,
            iat: issued,
            jti: Uuid::new_v4().to_string(),
            roles: roles.to_vec(),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(AuthorityError::Token)?;
        Ok(BearerToken { token, expires: Timestamp::from_micros(expires.saturating_mul(1_000_000)) })
    }

    pub(super) fn jwks(&self) -> String {
        self.jwks.clone()
    }
}
