//! A daemon as its callers see it.

mod connections;
mod deadline;
