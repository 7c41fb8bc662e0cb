//! A node: configuration, start, request execution, replication, disk, timers.
//!
//! This crate and `cli` are the only ones that open sockets, files, threads and clocks. See `ARCHITECTURE.md`
//! for the life of a request and of an entry. A binary makes an [`Application`] and calls [`run`].
#![forbid(unsafe_code)]

mod application;
mod attention;
mod backpressure;
pub mod command_line;
pub mod config;
mod files_cleanup;
mod forwarding;
mod governance_host;
#[doc(hidden)]
pub mod historical;
mod housekeeping;
pub mod http;
pub mod identity;
mod indexing;
mod interfaces;
pub mod join;
#[doc(hidden)]
pub mod log_hooks;
pub mod logging;
mod node_endpoints;
mod node_facts;
mod node_view;
pub mod output_files;
pub mod peers;
pub mod platform;
mod private_recovery;
mod recovery_decision;
mod redirections;
pub mod refusals;
pub mod replay;
pub mod replication;
mod request_handler;
mod retirement;
mod run;
mod sealing;
mod service_hooks;
pub mod snapshots;
mod start;
mod vital;

pub use application::{Application, ApplicationContext};
pub use run::{run, run_with_args};
