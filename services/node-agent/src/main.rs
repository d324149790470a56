//! The node agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    nova_runtime::main::<nova_node_agent::NodeAgentDaemon>()
}
