//! Certificates for servers that listen with TLS, too: beside their plain port, over which tests ask them.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{RedisServer, free_port};

/// An authority of a test's own, and a certificate of it for 127.0.0.1. The files are removed when this is dropped.
#[derive(Debug)]
pub struct RedisTls(TempDir);

impl RedisTls {
    /// Makes both.
    ///
    /// # Panics
    /// When files cannot be written.
    #[expect(clippy::new_without_default, reason = "a new key is no default")]
    pub fn new() -> Self {
        nova_client::install_crypto_provider();
        let (root, issuer) = authority();
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it is an address");
        // Not that of the root, which servers would take for a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "redis");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate can be made");
        let tls = Self(TempDir::new().expect("a temporary folder can be made"));
        let pem = [("ca", root), ("certificate", leaf.pem()), ("key", key.serialize_pem())];
        pem.into_iter()
            .for_each(|(name, pem)| fs::write(tls.file(name), pem).expect("a file can be written"));
        tls
    }

    /// The root that clients must trust, PEM.
    pub fn ca(&self) -> PathBuf {
        self.file("ca")
    }

    /// A server that listens with TLS, too; the port of that.
    ///
    /// # Panics
    /// See [`RedisServer::start`].
    #[track_caller]
    pub fn server(&self) -> (RedisServer, u16) {
        let port = free_port();
        let settings = self.settings(port);
        (RedisServer::start_with(&settings.iter().map(String::as_str).collect::<Vec<_>>()), port)
    }

    /// `rediss://…` at a port.
    pub fn url(&self, port: u16) -> String {
        format!("rediss://127.0.0.1:{port}?ca={}", self.ca().display())
    }

    /// What a server is told to listen with TLS on a port.
    pub(super) fn settings(&self, port: u16) -> Vec<String> {
        let files = [("cert", "certificate"), ("key", "key"), ("ca-cert", "ca")];
        let files =
            files.map(|(what, name)| [format!("--tls-{what}-file"), self.file(name).display().to_string()]);
        let port = ["--tls-port".to_owned(), port.to_string()];
        let nobody_shows_one = ["--tls-auth-clients", "no"].map(str::to_owned);
        files.into_iter().flatten().chain(port).chain(nobody_shows_one).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }
}

/// Its root, PEM, and what it signs with.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).expect("a root can be made").pem();
    (root, Issuer::new(params, key))
}
