//! Ledgers and snapshots of whole services, without a network.

mod historical;
mod replay;
mod service;
mod snapshots;
