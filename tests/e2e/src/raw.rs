//! Calls whose messages are bytes: what is sent need not be what the contract says.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use nova_client::Channel;
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// How long an answer is waited for on a stream that stays open.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
/// Longest that a call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sends these messages to `package.Service/Method`, and gives the first answer; none when the call ends
/// without one, or a stream stays open and silent.
pub async fn call(channel: Channel, name: &str, messages: Vec<Bytes>) -> Result<Option<Bytes>, Status> {
    let path: PathAndQuery = format!("/{name}").parse().expect("names of methods are paths");
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    grpc.ready().await?;
    let mut request = Request::new(tokio_stream::iter(messages));
    request.set_timeout(DEADLINE);
    let mut answers = grpc.streaming(request, path, BytesCodec).await?.into_inner();
    match tokio::time::timeout(FIRST_ANSWER, answers.next()).await {
        Ok(answer) => answer.transpose(),
        Err(_) => Ok(None),
    }
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
