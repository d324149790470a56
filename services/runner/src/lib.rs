//! The process that drives an agent.
//!
//! A runner is told who it is on its standard input, proves it, leases the tasks of its queues
//! and runs the skill that each task names. What a skill finds is written to memory and becomes
//! the result of the task.
//!
//! - [`arguments`]: what the command line may say.
//! - `agent`: an agent's life: join, work, beat, drain, end.
//! - `work`: how a task becomes a skill's request, and its outcome a memory and a result.
//! - `memory`: the agent's memory: each step writes once, however often it is tried.
//! - [`step`]: what a task carries.
//! - [`commands`]: child processes, bounded in time and output, that never outlive the runner.
//! - [`skills`]: what an agent can do; blocking, bounded, knowing nothing of the mesh, but for
//!   the two that are about it.

use std::ffi::OsString;
use std::process::ExitCode;

mod agent;
pub mod arguments;
pub mod commands;
mod memory;
pub mod skills;
pub mod step;
mod work;

pub use arguments::Arguments;

/// Drives an agent with the arguments of this process.
pub fn run() -> ExitCode {
    main_with(std::env::args_os().collect())
}

/// Drives an agent; the first argument is the name of the command.
pub fn main_with(args: Vec<OsString>) -> ExitCode {
    let arguments = Arguments::of(args);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(agent::live(arguments));
    // A skill that still runs holds nothing that must be kept: its commands end with this process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the node agent keeps what an agent's process writes there")]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    let chain = std::iter::successors(Some(error), |error| error.source());
    eprintln!("nova-runner: {}", chain.map(ToString::to_string).collect::<Vec<_>>().join(": "));
    ExitCode::FAILURE
}
