//! The methods of the contracts, by name.
//!
//! Whoever calls can send any name: only these become names of metrics, and need no copy for each call.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodOptions};

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let descriptors =
        FileDescriptorSet::decode(nova_proto::DESCRIPTORS).expect("generated with the contracts");
    descriptors.file.iter().flat_map(methods_in).map(|method| (method.name.clone(), method)).collect()
});

/// A method of the contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    name: String,
    streams: bool,
    reads: bool,
}

impl Method {
    /// The method that a request's path names, such as `/nova.queue.v1.QueueService/Enqueue`; none outside of the
    /// contracts.
    pub fn of(path: &str) -> Option<&'static Self> {
        METHODS.get(path.trim_start_matches('/'))
    }

    /// All methods, by name.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let mut all: Vec<_> = METHODS.values().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.into_iter()
    }

    /// Full name without the leading slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it streams in either direction.
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// Whether its contract says that it has no side effects.
    pub fn reads(&self) -> bool {
        self.reads
    }
}

fn methods_in(file: &FileDescriptorProto) -> Vec<Method> {
    let mut methods = Vec::new();
    for service in &file.service {
        for method in &service.method {
            let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
            let streams = method.client_streaming() || method.server_streaming();
            let level = method.options.as_ref().map(MethodOptions::idempotency_level);
            methods.push(Method { name, streams, reads: level == Some(IdempotencyLevel::NoSideEffects) });
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_from_the_contracts() {
        let enqueue = Method::of("/nova.queue.v1.QueueService/Enqueue").expect("it is in the contract");
        assert_eq!(enqueue.name(), "nova.queue.v1.QueueService/Enqueue");
        assert!(!enqueue.streams());
        assert!(Method::of("/nova.queue.v1.QueueService/Work").expect("in the contract").streams());
        assert_eq!(Method::of("/nova.queue.v1.QueueService/enqueue"), None);
    }

    #[test]
    fn what_is_named_as_reading_says_in_its_contract_that_it_does() {
        let verbs = ["Get", "List", "Search", "Watch", "Stream", "Explain", "Validate"];
        for method in Method::all() {
            let (_, rpc) = method.name().split_once('/').expect("a full name");
            assert_eq!(method.reads(), verbs.iter().any(|verb| rpc.starts_with(verb)), "{rpc}");
        }
    }
}
