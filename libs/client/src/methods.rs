//! Which methods stream: they have no default deadline, and are not repeated.

use std::collections::HashSet;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::FileDescriptorSet;

static STREAMING: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let descriptors =
        FileDescriptorSet::decode(nova_proto::DESCRIPTORS).expect("generated with the contracts");
    descriptors.file.iter().flat_map(streaming_in).collect()
});

/// Whether `method` (`/nova.queue.v1.QueueService/Work`) streams in either direction.
/// Methods outside the contracts (reflection) do.
pub(crate) fn streams(path: &str) -> bool {
    STREAMING.contains(path) || !path.starts_with("/nova.")
}

fn streaming_in(file: &prost_types::FileDescriptorProto) -> Vec<String> {
    let mut paths = Vec::new();
    for service in &file.service {
        for method in &service.method {
            if method.client_streaming() || method.server_streaming() {
                paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_from_the_contracts() {
        assert!(streams("/nova.queue.v1.QueueService/Work"));
        assert!(streams("/nova.queue.v1.QueueService/WatchTasks"));
        assert!(!streams("/nova.queue.v1.QueueService/Enqueue"));
    }
}
