//! The process that drives an agent.
//!
//! A runner is told who it is on its standard input, proves it, leases the tasks of its queues
//! and runs the skill that each task names. What a skill finds is written to memory and becomes
//! the result of the task.
//!
//! - [`step`]: what a task carries.
//! - [`commands`]: child processes, bounded in time and output, that never outlive the runner.
//! - [`skills`]: what an agent can do; blocking, bounded, knowing nothing of the mesh.

pub mod commands;
pub mod skills;
pub mod step;
