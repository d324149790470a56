//! lifecycle
pub mod expression;
pub mod plan;
pub mod run;
