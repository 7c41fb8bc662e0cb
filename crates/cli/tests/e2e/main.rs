//! End to end: real processes, real requests, and judges that are not ours.
//!
//! The tools come from `cargo xtask prepare` (part of `cargo xtask test`): the PyPI package `ccf`, the npm package
//! `@microsoft/ccf-app`, curl.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bank;
mod bundle_from_npm;
mod crash;
mod damaged_recovery;
mod full_disk;
mod killed_primary;
mod load;
mod messages;
mod no_permission;
mod past;
mod published_api;
mod recoveries;
mod recovery_of_ccf;
mod running;
mod shell;
mod verdicts;
mod votes_with_foreign_tools;
mod wrong_input;
