//! Messages between Rust and the bytes of a call, each in one piece.
//!
//! A message is written to a plain vector and copied once, and read from bytes that lie in a row. Written straight into
//! tonic's growing buffer, each byte of each number is a call of its own.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Most bytes that a stream keeps to write its next message in.
const KEPT: usize = 64 << 10;

/// Protobuf, as every client and server of the contracts speaks it.
#[derive(Debug, Clone)]
pub struct WholeCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for WholeCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for WholeCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Whole<T>;
    type Decoder = Whole<U>;

    fn encoder(&mut self) -> Whole<T> {
        Whole::default()
    }

    fn decoder(&mut self) -> Whole<U> {
        Whole::default()
    }
}

/// Writes or reads the messages of one call.
#[derive(Debug)]
pub struct Whole<T> {
    bytes: Vec<u8>,
    message: PhantomData<T>,
}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), message: PhantomData }
    }
}

impl<T: Message> Encoder for Whole<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.bytes.clear();
        self.bytes.reserve(message.encoded_len());
        message.encode(&mut self.bytes).map_err(|error| Status::internal(error.to_string()))?;
        buffer.put_slice(&self.bytes);
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

impl<T: Message + Default> Decoder for Whole<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        // INTERNAL is what gRPC asks for where a message cannot be read.
        T::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
