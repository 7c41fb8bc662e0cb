//! What one node says to another, and how nobody else can: frames, key exchange, protected messages, forwarding
//! (consensus and node-to-node specification, sections 10 to 12).
//!
//! Sans-I/O: bytes and times come in as arguments, frames to send go out as values. Randomness comes from
//! `ccf_crypto`. The transport that carries the frames is `ccf_node::peers`.
#![forbid(unsafe_code)]

pub mod forwarding;
