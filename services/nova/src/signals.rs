//! The signals that end a command.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure;

/// Waits for Ctrl-C or SIGTERM, and gives the exit code that shells have for it.
pub(crate) async fn termination() -> io::Result<u8> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = int.recv() => failure::INTERRUPTED,
        _ = term.recv() => failure::TERMINATED,
    })
}
