//! The queue's own binary, for containers; `nova serve queue` runs the same.

fn main() -> std::process::ExitCode {
    nova_runtime::main::<nova_queue::QueueDaemon>()
}
