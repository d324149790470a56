//! Asks a daemon whether it is ready, and what it misses.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::home::MeshFile;

/// How often a daemon is asked.
const EVERY: Duration = Duration::from_millis(10);

/// Waits until the daemon at `address` is ready. Never fails: who calls sets the limit.
pub(crate) async fn wait(address: &str) {
    while missing(address).await.as_deref() != Ok("") {
        tokio::time::sleep(EVERY).await;
    }
}

/// What the daemon misses; empty when it is ready.
pub(crate) async fn missing(address: &str) -> Result<String, String> {
    let answer = tokio::time::timeout(Duration::from_secs(2), get(address, "/ready")).await;
    match answer {
        Ok(Ok((200, _))) => Ok(String::new()),
        Ok(Ok((_, body))) => Ok(body.trim().replace('\n', "; ")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("does not answer".to_owned()),
    }
}

/// What daemons miss: `queue: disk: 0 MiB are free for …`; empty when all are ready.
pub(crate) async fn missing_anywhere(mesh: &MeshFile) -> String {
    let mut told = Vec::new();
    for (daemon, address) in &mesh.http {
        match missing(address).await {
            Ok(missing) if missing.is_empty() => {}
            Ok(why) | Err(why) => told.push(format!("{daemon}: {why}")),
        }
    }
    told.join("; ")
}

/// A plain HTTP GET of a small page.
pub(crate) async fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(4 << 20).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
    Ok((status, body.to_owned()))
}
