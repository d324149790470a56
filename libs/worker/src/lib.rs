//! The SDK that workers are written with.
//!
//! A [`Worker`] leases tasks of its queues and gives each to the handler of its kind. It lives on
//! one `Work` stream, which it opens again whenever it breaks, and it keeps what it owes:
//!
//! - The stream is driven by a thread of its own, with connections of its own: a handler that
//!   hogs the runtime cannot keep heartbeats from being sent.
//! - A lease is held until the queue has answered its settlement, or said that it is lost. A result
//!   that met a broken stream is sent again on the next one.
//! - A checkpoint that a handler saved is the queue's when it says so ([`Context::save_checkpoint`]), and the next attempt
//!   begins with it.
//! - A handler whose lease is lost is told to stop ([`Context::cancellation`]); what it answers is dropped.
//! - A lease is given up only when nothing works on its task any more.
//! - A drain starts nothing new, hands back what was not started, gives what runs a grace, and hands back the rest.
//!
//! Handlers are [`tower::Service`]s, and [`layer`](WorkerBuilder::layer)s go around all of them or, with
//! [`handler_fn`], around one. A span, metrics and the catching of panics are around every handler.
//!
//! ```no_run
//! # async fn example(mesh: nova_client::Mesh) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use nova_worker::{Context, Failure, TimeoutLayer, Worker};
//!
//! #[derive(serde::Deserialize)]
//! struct Mail {
//!     to: String,
//! }
//!
//! let worker = Worker::builder(mesh)
//!     .queue("mail")
//!     .concurrency(4)
//!     .handle("mail.send", |mail: Mail, _: Context| async move {
//!         if mail.to.contains('@') { Ok("sent") } else { Err(Failure::permanent("BAD_ADDRESS", mail.to)) }
//!     })
//!     .layer(TimeoutLayer::new(Duration::from_secs(20)))
//!     .build()?;
//! let summary = worker.run_until_signal().await?;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod attempt;
mod builder;
mod cancellation;
mod claim;
mod context;
mod conversation;
mod dispatch;
mod failure;
mod handler;
mod held;
mod layers;
mod link;
mod new_task;
mod producer;
mod reports;
mod signals;
mod tally;
mod task;
mod worker;

pub use builder::WorkerBuilder;
pub use cancellation::CancelReason;
pub use context::Context;
pub use failure::{Failure, OrFail};
pub use handler::{HandlerFn, handler_fn};
pub use layers::{Timeout, TimeoutLayer};
pub use new_task::NewTask;
pub use producer::{Enqueued, Producer};
pub use tally::Summary;
pub use task::{Task, TaskRequest, TaskService};
pub use tower::limit::ConcurrencyLimitLayer;
pub use worker::{Activity, Worker, WorkerError};
