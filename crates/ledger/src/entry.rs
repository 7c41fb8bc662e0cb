//! One transaction as bytes (sections 5 and 6).
//!
//! ```text
//! offset  size   field
//! 0       1      format version, 1
//! 1       1      flags
//! 2       6      size: bytes after this header, little-endian
//! 8       16     AES-GCM tag
//! 24      12     AES-GCM IV: u64 seqno, u32 view (top bit set in snapshots)
//! 36      8      P: length of the public domain, u64
//! 44      P      public domain, in clear, authenticated
//! 44+P    ..     private domain, encrypted
//! ```
//!
//! [`DomainEncoder`] and [`seal`] write it, [`Entry`] reads it. Both work on any thread; neither keeps state.

mod decode;
mod encode;
mod frame;
mod records;

pub use decode::{Entry, EntryType, PrivateDomain};
pub use encode::{DomainEncoder, EntryContext, SealError, SealedEntry, seal};
pub use frame::{EntryHeader, Flags, HEADER_BYTES};
pub use records::{Record, Records};

pub(crate) use frame::{
    Frame, PUBLIC_AT, SEQNO_AT, SnapshotFrame, TAG_BYTES, seqno_at, snapshot_head, snapshot_iv,
};

use ccf_types::TxId;

/// Why bytes are not an entry, or not one that we can open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Fewer bytes than the smallest entry.
    #[error("the entry is cut off after {actual} bytes")]
    Truncated {
        /// Bytes there are.
        actual: usize,
    },
    /// The format version is not 1.
    #[error("unknown entry format version {0}")]
    Version(u8),
    /// Flag bits other than 1 and 2.
    #[error("unknown entry flags {0:#04x}")]
    UnknownFlags(u8),
    /// No entry is as large, or as small, as the size field says.
    #[error("the entry's size field says {0}, which no entry can have")]
    ImpossibleSize(u64),
    /// The size field disagrees with the bytes there are.
    #[error("the entry's size field says {stated}, but {actual} bytes follow the header")]
    Size {
        /// The size field.
        stated: u64,
        /// Bytes after the header.
        actual: u64,
    },
    /// The public domain is longer than the entry, or shorter than its fixed fields.
    #[error("the public domain cannot be {0} bytes long")]
    PublicLength(u64),
    /// The type byte is none of those defined for ledger entries.
    #[error("unknown entry type {0}")]
    Type(u8),
    /// The seqno of the public domain is not that of the IV.
    #[error("the entry's seqno is {public} in its public domain and {iv} in its IV")]
    SeqNoMismatch {
        /// In the public domain.
        public: u64,
        /// In the initialisation vector.
        iv: u64,
    },
    /// A sequence number or view that no entry can have.
    #[error("the entry claims the impossible transaction ID {0}")]
    TxId(TxId),
    /// A map record ends early, or its lengths are impossible.
    #[error("a map record is malformed at byte {0} of its domain")]
    Record(usize),
    /// A map's name is not UTF-8.
    #[error("invalid map name {0:?}")]
    MapName(String),
    /// A private map in the public domain, or the reverse.
    #[error("the map {0} stands in the wrong domain")]
    WrongDomain(String),
    /// The same map twice in one domain.
    #[error("the map {0} occurs twice")]
    DuplicateMap(String),
    /// The ledger secrets do not reach back to this entry.
    #[error("no ledger secret applies to seqno {0}")]
    NoSecret(u64),
    /// The tag does not verify: wrong key or altered bytes.
    #[error("the entry does not authenticate under its ledger secret")]
    Authentication,
}
