//! The command line without a mesh: its help, and how it refuses what makes no sense.

mod completions;
mod harness;
mod help;
mod refusals;
