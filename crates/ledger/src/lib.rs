//! The ledger: what an entry looks like, how it is protected, hashed, signed, stored and checked.
//!
//! Everything but [`files`], [`replay`] and [`verify::run`] is free of input and output: bytes, keys and times come in
//! as arguments and results go out as values. Numbers of sections in this crate refer to the ledger
//! specification (entries 5 and 6, secrets 7, leaves 8, Merkle tree 9, signatures 10, chunks 11, files 12
//! and 13, snapshot frames 14.1).
#![forbid(unsafe_code)]

pub mod chunks;
pub mod entry;
pub mod evidence;
pub mod files;
pub mod limits;
pub mod merkle;
pub mod receipt;
pub mod replay;
pub mod secrets;
pub mod signature;
pub mod snapshot;
pub mod tables;
pub mod verify;
