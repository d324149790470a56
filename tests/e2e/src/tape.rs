//! Messages out of arbitrary bytes: a tape of bytes decides what is written, so that a shorter tape is a
//! smaller message, and a failing one shrinks.

use std::collections::HashMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

/// Messages by their full name.
pub type Messages = HashMap<String, DescriptorProto>;

/// Deepest nesting.
const DEPTH: usize = 4;

/// Texts that have hurt others.
const TEXTS: &[&str] = &[
    "",
    "a",
    "default",
    "queue-a",
    "agent-a",
    "with space",
    "ünïcödé-日本",
    "../../etc/passwd",
    "'; DROP TABLE tasks; --",
    "{}",
    "{\"a\":[1,2,{\"b\":null}]}",
    "[[[[[[",
    "\u{0}",
    "\u{7f}\u{1}",
    "%s%n%x",
    "AAAAAAAAAAAAAAAAAAAAAA",
    "0198c0de-0000-7000-8000-000000000000",
    "spiffe://nova.local/agent/agent-a",
    "/nonexistent",
    "package x",
    "a=b",
    "name: x\nphases: []\n",
    "-1",
    "18446744073709551616",
];

const NUMBERS: &[u64] =
    &[0, 1, 2, 3, 9, 100, 1_000, 1_001, 65_536, 1 << 31, (1 << 32) - 1, 1 << 63, u64::MAX - 1, u64::MAX];

/// Bytes that decide.
#[derive(Debug)]
pub struct Tape<'a> {
    rest: &'a [u8],
}

impl<'a> Tape<'a> {
    /// At its beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next byte; 0 at the end.
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()]
    }

    /// An encoding of `message` that follows the contract in its form, if not in its values.
    pub fn message(&mut self, message: &DescriptorProto, messages: &Messages) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(message, messages, DEPTH, &mut out);
        out
    }

    fn write(&mut self, message: &DescriptorProto, messages: &Messages, depth: usize, out: &mut Vec<u8>) {
        for field in &message.field {
            let times = match (self.next() % 4, field.label()) {
                (0, _) => 0,
                (3, Label::Repeated) => usize::from(self.next() % 8),
                _ => 1,
            };
            for _ in 0..times {
                self.field(field, messages, depth, out);
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptorProto, messages: &Messages, depth: usize, out: &mut Vec<u8>) {
        let number = u64::from(field.number().unsigned_abs());
        match field.r#type() {
            Type::String => bytes(number, self.text().as_bytes(), out),
            Type::Bytes => bytes(number, self.text().as_bytes(), out),
            Type::Message => self.nested(number, field.type_name(), messages, depth, out),
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                varint(number << 3 | 1, out);
                let value = self.one_of(&[0.0, 0.5, -1.0, 1e300, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE]);
                out.extend(value.to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                varint(number << 3 | 5, out);
                out.extend([self.next(); 4]);
            }
            _ => {
                varint(number << 3, out);
                varint(self.one_of(NUMBERS), out);
            }
        }
    }

    fn nested(&mut self, number: u64, name: &str, messages: &Messages, depth: usize, out: &mut Vec<u8>) {
        let mut inner = Vec::new();
        if let (Some(message), Some(depth)) = (messages.get(name), depth.checked_sub(1)) {
            self.write(message, messages, depth, &mut inner);
        }
        bytes(number, &inner, out);
    }

    fn text(&mut self) -> String {
        let text = self.one_of(TEXTS);
        match self.next() {
            // Rarely long: each costs time.
            0xff => text.repeat(5_000),
            0xf0..0xff => text.repeat(40),
            _ => text.to_owned(),
        }
    }
}

fn bytes(number: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend(value);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::contracts;

    #[test]
    fn what_the_tape_writes_is_a_message() {
        let messages = contracts::messages();
        let enqueue = &messages[".nova.queue.v1.EnqueueRequest"];
        let tape = vec![1; 2_000];
        let body = Tape::new(&tape).message(enqueue, &messages);
        let decoded = nova_proto::queue::v1::EnqueueRequest::decode(&body[..]).unwrap();
        assert!(!decoded.tasks.is_empty());
    }

    #[test]
    fn an_empty_tape_writes_nothing() {
        let messages = contracts::messages();
        let enqueue = &messages[".nova.queue.v1.EnqueueRequest"];
        assert!(Tape::new(&[]).message(enqueue, &messages).is_empty());
    }
}
