//! The ledger on disk (sections 12 and 13): the only module of this crate that touches files.
//!
//! [`LedgerWriter`] is what a node's ledger thread owns; [`LedgerReader`] serves ranges of entries from any
//! thread; [`ChunkReader`] streams one file, for replay and audit, in bounded memory. Nothing here decides
//! anything: chunk ends come in entry flags, commits and rollbacks from consensus. Nothing is verified
//! cryptographically either; see [`crate::verify`].

mod chunk;
mod cleanup;
mod directory;
mod index;
mod name;
mod notices;
mod open_chunk;
mod prefix;
mod reader;
mod snapshot_directory;
mod snapshot_writer;
mod writer;

pub use chunk::{Block, ChunkReader, FIRST_ENTRY_AT};
pub use cleanup::{delete_copied_chunks, delete_older_snapshots};
pub use directory::{ChunkPath, list_chunks, list_chunks_of_any_state, require_fresh};
pub use name::{ChunkName, PrefixName, SnapshotName};
pub use notices::Notice;
pub use prefix::ChunkPrefix;
pub use reader::{EntryRange, LedgerReader};
pub use snapshot_directory::{SnapshotPath, ignore_snapshot, list_snapshots, newest_snapshot};
pub use snapshot_writer::{SnapshotWriter, UNFINISHED, UnnamedSnapshot, delete_unfinished_snapshots};
pub use writer::LedgerWriter;

use ccf_types::SeqNo;
use std::{
    io,
    path::{Path, PathBuf},
};

use crate::entry::EntryError;

/// Why ledger files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The offset table or its position is not valid.
    #[error("{path}, offset {offset}: invalid offset table: {reason}", path = path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Where in the file: 0 if its position is not valid.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry is malformed.
    #[error("{path}, offset {offset}, transaction {seqno}: {source}", path = path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Where the entry begins.
        offset: u64,
        /// Which entry it would be.
        seqno: SeqNo,
        /// What is wrong.
        source: EntryError,
    },
    /// The table of offsets leads to bytes that are not the entry it promises.
    #[error("{path}: entry {seqno} is not where the table of offsets says: {source}", path = path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Which entry it would be.
        seqno: SeqNo,
        /// What is wrong.
        source: EntryError,
    },
    /// A file that should be new exists.
    #[error("{path}: already exists", path = .0.display())]
    Exists(PathBuf),
    /// A directory that must be empty or absent is not.
    #[error("{path}: must be empty to start a new service", path = .0.display())]
    NotEmpty(PathBuf),
    /// An entry that is no signature wants to end a chunk.
    #[error("entry {0} ends a chunk but is no signature")]
    ChunkEnd(SeqNo),
    /// The chunk would outgrow the 32-bit offsets of its table.
    #[error("entry {0} does not fit a chunk file of 4 GiB: sign more often")]
    ChunkTooLarge(SeqNo),
    /// A recovery would have to remove entries of a committed file.
    #[error(
        "{path} is committed, but the ledger holds only up to transaction {last}: the file is corrupt, replace it by an intact copy",
        path = path.as_deref().map_or("a later file".into(), Path::to_string_lossy)
    )]
    CommittedAfter {
        /// The file with the first entry that cannot be used; none if no file holds it.
        path: Option<PathBuf>,
        /// The last signature that holds.
        last: SeqNo,
    },
    /// An entry that the writer has written is in no file any more.
    #[error("entry {0} is in no ledger file any more")]
    Gone(SeqNo),
    /// The snapshot is larger than its frame, or one encryption, can be.
    #[error("the snapshot at {0} is too large for its format")]
    SnapshotTooLarge(SeqNo),
    /// Nobody wants the snapshot any more.
    #[error("the snapshot at {0} was given up")]
    Abandoned(SeqNo),
    /// A file does not hold what was written to it.
    #[error("{path}: somebody altered the file while it was written", path = .0.display())]
    Altered(PathBuf),
    /// An entry passed to the writer is malformed.
    #[error("refusing to write entry {seqno}: {source}")]
    BadEntry {
        /// Its seqno.
        seqno: SeqNo,
        /// What is wrong.
        source: EntryError,
    },
    /// An earlier write failed: what is on disk is not known, so nothing more is written.
    #[error("the ledger writer stopped after an earlier failure")]
    Poisoned,
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
        move |source| FileError::Io { path: path.to_owned(), source }
    }
}
