//! The offline verifier: re-derives everything from ledger files and trusts nothing in them.
//!
//! [`LedgerChecker`] is the judgement itself, free of input and output: entries go in, signature checks and
//! reasons for refusal come out. [`run`] feeds it from files: one thread reads and hashes, the calling thread
//! checks order, tree and tables, a third verifies signatures. Memory is bounded whatever the size of the ledger.
//!
//! | level | what holds afterwards |
//! |---|---|
//! | [`Level::Headers`] | files and entries are well formed, in order and without a gap |
//! | [`Level::Merkle`] | and every signature transaction records the root of the tree over all entries before it |
//! | [`Level::Full`] | and each is signed by a node the service trusted and, if it says so, by the service itself |

mod checker;
mod run;
mod tables;

pub use checker::{LedgerChecker, SignatureCheck};
pub use run::run;

use ccf_types::{Digest, SeqNo, TxId};
use std::{fmt, path::PathBuf};

use crate::{entry::EntryError, files::FileError, merkle::BlobError, signature::SignatureError};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Structure only.
    Headers,
    /// Structure and Merkle roots.
    Merkle,
    /// Structure, Merkle roots and signatures.
    Full,
}

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much is checked.
    pub level: Level,
    /// Also files that are not committed.
    pub uncommitted: bool,
    /// Also files of a recovery that has not finished.
    pub recovery: bool,
}

/// How far the verification is. Called after each block of about a mebibyte.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The last entry looked at.
    pub seqno: SeqNo,
    /// Bytes of files looked at.
    pub bytes: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// How much was checked.
    pub level: Level,
    /// The last signature transaction that holds (at [`Level::Headers`], the last well-formed entry). It vouches
    /// for everything before it. `0.0` if there is none.
    pub verified: TxId,
    /// Transactions up to there.
    pub transactions: u64,
    /// Signature transactions up to there.
    pub signatures: u64,
    /// Well-formed transactions after it, for which no signature vouches.
    pub uncommitted_tail: u64,
    /// The identities the service has had, in order.
    pub services: Vec<ServiceIdentity>,
    /// Files that were not looked at because others hold their entries, by their names.
    pub covered: Vec<PathBuf>,
    /// The first thing that is wrong, if any. Nothing after it was looked at.
    pub failure: Option<Failure>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}

/// A service certificate and the entry that introduced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceIdentity {
    /// The entry.
    pub from: SeqNo,
    /// The certificate.
    pub certificate_pem: String,
}

/// Where and why a ledger is refused.
///
/// The place is that of the bad entry where that can be told. The content of an entry is covered by the next signature
/// only, so without more it can be any entry from the last good signature to the one that does not fit: then the place
/// is that of the first of them, and `until` the last.
#[derive(Debug)]
pub struct Failure {
    /// The file.
    pub path: PathBuf,
    /// Where in the file the bad entry begins.
    pub offset: u64,
    /// Which entry it is, or would be; of a damaged table, the entry after the last one.
    pub seqno: SeqNo,
    /// The last entry that can be the bad one, if it is not known which.
    pub until: Option<SeqNo>,
    /// What is wrong.
    pub reason: Reason,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { path, offset, seqno, until, reason } = self;
        write!(f, "{}, offset {offset}", path.display())?;
        match (until, reason) {
            (Some(until), _) => write!(f, ", one of the transactions {seqno} to {until}")?,
            (None, Reason::Table(_)) => {}
            (None, _) => write!(f, ", transaction {seqno}")?,
        }
        write!(f, ": {reason}")
    }
}

/// What can be wrong with a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The last file, which is incomplete, ends with a part of an entry: a write was cut off.
    #[error("the open file ends with an incomplete entry")]
    TornTail,
    /// The file is too short for even the position of its table.
    #[error("the file has only {bytes} bytes: it was cut off before its first entry")]
    CutOff {
        /// Its size.
        bytes: u64,
    },
    /// The entry has another length than the table of offsets says; what follows it is no entry.
    #[error(
        "the entry ends at {found} by its size field, and at {table} by the file's table of offsets; nothing follows at {found}"
    )]
    Length {
        /// The offset behind the entry, by its size field.
        found: u64,
        /// The same by the table.
        table: u64,
    },
    /// The entries are there, their table is damaged.
    #[error("invalid offset table: {0}")]
    Table(&'static str),
    /// The file cannot be read.
    #[error(transparent)]
    File(FileError),
    /// No file holds this entry.
    #[error("no file holds this entry")]
    Gap,
    /// The entry says that it has another place.
    #[error("the entry says that it is {found}")]
    WrongPlace {
        /// What it says.
        found: TxId,
    },
    /// Views never go back.
    #[error("the view falls from {before} to {found}")]
    ViewFalls {
        /// Of the entry before.
        before: u64,
        /// Of this one.
        found: u64,
    },
    /// A chunk flag on an entry which is no signature.
    #[error("an entry that is no signature ends a chunk")]
    ChunkEnd,
    /// The file's name promises another last entry.
    #[error("the file's name ends with {named}, its last entry is {found}")]
    WrongEnd {
        /// In the name.
        named: SeqNo,
        /// In the file.
        found: SeqNo,
    },
    /// The signature transaction is malformed or signs something else.
    #[error("signature transaction: {0}")]
    Signature(#[from] SignatureError),
    /// The recorded root is not that of the entries.
    #[error("the signature records the root {recorded}, the entries have {computed}")]
    Root {
        /// In the signature.
        recorded: Digest,
        /// From the entries.
        computed: Digest,
    },
    /// The tree in the signature transaction is malformed.
    #[error("serialised Merkle tree: {0}")]
    Blob(#[from] BlobError),
    /// The entry is not what was signed: the next signature signs a tree with another leaf for it.
    #[error("the entry is not what the signature at {signature} signs")]
    Altered {
        /// The first such entry.
        entry: SeqNo,
        /// The signature that tells.
        signature: SeqNo,
    },
    /// The tree in the signature transaction is neither that of the entries nor the one that is signed.
    #[error("the Merkle tree in the signature transaction is not the one that it signs")]
    AlteredTree,
    /// The tree in the signature transaction is not the tree of the entries, and nothing says which of both is right.
    /// Found only here, because entries are covered by the next signature.
    #[error(
        "not what was signed: the signature at {to} has a tree of other entries{}",
        differs.map_or_else(String::new, |seqno| format!("; the first that differs is {seqno}"))
    )]
    OtherTree {
        /// The signature before, of which only the content was covered by itself.
        from: SeqNo,
        /// This signature.
        to: SeqNo,
        /// The first entry of which the recorded tree has another leaf, if the tree tells.
        differs: Option<SeqNo>,
    },
    /// The signer is not in the table of nodes.
    #[error("the signer {0} is not a node of the service")]
    UnknownSigner(String),
    /// The signer was not trusted yet.
    #[error("the signer {0} was not trusted yet")]
    PendingSigner(String),
    /// The signature carries a certificate of another key than the table.
    #[error("the signature carries another certificate than the table of nodes has for {0}")]
    OtherCertificate(String),
    /// The signer's certificate was not issued by the service of the time.
    #[error("the certificate of the signer {0} is not endorsed by the service")]
    NotEndorsed(String),
    /// A service signature, and no service.
    #[error("no service certificate is known to verify the signature with")]
    NoService,
    /// A certificate in a table cannot be used.
    #[error("unusable certificate in {table}: {reason}")]
    Certificate {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A table's value is not what it must be.
    #[error("malformed value in {table}: {reason}")]
    Value {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// More rows than any service has: the verifier's memory is bounded.
    #[error("more than {0} nodes")]
    TooManyNodes(usize),
    /// A ledger that begins in the middle goes on for too long without a signature.
    #[error("no signature within {0} entries of the beginning")]
    NoFirstSignature(u64),
}

/// Why there is no verdict at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A directory cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing to verify.
    #[error("no ledger files to verify")]
    Empty,
    /// Signatures can be judged only with all governance from the beginning.
    #[error(
        "the ledger begins with transaction {0}: without the entries before it only the levels headers and merkle are possible"
    )]
    NotFromStart(SeqNo),
}
