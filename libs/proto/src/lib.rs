//! The contracts, generated from `proto/`: messages, client stubs and server traits, and how messages become bytes.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::doc_lazy_continuation,
    reason = "the code is generated; its comments come from the .proto files"
)]

pub mod codec;

pub mod queue {
    pub mod v1 {
        tonic::include_proto!("nova.queue.v1");
    }
}

pub mod lifecycle {
    pub mod v1 {
        tonic::include_proto!("nova.lifecycle.v1");
    }
}

pub mod policy {
    pub mod v1 {
        tonic::include_proto!("nova.policy.v1");
    }
}

pub mod identity {
    pub mod v1 {
        tonic::include_proto!("nova.identity.v1");
    }
}

pub mod memory {
    pub mod v1 {
        tonic::include_proto!("nova.memory.v1");
    }
}

pub mod node {
    pub mod v1 {
        tonic::include_proto!("nova.node.v1");
    }
}

/// Every descriptor of the mesh, an encoded `FileDescriptorSet`, for reflection and for tests.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
