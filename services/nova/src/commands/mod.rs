//! The commands, one file or folder each, and what they share: how arguments are read
//! ([`arguments`]), namespaces named ([`namespace`]), long lists fetched ([`pages`]), ids completed ([`short_id`]), streams kept up ([`resume`]), spans of daemons
//! counted ([`spans`]), and answers printed ([`output`], [`cells`]).

mod arguments;
mod cells;
mod namespace;
pub(crate) mod output;
mod pages;
mod resume;
mod short_id;
mod spans;

pub(crate) mod agents;
pub(crate) mod completions;
pub(crate) mod down;
pub(crate) mod identity;
pub(crate) mod memory;
pub(crate) mod node;
pub(crate) mod orchestrate;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod up;
pub(crate) mod workflow;
