//! Redis 7: a connection that reconnects, and function libraries that load themselves.
//!
//! A [`RedisStore`] is one multiplexed connection; clone it freely. It refuses servers that could lose
//! records (`maxmemory-policy` other than `noeviction`) or that lack functions (before 7.0).
//!
//! A [`Library`] is a Lua source whose name carries a hash of its content: instances of different
//! versions work side by side on one server, and a changed source can never run under an old name.
//! Functions survive a restart and a promotion of the server; after a flush they are loaded again when
//! a call finds them missing.
//!
//! A command whose connection broke may have run: calls are never repeated here, but for that one case
//! where the server said that the function does not exist.

mod library;
mod server;
mod store;

pub use ::redis::{FromRedisValue, ToRedisArgs, Value};
pub use library::{Functions, Library};
pub use store::RedisStore;
