//! The signals that end a daemon.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or SIGINT, with its name.
pub(crate) async fn termination() -> io::Result<&'static str> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
