//! Ledgers and snapshots of whole services, without a network.

mod historical;
mod hostile_files;
mod indexes;
mod replay;
mod service;
mod snapshots;
