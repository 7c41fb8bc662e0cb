//! The shared vocabulary: positions in the ledger, identifiers, digests and map names.
//!
//! Imports nothing of ours and does no I/O. Every other crate speaks in these types, so each word has one
//! meaning: see the table of names in `ARCHITECTURE.md`.
#![forbid(unsafe_code)]

mod digest;
mod id;
mod map_name;
mod tx_id;

pub use digest::Digest;
pub use id::{InvalidId, MemberId, NodeId, UserId};
pub use map_name::{Category, Domain, InvalidMapName, MAP_NAME_BYTES_MAX, MapName};
pub use tx_id::{InvalidTxId, SeqNo, TxId, View};
