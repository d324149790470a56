//! Supervised processes: how they are started, watched, logged, started again and ended.
//!
//! Each process has one task, its [`supervision`], which alone starts, signals and reaps it, and writes its state into
//! the [`table`], from where everybody reads. So nothing is started twice, and a caller that goes away mid-call leaves
//! nothing half done: the task goes on.
//!
//! Nothing is orphaned. A process is the leader of a group of its own; when it ends, its group is killed. Its standard
//! input is a lifeline that closes when the daemon dies. And the [`journal`] tells the next daemon what to end.

mod capture;
mod group;
mod journal;
mod launch;
mod limits;
mod lines;
mod log;
mod log_file;
mod old_logs;
mod restart;
mod spec;
mod stat;
mod status;
mod supervision;
mod supervisor;
mod table;
mod usage;

pub use launch::INHERITED;
pub use lines::MAX_LINE_BYTES;
pub use log::{Line, Source};
pub use spec::{Limits, Program, RUNNER, Restart, Spec};
pub use status::{Cause, Ending, Process, State, Usage};
pub use supervisor::{Environment, Follower, Sources, Started, Supervisor};
pub use table::Watcher;
