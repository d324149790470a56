//! How every daemon starts, reports, drains and stops.
//!
//! A daemon is a [`Daemon`]: its name, its configuration, and a `start` that gives gRPC
//! routes. [`main`] does the rest, in this order:
//!
//! 1. [`config`]: defaults, file, environment, flags; unknown keys are refused.
//! 2. [`handoff`]: what the parent process hands over on standard input, which from then
//!    on is a lifeline: when it closes, the parent is gone, and so is the daemon.
//! 3. [`listeners`]: sockets that were handed down, or new ones. Nothing listens later.
//! 4. [`telemetry`]: logs, traces, metrics.
//! 5. [`credentials`]: a certificate from the identity daemon, renewed at half its life.
//! 6. `Daemon::start`, then [`server`] with the guard of `nova_rpc` before every call.
//! 7. SIGTERM or the lifeline's end: not ready any more, calls finish, tasks end, telemetry
//!    is flushed.
//!
//! Only this crate reads the environment, handles signals, and spawns tasks; who does it all the same is listed in
//! `tests/repo/tests/it/seams.rs`.

#![warn(missing_docs)]

pub mod agent;
mod authentication;
mod command;
pub mod config;
mod config_error;
mod connections;
pub mod credentials;
mod daemon;
mod disk;
pub mod fenced;
pub mod grace;
pub mod handoff;
mod histograms;
mod http;
pub mod lease_proof;
mod listeners;
mod log_format;
mod loopback;
mod readiness;
mod running;
mod runtime;
mod server;
mod signals;
mod spans;
pub mod telemetry;
pub mod testing;
pub mod token_crypto;

pub use config::{Config, RuntimeConfig, Settings};
pub use credentials::CredentialSource;
pub use daemon::{Daemon, MISCONFIGURED, StartError, main, main_with};
pub use handoff::{Handoff, Otlp};
pub use histograms::Series;
pub use loopback::{LoopbackAddr, NotLoopback};
pub use readiness::Readiness;
pub use runtime::{Runtime, StoreUrl};
pub use tonic::service::Routes;

/// A call allocates some dozens of small things, many of which are freed on another thread than they came from.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
