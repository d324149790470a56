//! The lifecycle daemon as its own process.

fn main() -> std::process::ExitCode {
    nova_runtime::main::<nova_lifecycle::LifecycleDaemon>()
}
