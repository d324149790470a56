//! What every call between daemons has in common: the error model, and what is done
//! around a call on both of its ends.
//!
//! A call that comes in passes [`server::Guard`]: its trace is joined ([`trace`]), its
//! deadline is kept ([`deadline`]), its caller is established ([`authentication`]) and
//! decided on ([`authorization`]), the lease that it shows is verified ([`lease`]); then it is
//! counted ([`metrics`]). Nothing here knows
//! how an identity is verified or how a decision is made: `runtime` joins this crate with
//! those that do.

#![warn(missing_docs)]

pub mod authentication;
pub mod authorization;
mod bounded;
pub mod deadline;
mod error;
mod expiry;
mod idempotency;
pub mod lease;
pub mod messaging;
mod method;
pub mod metrics;
pub mod raw;
mod reason;
pub mod server;
pub mod trace;
mod unreadable;

pub use authentication::{Caller, Credential, caller};
pub use authorization::{Authorizer, Decision, Question};
pub use error::Error;
pub use idempotency::repeatable;
pub use lease::{Lease, lease};
pub use method::Method;
pub use reason::Reason;
pub use unreadable::unreadable;
