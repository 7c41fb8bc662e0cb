//! Ledgers and snapshots of whole services, without a network.

mod replay;
mod service;
mod snapshots;
