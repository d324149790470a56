//! Verifies who calls: by the certificate of the connection, or by a bearer token.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::sync::Cache;
use nova_rpc::authentication::{Authenticator, roles_of};
use nova_rpc::{Caller, Error};
use nova_types::{Clock, SpiffeId, Timestamp, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use x509_parser::extensions::GeneralName;

/// What the connection proved; in the extensions of each of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer(pub(crate) Option<Arc<Caller>>);

impl Peer {
    /// From the leaf certificate that TLS has verified.
    pub(crate) fn of(leaf: Option<&CertificateDer<'_>>, domain: &TrustDomain) -> Self {
        Self(leaf.and_then(|leaf| caller_of(leaf, domain)).map(Arc::new))
    }
}

fn caller_of(leaf: &CertificateDer<'_>, domain: &TrustDomain) -> Option<Caller> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let uri = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })?;
    let id = SpiffeId::parse("certificate", uri).ok()?;
    let expires = u64::try_from(certificate.validity().not_after.timestamp()).ok();
    (id.trust_domain() == *domain).then(|| Caller {
        roles: roles_of(&id),
        spiffe_id: Some(id),
        token_id: None,
        expires,
    })
}

/// Claims of the mesh's bearer tokens.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    jti: String,
    #[serde(default)]
    roles: Vec<String>,
}

/// Verifies tokens locally, with the keys of the mesh; a token is verified once and then remembered.
#[derive(Debug)]
pub(crate) struct MeshAuthenticator {
    daemon: &'static str,
    keys: Vec<DecodingKey>,
    domain: TrustDomain,
    clock: Arc<dyn Clock>,
    verified: Cache<String, Arc<Caller>>,
}

impl MeshAuthenticator {
    pub(crate) fn new(
        daemon: &'static str,
        jwks: &str,
        domain: TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, serde_json::Error> {
        crate::token_crypto::install();
        let set: JwkSet = serde_json::from_str(jwks)?;
        let keys = set.keys.iter().filter_map(|key| DecodingKey::from_jwk(key).ok()).collect();
        let verified = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(60)).build();
        Ok(Self { daemon, keys, domain, clock, verified })
    }

    fn bearer(&self, token: &str) -> Result<Arc<Caller>, Error> {
        if let Some(caller) = self.verified.get(token) {
            return Ok(caller);
        }
        let caller = Arc::new(self.verify(token)?);
        self.verified.insert(token.to_owned(), caller.clone());
        Ok(caller)
    }

    fn verify(&self, token: &str) -> Result<Caller, Error> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&["nova"]);
        rules.validate_exp = false;
        let decoded =
            self.keys.iter().find_map(|key| jsonwebtoken::decode::<Claims>(token, key, &rules).ok());
        let claims =
            decoded.ok_or_else(|| Error::unauthenticated("the bearer token does not verify"))?.claims;
        let id = SpiffeId::parse("token", &claims.sub).ok().filter(|id| id.trust_domain() == self.domain);
        let id = id.ok_or_else(|| Error::unauthenticated("the bearer token is of another trust domain"))?;
        // Not the roles that follow from the id: those are for who holds the key of its certificate.
        Ok(Caller {
            spiffe_id: Some(id),
            roles: claims.roles,
            token_id: Some(claims.jti),
            expires: Some(claims.exp),
        })
    }
}

impl MeshAuthenticator {
    /// Who showed the certificate of the connection. Another daemon of the same name forwards calls: such a call is
    /// its first caller's, whom that daemon has verified.
    fn certified(&self, request: &Parts) -> Result<Arc<Caller>, Error> {
        let peer = request.extensions.get::<Peer>().cloned().unwrap_or_default().0.unwrap_or_default();
        match request.headers.get(nova_client::ON_BEHALF_OF) {
            Some(first) if peer.has_role("daemon") && peer.has_role(self.daemon) => {
                let first =
                    first.to_str().ok().and_then(|id| SpiffeId::parse(nova_client::ON_BEHALF_OF, id).ok());
                let id = first.ok_or_else(|| Error::unauthenticated("the forwarded call names nobody"))?;
                Ok(Arc::new(Caller {
                    roles: roles_of(&id),
                    spiffe_id: Some(id),
                    token_id: None,
                    expires: peer.expires,
                }))
            }
            _ => Ok(peer),
        }
    }
}

impl Authenticator for MeshAuthenticator {
    fn authenticate(&self, request: &Parts) -> Result<Arc<Caller>, Error> {
        let caller = match request.headers.get(http::header::AUTHORIZATION) {
            Some(header) => self.bearer(bearer_token(header)?)?,
            None => self.certified(request)?,
        };
        if self.good_for(&caller).is_some_and(|rest| rest.is_zero()) {
            return Err(Error::unauthenticated("the identity has expired; get a new certificate or token"));
        }
        Ok(caller)
    }

    fn good_for(&self, caller: &Caller) -> Option<Duration> {
        let ends = i64::try_from(caller.expires?).ok()?.checked_mul(1_000_000)?;
        Some(Timestamp::from_micros(ends).since(self.clock.now()))
    }
}

fn bearer_token(header: &http::HeaderValue) -> Result<&str, Error> {
    let text = header.to_str().ok();
    let token = text.and_then(|text| text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")));
    token.ok_or_else(|| Error::unauthenticated("authorization must be `Bearer <token>`"))
}
