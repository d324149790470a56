//! The whole mesh, as its users meet it: the real command, real processes, TLS.

mod bad_input;
mod denied;
mod examples;
mod garbage;
mod jaeger;
mod kill;
mod orchestrate;
mod partition;
mod plaintext;
mod python;
mod queue_command;
mod readme;
mod redis_store;
mod reserved_queues;
mod restart;
mod rotation;
mod run;
mod shared_agents;
mod trace;
