//! The whole mesh, as its users meet it: the real command, real processes, TLS.

mod bad_input;
mod denied;
mod garbage;
