//! Typed clients of the mesh.
//!
//! [`Mesh`] gives a generated client for each service. What they share is [`Channel`]: TLS
//! with an identity that rotates ([`Credentials`]), the trace and the deadline of the call
//! that is being served, and a retry while a daemon is away. Every mutation of the mesh is
//! idempotent, so that a repeated call is safe.

#![warn(missing_docs)]

mod channel;
mod connector;
mod credentials;
mod endpoints;
mod lease;
mod mesh;
mod retry;

pub use channel::{Channel, ON_BEHALF_OF};
pub use credentials::{Credential, Credentials, CredentialsError};
pub use endpoints::{Endpoint, Endpoints};
pub use mesh::Mesh;
pub use retry::Backoff;

/// Installs the one cryptography provider of this process for TLS; safe to call again.
pub fn install_crypto_provider() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("a cryptography provider is installed already");
    }
}
