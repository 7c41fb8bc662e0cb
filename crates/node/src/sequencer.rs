//! The thread that puts finished entries in order: Merkle tree, chunk ends, signatures, commit.
//!
//! Workers finish entries in any order ([`Inbox`]); the sequencer appends each at its place, hands the bytes to
//! the disk, and signs when the [`policy`] says so. It never executes a request, so nothing slow runs here.
//!
//! Replication: this version runs one-node networks. There the quorum is the node itself, and a signature is
//! committed when the ledger up to it is in the operating system's hands.

mod inbox;
pub mod policy;
mod signing;

pub use inbox::Inbox;
pub use signing::{NodeSigner, SigningError};

use crate::{disk::Disk, replication_status::ReplicationStatus};
use ccf_kv::{Reserved, Store};
use ccf_ledger::{chunks::ChunkAccounting, entry::Flags, merkle::MerkleTree};
use ccf_types::{Digest, SeqNo, TxId};
use inbox::{Reorder, RootQuery, Taken};
use policy::{Due, SignaturePolicy, Unsigned};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Leaves kept below the commit, so that the root at a transaction read a moment ago can still be told.
const ROOTS_KEPT: u64 = 4096;

/// How long a stopping node waits for the disk before it gives up.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// An entry with its bytes final, on its way into the ledger.
#[derive(Debug)]
pub struct FinishedEntry {
    /// Its position.
    pub tx_id: TxId,
    /// The whole entry.
    pub bytes: Vec<u8>,
    /// Its leaf.
    pub leaf: Digest,
}

/// How far the disk has come; written by the disk thread, read by the sequencer.
#[derive(Default)]
pub struct DiskProgress(AtomicU64);

impl DiskProgress {
    /// The ledger up to `seqno` is in the operating system's hands.
    pub fn advance(&self, seqno: SeqNo) {
        self.0.fetch_max(seqno.0, Ordering::AcqRel);
    }

    fn reached(&self) -> SeqNo {
        SeqNo(self.0.load(Ordering::Acquire))
    }
}

/// The state of the sequencer thread.
pub struct Sequencer {
    store: Store,
    inbox: Arc<Inbox>,
    status: Arc<ReplicationStatus>,
    signer: NodeSigner,
    policy: SignaturePolicy,
    disk: Disk,
    progress: Arc<DiskProgress>,
    tree: MerkleTree,
    chunks: ChunkAccounting,
    reorder: Reorder,
    /// The position taken for a signature whose predecessors are not all here yet.
    reserved: Option<Reserved>,
    /// Signatures appended and not yet committed, oldest first.
    signed: VecDeque<SeqNo>,
    last_signature: SeqNo,
    last_signed: Instant,
    signature_requested: bool,
    batch: Vec<(Vec<u8>, bool)>,
    root_queries: Vec<RootQuery>,
}

/// What a sequencer works with.
pub struct SequencerParts {
    /// The store whose transactions it orders.
    pub store: Store,
    /// Where finished entries arrive.
    pub inbox: Arc<Inbox>,
    /// Where it publishes view and commit.
    pub status: Arc<ReplicationStatus>,
    /// The node's part in signatures.
    pub signer: NodeSigner,
    /// When to sign.
    pub policy: SignaturePolicy,
    /// The ledger files.
    pub disk: Disk,
    /// How far the disk has come.
    pub progress: Arc<DiskProgress>,
    /// Size from which a chunk ends, bytes.
    pub chunk_bytes: u64,
}

impl Sequencer {
    /// A sequencer of a ledger that begins with the next entry.
    #[must_use]
    pub fn new(parts: SequencerParts) -> Sequencer {
        Sequencer {
            store: parts.store,
            inbox: parts.inbox,
            status: parts.status,
            signer: parts.signer,
            policy: parts.policy,
            disk: parts.disk,
            progress: parts.progress,
            tree: MerkleTree::new(),
            chunks: ChunkAccounting::new(parts.chunk_bytes, SeqNo::NONE),
            reorder: Reorder::new(SeqNo(1)),
            reserved: None,
            signed: VecDeque::new(),
            last_signature: SeqNo::NONE,
            last_signed: Instant::now(),
            // Becoming primary asks for a signature (ledger specification, section 10.4).
            signature_requested: true,
            batch: Vec::new(),
            root_queries: Vec::new(),
        }
    }

    /// Works until the inbox is stopped; then signs what is unsigned, waits for the disk and returns.
    ///
    /// # Errors
    /// [`SigningError`] if a signature cannot be made: the node must stop.
    pub fn run(mut self) -> Result<(), SigningError> {
        let mut taken = Taken::default();
        loop {
            let deadline = match self.due(Instant::now()) {
                Due::Now => Some(Instant::now()),
                Due::At(moment) => Some(moment),
                Due::Idle => None,
            };
            let stopped = self.inbox.take(deadline, &mut taken);
            taken.entries.drain(..).for_each(|entry| self.reorder.insert(entry));
            self.root_queries.append(&mut taken.root_queries);
            taken.chunk_requests.drain(..).for_each(|seqno| self.chunks.request(seqno));
            self.append_ready()?;
            self.answer_root_queries();
            if self.due(Instant::now()) == Due::Now {
                self.reserve_signature()?;
            }
            self.flush();
            self.advance_commit();
            if stopped && self.drained() {
                return self.finish();
            }
        }
    }

    fn due(&self, now: Instant) -> Due {
        if self.reserved.is_some() || self.reorder.next() == SeqNo(1) {
            return Due::Idle;
        }
        let count = self.reorder.next().previous().0 - self.last_signature.0;
        if count > 0 && self.chunks.signature_overdue() {
            return Due::Now;
        }
        let requested = self.signature_requested;
        self.policy.due(now, Unsigned { count, requested, last_signed: self.last_signed })
    }

    /// Whether every transaction of the store has arrived here.
    fn drained(&self) -> bool {
        self.reserved.is_none() && self.reorder.next() > self.store.version()
    }

    fn append_ready(&mut self) -> Result<(), SigningError> {
        loop {
            if self.reserved.as_ref().is_some_and(|reserved| reserved.seqno() == self.reorder.next()) {
                self.sign()?;
            }
            let Some(entry) = self.reorder.pop() else {
                return Ok(());
            };
            self.append(entry, Flags::NONE, false);
        }
    }

    fn append(&mut self, entry: FinishedEntry, flags: Flags, is_signature: bool) {
        let seqno = entry.tx_id.seqno;
        self.tree.append(entry.leaf);
        self.chunks.append(seqno, entry.bytes.len() as u64, flags);
        self.batch.push((entry.bytes, is_signature));
    }

    fn reserve_signature(&mut self) -> Result<(), SigningError> {
        match self.store.reserve(false) {
            Ok(reserved) => self.reserved = Some(reserved),
            // Not primary any more: whoever is will sign.
            Err(_) => return Ok(()),
        }
        self.append_ready()
    }

    /// Builds the signature whose position is next and appends it.
    fn sign(&mut self) -> Result<(), SigningError> {
        let Some(reserved) = self.reserved.take() else {
            return Ok(());
        };
        let tx_id = reserved.tx_id;
        let flags = if self.chunks.ends_chunk(tx_id.seqno) { Flags::CHUNK_AFTER } else { Flags::NONE };
        let entry = self.signer.signature_entry(
            &self.store,
            reserved,
            &self.tree,
            self.status.committed_seqno(),
            flags,
        )?;
        self.reorder.skip();
        self.append(entry, flags, true);
        self.status.signed(tx_id.seqno);
        self.signed.push_back(tx_id.seqno);
        self.last_signature = tx_id.seqno;
        self.last_signed = Instant::now();
        self.signature_requested = false;
        Ok(())
    }

    fn answer_root_queries(&mut self) {
        let appended = self.reorder.next();
        for query in std::mem::take(&mut self.root_queries) {
            if query.seqno < appended {
                let root = self.tree.root_of(query.seqno.next().0).ok();
                query.answer(root);
            } else {
                self.root_queries.push(query);
            }
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.disk.append(std::mem::take(&mut self.batch));
        }
    }

    /// Commits the last signature that the disk has.
    fn advance_commit(&mut self) {
        let reached = self.progress.reached();
        let mut committed = None;
        while let Some(seqno) = self.signed.front().copied().filter(|seqno| *seqno <= reached) {
            self.signed.pop_front();
            committed = Some(seqno);
        }
        if let Some(seqno) = committed {
            self.chunks.compact(seqno);
            self.tree.flush(seqno.0.saturating_sub(ROOTS_KEPT));
            // Effects of the commit (frontends open, certificates change) come before it is announced.
            self.store.compact(seqno);
            self.status.commit(seqno);
            self.disk.commit(seqno);
        }
    }

    fn finish(mut self) -> Result<(), SigningError> {
        if self.reorder.next().previous() > self.last_signature {
            self.reserve_signature()?;
            self.flush();
        }
        let patience = Instant::now() + DISK_PATIENCE;
        while !self.signed.is_empty() && Instant::now() < patience {
            self.inbox.sleep(patience);
            self.advance_commit();
        }
        self.disk.finish();
        Ok(())
    }
}
