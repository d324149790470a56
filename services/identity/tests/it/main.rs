//! The identity daemon as its callers see it, and its authority as the supervisor does.

mod authority;
