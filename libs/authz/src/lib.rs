//! The decision point that runs inside every daemon.
//!
//! The policy daemon is the control plane; a decision is made here, in the process that
//! serves the call, and nobody asks anybody per call.
//!
//! - [`Snapshot`]: modules and data of one revision, named by their content.
//! - [`Engine`]: one revision compiled, with an interpreter for each thread and a bounded
//!   memory of answers. Whatever goes wrong in it is a denial that says so.
//! - [`PolicyPoint`]: the revision in force, swapped as a whole; implements
//!   [`nova_rpc::Authorizer`]. A decision is a span and goes to the record: every
//!   denial, and allowed calls up to a rate.
//! - [`PolicyPoint::run_watch`] follows the policy daemon, [`PolicyPoint::run_report`]
//!   hands decisions to the record. The policy daemon publishes and records by itself.
//! - [`verify`]: what a revision must show before it is activated.
//! - [`check_essentials`]: what every revision must allow, so that a bad one can be replaced.
//!
//! Until the first revision arrives `bootstrap.rego` is in force. It lets the mesh come up;
//! every other call is answered UNAVAILABLE, not PERMISSION_DENIED: it was not decided.

#![warn(missing_docs)]

mod budget;
mod cache_file;
mod compile;
mod config;
mod decided;
mod engine;
mod essentials;
mod evaluators;
mod point;
mod question;
mod report;
mod ring;
mod snapshot;
mod verify;
mod watch;
mod wire;

pub use compile::{CompileError, ENTRYPOINT, Load, load};
pub use config::Config;
pub use decided::{Batch, Decided};
pub use engine::Engine;
pub use essentials::{LockedOut, check_essentials};
pub use point::{PolicyPoint, Status};
pub use question::{Answer, Asked, Fault};
pub use report::{DecisionSink, LARGEST_BATCH, ReportError};
pub use snapshot::{Module, Snapshot, SnapshotError};
pub use verify::{Refusal, verify, verify_essentials};
