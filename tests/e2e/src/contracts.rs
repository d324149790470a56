//! The RPCs of the mesh, as the descriptors have them.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto};

/// One RPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Rpc {
    /// `nova.queue.v1.QueueService/Enqueue`.
    pub name: String,
    /// Daemon that serves it.
    pub daemon: &'static str,
    /// Its request.
    pub request: DescriptorProto,
    /// Whether requests or answers stream.
    pub streams: bool,
}

/// Every RPC of the mesh.
pub fn rpcs() -> Vec<Rpc> {
    let messages = messages();
    files().iter().flat_map(|file| rpcs_of(file, &messages)).collect()
}

/// Every message by its full name, `.nova.queue.v1.Task`, and those that they are made of.
pub fn messages() -> HashMap<String, DescriptorProto> {
    let mut messages = HashMap::new();
    for file in files() {
        for message in file.message_type.clone() {
            insert(&mut messages, &format!(".{}", file.package()), message);
        }
    }
    messages
}

fn insert(messages: &mut HashMap<String, DescriptorProto>, scope: &str, message: DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in message.nested_type.clone() {
        insert(messages, &name, nested);
    }
    messages.insert(name, message);
}

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(nova_proto::DESCRIPTORS).expect("generated with the contracts").file
}

fn rpcs_of(file: &FileDescriptorProto, messages: &HashMap<String, DescriptorProto>) -> Vec<Rpc> {
    let mut rpcs = Vec::new();
    for service in &file.service {
        for method in &service.method {
            rpcs.push(rpc(&format!("{}.{}", file.package(), service.name()), method, messages));
        }
    }
    rpcs
}

fn rpc(service: &str, method: &MethodDescriptorProto, messages: &HashMap<String, DescriptorProto>) -> Rpc {
    Rpc {
        name: format!("{service}/{}", method.name()),
        daemon: daemon(service),
        request: messages[method.input_type()].clone(),
        streams: method.client_streaming() || method.server_streaming(),
    }
}

/// The daemon that serves a service.
fn daemon(service: &str) -> &'static str {
    let area = service.split('.').nth(1).unwrap_or_default();
    match area {
        "queue" => "queue",
        "lifecycle" => "lifecycle",
        "policy" => "policy",
        "identity" | "memory" => "identity",
        "node" => "node",
        _ => panic!("no daemon serves {service} yet: name it here"),
    }
}
