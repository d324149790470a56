//! `nova-runner`: the process that drives an agent, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    nova_runner::run()
}
