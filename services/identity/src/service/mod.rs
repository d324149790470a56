//! The contracts: parse, call, map.

mod identity;
mod memory;
mod memory_wire;

pub(crate) use identity::IdentityApi;
pub(crate) use memory::MemoryApi;
