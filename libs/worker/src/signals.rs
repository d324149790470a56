//! How a process that has no runtime of the mesh is told to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Listens from now on; the answer ends with the first SIGTERM or SIGINT.
pub(crate) fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
