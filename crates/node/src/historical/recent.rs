//! The newest entries of the ledger, as far as receipts need them: with these a receipt takes no file and no waiting.
//!
//! The replicator notes three digests of each entry it appends; with each signature the noted ones become a segment. A
//! reader makes of it the tree, once, when the first receipt is asked for.

use bytes::Bytes;
use ccf_ledger::{
    entry::Entry,
    evidence::CommitEvidence,
    receipt::{EntryDigests, SignedRoot, TransactionReceipt},
    secrets::LedgerSecret,
};
use ccf_types::{Digest, SeqNo, TxId};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

/// Entries remembered: some seconds of full load, about 10 MB with the trees that are made for receipts.
const ENTRIES_MAX: usize = 1 << 16;

/// Signatures remembered, of a few KB each.
const SEGMENTS_MAX: usize = 1024;

/// What is noted of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecentLeaf {
    /// Digest of the entry.
    pub(crate) write_set: Digest,
    /// The application's claims; none in entries of a type without.
    pub(crate) claims: Option<Digest>,
    /// Whether commit evidence is part of the leaf.
    pub(crate) has_evidence: bool,
}

/// The newest entries, shared between the replicator, which writes, and workers.
#[derive(Default)]
pub struct RecentEntries(Mutex<Segments>);

#[derive(Default)]
struct Segments {
    /// Ascending.
    segments: VecDeque<Arc<Segment>>,
    entries: usize,
}

/// Entries up to a signature.
struct Segment {
    first: SeqNo,
    leaves: Vec<RecentLeaf>,
    signature: TxId,
    entry: Bytes,
    signed: OnceLock<Option<Arc<SignedRoot>>>,
}

impl RecentEntries {
    /// The entries from `first` on were `leaves`, and then came the signature transaction with these bytes.
    pub(crate) fn push(&self, first: SeqNo, leaves: Vec<RecentLeaf>, signature: TxId, entry: Bytes) {
        let mut recent = self.0.lock();
        recent.entries += leaves.len();
        let segment = Segment { first, leaves, signature, entry, signed: OnceLock::new() };
        recent.segments.push_back(Arc::new(segment));
        while recent.segments.len() > SEGMENTS_MAX
            || (recent.entries > ENTRIES_MAX && recent.segments.len() > 1)
        {
            if let Some(old) = recent.segments.pop_front() {
                recent.entries -= old.leaves.len();
            }
        }
    }

    /// The newest signature has other bytes than it seemed.
    pub(crate) fn replace_signature(&self, signature: SeqNo, entry: &Bytes) {
        let mut recent = self.0.lock();
        let Some(last) = recent.segments.back_mut().filter(|last| last.signature.seqno == signature) else {
            return;
        };
        let (first, leaves, signature) = (last.first, last.leaves.clone(), last.signature);
        *last = Arc::new(Segment { first, leaves, signature, entry: entry.clone(), signed: OnceLock::new() });
    }

    /// Everything after `to` was rolled back.
    pub(crate) fn rollback(&self, to: SeqNo) {
        let mut recent = self.0.lock();
        while recent.segments.back().is_some_and(|segment| segment.signature.seqno > to) {
            if let Some(gone) = recent.segments.pop_back() {
                recent.entries -= gone.leaves.len();
            }
        }
    }

    /// The receipt of a transaction that the caller knows to be committed, as is everything up to `committed`. None if
    /// it is not among the newest.
    pub(crate) fn receipt(
        &self,
        tx_id: TxId,
        committed: SeqNo,
        secret: Option<&LedgerSecret>,
    ) -> Option<TransactionReceipt> {
        let segment = {
            let recent = self.0.lock();
            let at = recent.segments.partition_point(|segment| segment.signature.seqno < tx_id.seqno);
            Arc::clone(recent.segments.get(at)?)
        };
        if segment.signature.seqno > committed || tx_id.seqno < segment.first {
            return None;
        }
        let signed = segment.signed()?;
        if segment.signature.seqno == tx_id.seqno {
            return Some(TransactionReceipt::of_signature(signed));
        }
        let at = usize::try_from(tx_id.seqno.0 - segment.first.0).ok()?;
        let leaf = segment.leaves.get(at)?;
        let evidence = match (leaf.has_evidence, secret) {
            (true, Some(secret)) => Some(CommitEvidence::new(secret, tx_id).digest()),
            (true, None) => return None,
            (false, _) => None,
        };
        let digests = EntryDigests { write_set: leaf.write_set, claims: leaf.claims, evidence };
        TransactionReceipt::of_entry(tx_id, &digests, secret, signed)
    }
}

impl Segment {
    fn signed(&self) -> Option<Arc<SignedRoot>> {
        let read = || {
            let entry = Entry::parse(&self.entry).ok()?;
            SignedRoot::read(&entry).ok().map(Arc::new)
        };
        self.signed.get_or_init(read).clone()
    }
}
