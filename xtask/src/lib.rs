//! The parts of `cargo xtask` that tests use too: where things are, and which crate may use which.
#![forbid(unsafe_code)]

pub mod layers;
pub mod process;
pub mod tools;
pub mod workspace;
