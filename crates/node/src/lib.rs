//! A node: configuration, start, request execution, replication, disk, timers.
//!
//! This crate and `cli` are the only ones that open sockets, files, threads and clocks. See `ARCHITECTURE.md`
//! for the life of a request and of an entry.

pub mod command_line;
pub mod config;
pub mod logging;
