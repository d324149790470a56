//! Sessions: an agent at work on something, with a context that outlives its process.

mod record;
mod retention;
mod store;

pub use record::{SessionChange, SessionRecord, SessionState};
pub use store::{NewSession, SessionFilter, Sessions};
