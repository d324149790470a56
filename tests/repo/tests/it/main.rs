//! The rules of the house, one file each. A rule's exceptions stand beside it and may only shrink.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not there")]
#![allow(clippy::print_stdout, reason = "the table of figures is for people")]

mod commands;
mod contracts;
mod dependencies;
mod figures;
mod licences;
mod links;
mod policy;
mod programs;
mod reasons;
mod seams;
mod words;
