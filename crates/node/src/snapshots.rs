//! Snapshots: when they are taken, how they come to disk, which one a node starts from (ledger specification,
//! section 14).
//!
//! A snapshot is the state at a signature. The thread that orders entries asks [`Snapshots::wants`] before it takes a
//! position for a signature, ends the chunk with it and keeps the state, and hands that over with
//! [`Snapshots::taken`]. Everything after that happens on the thread of this module, driven by global hooks: when the
//! signature is committed the state is written to a file, its digest is recorded in an ordinary transaction, and when
//! that is under a committed signature the file gets its receipt and its name.

mod schedule;

pub use schedule::{Scheduled, SnapshotLimits, SnapshotSchedule};

use ccf_kv::{State, Store, Tx};
use ccf_ledger::secrets::LedgerSecret;
use ccf_types::{Digest, SeqNo, TxId};
use std::{path::PathBuf, sync::Arc, time::SystemTime};

/// Where snapshots are, and when they are taken.
#[derive(Clone, Debug)]
pub struct SnapshotSettings {
    /// The main directory.
    pub directory: PathBuf,
    /// When.
    pub limits: SnapshotLimits,
}

/// What is to become a snapshot: the state at a signature this node has just written as primary.
pub struct SnapshotPoint {
    /// As of the signature, which it includes ([`Store::fill`] of a position reserved with its state kept).
    pub state: State,
    /// Leaf of the signature entry.
    pub leaf: Digest,
    /// First seqno of view 1, 2, ... up to the view of the signature; an empty view repeats the start of the next.
    pub view_history: Vec<SeqNo>,
    /// The secret that applies at the signature.
    pub secret: Arc<LedgerSecret>,
}

/// What became of the transaction with the evidence.
pub struct Submitted {
    /// Its position.
    pub tx_id: TxId,
    /// SHA-256 of its entry.
    pub write_set_digest: Digest,
    /// Its commit evidence.
    pub commit_evidence: String,
}

/// What snapshots need of the node.
pub trait SnapshotHost: Send + Sync + 'static {
    /// Commits a transaction with these claims and queues its entry; `None` if this node is not primary (any more).
    fn submit(&self, tx: Tx, claims: Digest) -> Option<Submitted>;
}

/// The node's snapshots. Any thread may call.
pub struct Snapshots {}

impl Snapshots {
    /// Starts the thread and installs hooks in `store` (before its first transaction). `last` is the seqno of the
    /// snapshot the node started from, or 0.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        settings: SnapshotSettings,
        last: SeqNo,
        store: &Store,
        host: Arc<dyn SnapshotHost>,
    ) -> std::io::Result<Arc<Snapshots>> {
        let _ = (settings, last, store, host);
        todo!()
    }

    /// Whether the signature about to be reserved at `seqno` is to be a snapshot. If so: reserve it with its state
    /// kept, set `CHUNK_AFTER` in its flags, and call [`taken`](Self::taken) once it is filled.
    pub fn wants(&self, seqno: SeqNo) -> bool {
        let _ = seqno;
        todo!()
    }

    /// The signature that [`wants`](Self::wants) said yes to was written. Cheap: the state goes to the thread.
    pub fn taken(&self, point: SnapshotPoint) {
        let _ = point;
        todo!()
    }

    /// When an idle primary whose ledger ends with `version` is to sign because a snapshot by time falls due.
    pub fn signature_due_at(&self, version: SeqNo) -> Option<SystemTime> {
        let _ = version;
        todo!()
    }

    /// The transaction at `seqno` wants a snapshot at the next signature (`trigger_snapshot`, the service opens, the
    /// end of a recovery). Writes to `public:ccf.internal.snapshot_create` do this by themselves.
    pub fn request(&self, seqno: SeqNo) {
        let _ = seqno;
        todo!()
    }

    /// Everything after `seqno` was rolled back. Call after the store's rollback.
    pub fn rollback(&self, seqno: SeqNo) {
        let _ = seqno;
        todo!()
    }

    /// Off from the end of a public recovery until the private one is complete: signatures still end chunks where
    /// snapshots are due, and no file is made.
    pub fn set_enabled(&self, enabled: bool) {
        let _ = enabled;
        todo!()
    }

    /// Ends the thread; what is unfinished is deleted.
    pub fn stop(&self) {}
}
