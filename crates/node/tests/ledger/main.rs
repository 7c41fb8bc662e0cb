//! Ledgers and snapshots of whole services, without a network.

#![allow(clippy::panic)] // a failing test panics

mod historical;
mod hostile_files;
mod indexes;
mod replay;
mod service;
mod snapshots;
