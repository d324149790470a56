//! A daemon as its callers see it.

mod deadline;
