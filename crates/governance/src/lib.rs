//! Governance: the built-in tables, the transaction that creates a service, members and their proposals under a
//! constitution, and the `/gov` endpoints.
//!
//! Does no I/O and knows no clock: what needs the node goes through one trait.
#![forbid(unsafe_code)]

pub mod tables;
