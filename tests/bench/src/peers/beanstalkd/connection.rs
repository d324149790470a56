//! A connection: lines, and bodies.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::job::PAYLOAD;

/// Read ahead on a connection, bytes.
const BUFFER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(BUFFER, stream);
        Ok(Self { stream, line: String::new(), body: vec![0; PAYLOAD + 2] })
    }

    /// Sends commands.
    pub(super) async fn say(&mut self, commands: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(commands).await?)
    }

    /// The next line of an answer.
    pub(super) async fn line(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        self.stream.read_line(&mut self.line).await?;
        Ok(self.line.trim_end())
    }

    /// The body that follows a line; answers the number that it begins with.
    pub(super) async fn body(&mut self) -> anyhow::Result<u64> {
        self.stream.read_exact(&mut self.body).await?;
        Ok(u64::from_le_bytes(*self.body.first_chunk().context("a payload has eight bytes")?))
    }
}
