//! What one node says to another, and how nobody else can: frames, key exchange, protected messages, forwarding
//! (consensus and node-to-node specification, sections 10 to 12).
//!
//! Sans-I/O: bytes and times come in as arguments, frames to send go out as values. Randomness comes from
//! `ccf_crypto`. The transport that carries the frames is `ccf_node::peers`.
//!
//! | Module | What it is for |
//! |---|---|
//! | [`frame`] | length, type and sender in front of every message |
//! | [`Identity`] | by what a node proves itself, and how it checks others |
//! | [`Channel`] | one per peer: key exchange, sealing, opening, rollover |
//! | [`forwarding`] | requests that a backup hands to the primary |
//! | [`limits`] | bounds, with their reasons |
#![forbid(unsafe_code)]

mod channel;
mod consensus;
pub mod forwarding;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod identity;
mod keys;
pub mod limits;
mod reader;

pub use channel::{Channel, Opened, Refusal, SendRefused};
pub use identity::{Identity, IdentityError};
