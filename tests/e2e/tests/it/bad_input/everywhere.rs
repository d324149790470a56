//! Rules that hold for a field of that name or type on every request.

use nova_e2e::contracts::Rpc;
use prost::Message;
use prost::encoding::{self, WireType};
use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};
use tonic::Code;

use super::{Case, identity, lifecycle, node, policy, queue};

/// Beyond the largest message that a daemon takes.
const OVERSIZED: usize = 17 << 20;

/// Cases for every RPC: a good request with one field made bad.
pub(crate) fn cases(rpcs: &[Rpc]) -> Vec<Case> {
    rpcs.iter().flat_map(of_rpc).collect()
}

/// Whether a request has fields that these rules do not cover. A flag cannot be wrong.
pub(crate) fn has_rules_of_its_own(rpc: &Rpc) -> bool {
    rpc.request.field.iter().any(|field| field.r#type() != Type::Bool && spoiled(field).is_none())
}

/// A request in good form, to be spoiled.
fn good(rpc: &str) -> Vec<u8> {
    let all =
        [queue::good(rpc), lifecycle::good(rpc), identity::good(rpc), node::good(rpc), policy::good(rpc)];
    all.into_iter().flatten().next().unwrap_or_default()
}

fn of_rpc(rpc: &Rpc) -> Vec<Case> {
    let mut cases =
        vec![unreadable(rpc, "no message", vec![0xff; 40]), unreadable(rpc, "17 MiB", oversized())];
    for field in &rpc.request.field {
        for (what, bytes) in spoiled(field).unwrap_or_default() {
            let body = [good(&rpc.name), bytes].concat();
            let what = format!("{}: {what}", field.name());
            cases.push(Case {
                what,
                body,
                field: field.name().to_owned(),
                ..unreadable(rpc, "", Vec::new())
            });
        }
    }
    cases
}

fn unreadable(rpc: &Rpc, what: &str, body: Vec<u8>) -> Case {
    let (rpc, what, field) = (rpc.name.clone(), what.to_owned(), String::new());
    Case { rpc, what, body, code: Code::InvalidArgument, reason: "INVALID_ARGUMENT", field }
}

/// An unknown field full of zeros.
fn oversized() -> Vec<u8> {
    bytes(1_000, &vec![0; OVERSIZED])
}

/// Encodings of the field that break its rule; none when the rule depends on the request.
fn spoiled(field: &FieldDescriptorProto) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let number = field.number().unsigned_abs();
    if field.label() == Label::Repeated {
        return labels(field, number);
    }
    match (field.r#type(), field.name()) {
        (Type::String, "namespace") => {
            Some(vec![("300 bytes", bytes(number, &[b'n'; 300])), ("a space", bytes(number, b"name space"))])
        }
        (Type::String, "request_id") => Some(vec![
            ("300 bytes", bytes(number, &[b'r'; 300])),
            ("a control character", bytes(number, b"a\nb")),
        ]),
        (Type::String, "page_token" | "cursor") => {
            Some(vec![("garbage", bytes(number, b"%%%")), ("noise", bytes(number, b"_-_-"))])
        }
        (Type::String, name) if name.ends_with("_id") => Some(vec![
            ("300 bytes", bytes(number, &[b'i'; 300])),
            ("a slip", bytes(number, "ünknown id".as_bytes())),
        ]),
        (Type::Uint32, "page_size" | "max_tasks" | "tail") => {
            Some(vec![("10,001", varint(number, 10_001)), ("the most", varint(number, u64::from(u32::MAX)))])
        }
        (Type::Enum, _) => Some(vec![("999", varint(number, 999)), ("-1", varint(number, u64::MAX))]),
        (Type::Message, _) if field.type_name() == ".google.protobuf.Duration" => Some(vec![
            ("negative", bytes(number, &duration(-1))),
            ("huge", bytes(number, &duration(i64::MAX))),
            ("the least of all", bytes(number, &duration(i64::MIN))),
        ]),
        _ => None,
    }
}

/// More labels than may be.
fn labels(field: &FieldDescriptorProto, number: u32) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let is_labels = matches!(field.name(), "labels" | "metadata");
    is_labels.then(|| {
        let entry = |index: usize| bytes(number, &bytes(1, format!("key-{index}").as_bytes()));
        vec![
            ("33 entries", (0..33).flat_map(entry).collect()),
            ("a key of 65 bytes", bytes(number, &bytes(1, &[b'k'; 65]))),
        ]
    })
}

fn duration(seconds: i64) -> Vec<u8> {
    prost_types::Duration { seconds, nanos: 0 }.encode_to_vec()
}

fn bytes(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoding::encode_key(number, WireType::LengthDelimited, &mut out);
    encoding::encode_varint(value.len() as u64, &mut out);
    [out, value.to_vec()].concat()
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encoding::encode_key(number, WireType::Varint, &mut out);
    encoding::encode_varint(value, &mut out);
    out
}
