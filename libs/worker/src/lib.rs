//! The SDK that workers are written with.
//!
//! A [`Worker`] leases tasks of its queues and gives each to the handler of its kind. It lives on
//! one `Work` stream, which it opens again whenever it breaks, and it keeps what it owes:
//!
//! - The stream is driven by a thread of its own, with connections of its own: a handler that
//!   hogs the runtime cannot keep heartbeats from being sent.
//! - A lease is held until the queue has answered its settlement, or said that it is lost. A result
//!   that met a broken stream is sent again on the next one.
//! - When a lease is lost, [`TaskContext::lost`] fires; what the handler answers is then dropped.
//! - A drain starts nothing new, hands back what was not started, and waits for what runs.
//!
//! ```no_run
//! # async fn example(mesh: nova_client::Mesh) -> Result<(), Box<dyn std::error::Error>> {
//! use nova_worker::{Failure, TaskContext, Worker};
//!
//! let worker = Worker::builder(mesh)
//!     .queues(["mail"])
//!     .concurrency(4)
//!     .handler("mail.send", |_: TaskContext, to: String| async move {
//!         if to.contains('@') { Ok("sent") } else { Err(Failure::permanent("BAD_ADDRESS", to)) }
//!     })
//!     .build()?;
//! worker.run(tokio_util::sync::CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod builder;
mod conversation;
mod dispatch;
mod failure;
mod handler;
mod held;
mod link;
mod task;
mod worker;

pub use builder::WorkerBuilder;
pub use failure::Failure;
pub use task::{Task, TaskContext};
pub use worker::{Activity, Worker, WorkerError};
