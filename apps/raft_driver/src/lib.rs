//! The interpreter of scenario files: see the binary.
#![forbid(unsafe_code)]

mod assertions;
mod commands;
mod driver;
mod entries;
mod output;
mod queues;
mod show;
mod trace;

pub use commands::{Outcome, run};
pub use driver::Driver;
pub use output::Output;
