//! The identity daemon as its callers see it, and its authority as the supervisor does.

mod agents;
mod authority;
mod certificates;
mod daemon;
mod denied;
mod memories;
mod process;
mod search;
mod tokens;
