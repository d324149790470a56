//! The rules of the house, one file each. A rule's exceptions stand beside it and may only shrink.

mod commands;
mod contracts;
mod dependencies;
mod figures;
mod links;
mod policy;
mod reasons;
mod seams;
mod words;
