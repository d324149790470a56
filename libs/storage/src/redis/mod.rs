//! Redis 7, as one server, a cluster, or watched by sentinels: a connection that follows its keys, and function
//! libraries that load themselves.
//!
//! A [`RedisStore`] is the keys that share one hash tag, and one multiplexed connection to the primary that
//! holds them; clone it freely. Since all that commits together shares a tag, one server is all that a store ever
//! needs, however many a cluster has: what happens to the others is no business of it. When the connection
//! is lost, or the server says that it is no more the one, the next call asks the sentinels, or the nodes
//! of the cluster, who is (`finder.rs`). Each server is judged before it is used: a store refuses those that could lose
//! records (`maxmemory-policy` other than `noeviction`) or that lack functions (before 7.0).
//!
//! A [`Library`] is a Lua source whose name carries a hash of its content: instances of different
//! versions work side by side on one server, and a changed source can never run under an old name.
//! Functions survive a restart and a promotion of the server; after a flush, or when a slot moves to a node that lacks
//! them, they are loaded when a call finds them missing.
//!
//! A command whose connection broke may have run: calls are never repeated here, but where the server said that it has
//! done nothing (the function does not exist, the keys are elsewhere).

mod connection;
mod finder;
mod library;
mod server;
mod store;
mod url;

pub use ::redis::{FromRedisValue, ToRedisArgs, Value};
pub use connection::Connection;
pub use library::{Functions, Library};
pub use store::RedisStore;
pub use url::{RedisUrl, without_password};
