//! The policy daemon on its own.

fn main() -> std::process::ExitCode {
    nova_runtime::main::<nova_policy::PolicyDaemon>()
}
