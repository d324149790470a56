//! `nova`: the one command of the mesh, and the one executable that holds all its daemons.
//!
//! [`cli`] is what people type; each of its commands is a file in [`commands`]. [`supervisor`]
//! brings a mesh up on one machine, [`collector`] keeps its traces, and [`home`] says where all
//! of it lies.

#[macro_use]
mod tell;

mod cli;
mod collector;
mod commands;
mod connection;
mod failure;
mod home;
mod signals;
mod supervisor;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match cli::Internal::of(&args) {
        Some(internal) => internal.run(args),
        None => cli::Cli::parse_from(args).run(),
    }
}
