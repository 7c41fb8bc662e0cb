//! What can go wrong, grouped by operation.

use ccf_types::{MapName, SeqNo, TxId};

/// A typed operation met bytes, or a value, that its codec cannot handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Stored bytes do not decode to the type the table declares.
    #[error("a {part} of table {map} does not decode: {reason}")]
    Decode {
        /// The table.
        map: MapName,
        /// Key or value.
        part: Part,
        /// What the codec found.
        reason: CodecError,
    },
    /// A value cannot be encoded, such as a JSON object whose keys are not texts.
    #[error("a {part} for table {map} does not encode: {reason}")]
    Encode {
        /// The table.
        map: MapName,
        /// Key or value.
        part: Part,
        /// What the codec found.
        reason: CodecError,
    },
}

/// Which half of a record an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}

/// Why bytes and a typed value do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Not JSON, or not of the declared shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    Text,
    /// A fixed-width value of another width.
    #[error("{actual} bytes where {expected} were expected")]
    Width {
        /// The width of the type.
        expected: usize,
        /// The width found.
        actual: usize,
    },
    /// Not a SHA-256 digest in hex.
    #[error("not 64 hex digits")]
    Digest,
}

/// Why a transaction was not committed. Nothing of it is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another transaction changed something this one depends on: execute again with a fresh
    /// transaction (ledger specification 4.4, 4.5).
    #[error("the transaction conflicts with one committed meanwhile")]
    Conflict,
    /// This node may not order transactions in the view the transaction was executed in; the
    /// specification's FAIL_NO_REPLICATE.
    #[error("the transaction cannot be replicated: {0}")]
    NotReplicated(Refusal),
    /// The transaction reads a fixed state, such as a historical one, and may not write.
    #[error("the transaction may only read")]
    ReadOnly,
}

/// Why a transaction may not be ordered here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This node is not the primary, or is retiring.
    #[error("this node is not primary")]
    NotPrimary,
    /// The view changed after the transaction began.
    #[error("the view changed")]
    ViewChanged,
    /// The reserved sequence number was rolled back.
    #[error("the reserved position was rolled back")]
    RolledBack,
}

/// Why a received entry was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The entry is not the one after the current state, nor a replacement of an uncommitted one.
    #[error("entry {entry} does not follow the state at {current}")]
    Gap {
        /// Position of the entry.
        entry: SeqNo,
        /// Position of the state.
        current: SeqNo,
    },
    /// The entry would replace one that is committed.
    #[error("entry {entry} would replace a committed one, committed up to {committed}")]
    Committed {
        /// Position of the entry.
        entry: SeqNo,
        /// The committed position.
        committed: SeqNo,
    },
}

/// Why the state was not rolled back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// The target lies before what is committed; a node in this situation must stop.
    #[error("cannot roll back to {target}: committed up to {committed}")]
    Committed {
        /// Where to.
        target: TxId,
        /// The committed position.
        committed: SeqNo,
    },
}

/// The same map stands twice in one write set or state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map {0} appears twice")]
pub struct DuplicateMap(pub MapName);
