//! Reads what a process writes, line by line, into its log.

use std::sync::Arc;

use nova_types::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::lines::LineSplitter;
use super::log::{Log, Source};

const CHUNK: usize = 16 * 1024;

/// Reads until everybody who could write has closed the pipe.
pub(crate) async fn capture(
    mut pipe: impl AsyncRead + Unpin,
    source: Source,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
) {
    let (mut splitter, mut chunk) = (LineSplitter::default(), vec![0; CHUNK]);
    loop {
        let lines = match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => splitter.feed(&chunk[..count]),
        };
        if !lines.is_empty() {
            log.append(clock.now(), source, lines).await;
        }
    }
    if let Some(line) = splitter.finish() {
        log.append(clock.now(), source, vec![line]).await;
    }
}
