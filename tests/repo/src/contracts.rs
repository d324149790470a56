//! The contracts, as the descriptors have them.

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Numbers of fields in `descriptor.proto`, which make up the path of a comment.
const FILE_MESSAGES: i32 = 4;
const FILE_SERVICES: i32 = 6;
const MEMBER: i32 = 2;

/// An RPC or a field, and whether somebody explained it.
#[derive(Clone, Debug)]
pub struct Documented {
    /// `nova.queue.v1.QueueService/Enqueue` or `nova.queue.v1.Task.id`.
    pub name: String,
    /// The comment above it.
    pub comment: String,
}

/// The mesh's own files.
///
/// # Panics
/// When the descriptors are broken.
pub fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(nova_proto::DESCRIPTORS).expect("generated with the contracts");
    set.file.into_iter().filter(|file| file.package().starts_with("nova.")).collect()
}

/// Every RPC, `nova.queue.v1.QueueService/Enqueue`.
pub fn rpcs() -> Vec<Documented> {
    files().iter().flat_map(rpcs_of).collect()
}

/// Every field of every message, `nova.queue.v1.Task.id`.
pub fn fields() -> Vec<Documented> {
    files().iter().flat_map(fields_of).collect()
}

fn rpcs_of(file: &FileDescriptorProto) -> Vec<Documented> {
    let services = (0..).zip(&file.service);
    let methods = services.flat_map(|(index, service)| {
        let methods = (0..).zip(&service.method);
        methods.map(move |(place, method)| {
            let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
            (name, [FILE_SERVICES, index, MEMBER, place])
        })
    });
    methods.map(|(name, path)| Documented { name, comment: comment(file, path) }).collect()
}

fn fields_of(file: &FileDescriptorProto) -> Vec<Documented> {
    let messages = (0..).zip(&file.message_type);
    let fields = messages.flat_map(|(index, message)| {
        let fields = (0..).zip(&message.field);
        fields.map(move |(place, field)| {
            let name = format!("{}.{}.{}", file.package(), message.name(), field.name());
            (name, [FILE_MESSAGES, index, MEMBER, place])
        })
    });
    fields.map(|(name, path)| Documented { name, comment: comment(file, path) }).collect()
}

fn comment(file: &FileDescriptorProto, path: [i32; 4]) -> String {
    let locations = file.source_code_info.as_ref().map(|info| info.location.as_slice()).unwrap_or_default();
    let location = locations.iter().find(|location| location.path == path);
    location.map(|location| location.leading_comments().trim().to_owned()).unwrap_or_default()
}
