//! The log behind this node's replica: store, Merkle tree, chunk ends and ledger files, changed together.

use super::{
    Adoption, FinishedEntry,
    ahead::{Ahead, entry_len},
    disk::LedgerSink,
    received::{Accepted, Decoded, Judge, Refused, check_flags},
    tail::{Payload, Tail},
};
use crate::{
    historical::{RecentEntries, RecentLeaf},
    refusals::Refusals,
    snapshots::Snapshots,
};
use bytes::Bytes;
use ccf_consensus::{EntryFacts, LocalEntry, Log, Reconfiguration, Rejected};
use ccf_governance::{recovery::SecretLinks, tables::ENCRYPTED_LEDGER_SECRETS};
use ccf_kv::{Action, MapWrites, Store, WriteSet};
use ccf_ledger::{
    chunks::ChunkAccounting,
    entry::{Entry, Flags},
    files::LedgerReader,
    merkle::MerkleTree,
    secrets::LedgerSecrets,
};
use ccf_types::{Digest, NodeId, SeqNo, TxId, View};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Leaves kept below the commit, so that the root at a transaction read a moment ago can still be told.
const LEAVES_KEPT: u64 = 4096;

/// Bytes of entries read at once when the log is applied again.
const READ_AGAIN_BYTES: u64 = 1 << 20;

/// What the log shares with the rest of the node.
pub struct LogParts {
    /// The store whose transactions are logged.
    pub store: Store,
    /// All ledger secrets of this node.
    pub secrets: Arc<RwLock<LedgerSecrets>>,
    /// Nodes whose `retired_committed` was committed; filled by a hook of the store.
    pub retired: Arc<Mutex<Vec<NodeId>>>,
    /// Says what is wrong with ledger secrets in an entry of the primary, before the hooks of the store get them.
    pub check_secrets: CheckSecrets,
    /// The links between ledger secrets seen in the log.
    pub links: Arc<Mutex<SecretLinks>>,
    /// While it holds only public domains are read: the service recovers.
    pub public_only: Arc<AtomicBool>,
    /// The ledger files.
    pub disk: Box<dyn LedgerSink>,
    /// Reads entries that are not in memory any more.
    pub reader: LedgerReader,
    /// The tree of everything before the first entry to come.
    pub tree: MerkleTree,
    /// Size from which a chunk ends, bytes.
    pub chunk_bytes: u64,
    /// Who takes snapshots.
    pub snapshots: Arc<Snapshots>,
    /// The newest entries, as receipts need them.
    pub recent: Arc<RecentEntries>,
}

/// Judges what an entry writes to the table of secrets at a position.
pub type CheckSecrets = Box<dyn Fn(SeqNo, &MapWrites) -> Result<(), String> + Send>;

/// The log of this node.
pub(super) struct NodeLog {
    pub(super) store: Store,
    pub(super) tree: MerkleTree,
    pub(super) chunks: ChunkAccounting,
    pub(super) disk: Box<dyn LedgerSink>,
    pub(super) snapshots: Arc<Snapshots>,
    recent: Arc<RecentEntries>,
    /// The entries after the last signature, from `unsigned_from` on.
    unsigned: Vec<RecentLeaf>,
    unsigned_from: SeqNo,
    secrets: Arc<RwLock<LedgerSecrets>>,
    check_secrets: CheckSecrets,
    links: Arc<Mutex<SecretLinks>>,
    retired: Arc<Mutex<Vec<NodeId>>>,
    public_only: Arc<AtomicBool>,
    tail: Tail,
    judge: Judge,
    /// Entries of the message at hand that were decoded before.
    decoded: VecDeque<Decoded>,
    /// Which entry of the primary was refused last, and why.
    refusal: Option<(TxId, Refused)>,
    /// Entries on their way to the disk, and whether each is a signature.
    batch: Vec<(Bytes, bool)>,
    last: TxId,
    last_signature: SeqNo,
    /// Whether the store takes transactions of its own.
    primary: bool,
    /// What was said of entries that peers asked for.
    complaints: Refusals,
}

impl NodeLog {
    /// A log whose last entry is the last one of the tree; `last_view` is its view.
    pub(super) fn new(parts: LogParts, last: TxId) -> NodeLog {
        NodeLog {
            complaints: Refusals::default(),
            chunks: ChunkAccounting::new(parts.chunk_bytes, last.seqno),
            tail: Tail::new(last.seqno, parts.reader),
            store: parts.store,
            tree: parts.tree,
            disk: parts.disk,
            snapshots: parts.snapshots,
            recent: parts.recent,
            unsigned: Vec::new(),
            unsigned_from: last.seqno.next(),
            secrets: parts.secrets,
            check_secrets: parts.check_secrets,
            links: parts.links,
            retired: parts.retired,
            public_only: parts.public_only,
            judge: Judge::default(),
            decoded: VecDeque::new(),
            refusal: None,
            batch: Vec::new(),
            last,
            last_signature: last.seqno,
            primary: false,
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> TxId {
        self.last
    }

    /// The last signature, or the entry before the first one known.
    pub(super) fn last_signature(&self) -> SeqNo {
        self.last_signature
    }

    /// Which entry of the primary was refused since the last look, and why.
    pub(super) fn take_refusal(&mut self) -> Option<(TxId, Refused)> {
        self.refusal.take()
    }

    /// Adds an entry written here.
    pub(super) fn append_own(&mut self, entry: FinishedEntry, committable: bool) -> LocalEntry {
        let local = LocalEntry {
            tx_id: entry.tx_id,
            facts: EntryFacts { committable, reconfiguration: entry.reconfiguration },
            size: u32::try_from(entry.bytes.len()).unwrap_or(u32::MAX),
        };
        let noted = RecentLeaf {
            write_set: entry.write_set_digest,
            claims: Some(entry.claims_digest),
            has_evidence: true,
        };
        self.append(entry.tx_id, entry.bytes, (entry.leaf, noted), entry.flags, committable);
        local
    }

    fn append(
        &mut self,
        tx_id: TxId,
        bytes: Bytes,
        (leaf, noted): (Digest, RecentLeaf),
        flags: Flags,
        committable: bool,
    ) {
        self.tree.append(leaf);
        self.note(tx_id, noted, committable.then_some(&bytes));
        self.chunks.append(tx_id.seqno, bytes.len() as u64, flags);
        self.tail.push(bytes.clone());
        self.batch.push((bytes, committable));
        self.last = tx_id;
        if committable {
            self.last_signature = tx_id.seqno;
        }
    }

    /// Notes what receipts need of an entry; with the bytes of a signature, of all entries since the one before.
    fn note(&mut self, tx_id: TxId, leaf: RecentLeaf, signature: Option<&Bytes>) {
        if let Some(bytes) = signature {
            let leaves = std::mem::take(&mut self.unsigned);
            self.recent.push(self.unsigned_from, leaves, tx_id, bytes.clone());
            self.unsigned_from = tx_id.seqno.next();
        } else {
            self.unsigned.push(leaf);
        }
    }

    /// Decodes entries of later messages on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn decode_ahead(&self) -> io::Result<Ahead> {
        Ahead::start(Arc::clone(&self.secrets), Arc::clone(&self.public_only))
    }

    /// What is known of the entries to come.
    pub(super) fn expect(&mut self, decoded: VecDeque<Decoded>) {
        self.decoded = decoded;
    }

    /// An entry that would follow, if it was decoded before.
    fn decoded(&mut self, expected: TxId, bytes: &[u8]) -> Option<Accepted> {
        while self.decoded.front()?.is_before(bytes) {
            self.decoded.pop_front();
        }
        let is_whole = !self.public_only.load(Ordering::Acquire);
        let behind_signature = self.last.seqno == self.last_signature;
        let decoded = self.decoded.pop_front_if(|decoded| decoded.is_at(bytes))?;
        let contents = decoded.into_contents(expected, is_whole, behind_signature)?;
        Some(Accepted { contents, committable: false })
    }

    /// Judges an entry that would follow.
    fn judged(&mut self, expected: TxId, bytes: &[u8]) -> Result<Accepted, Refused> {
        if let Some(accepted) = self.decoded(expected, bytes) {
            return Ok(accepted);
        }
        let entry = Entry::parse(bytes)?;
        let secrets = self.secrets.read();
        let secrets = (!self.public_only.load(Ordering::Acquire)).then_some(&*secrets);
        check_flags(&entry, self.last.seqno == self.last_signature)?;
        self.judge.judge(expected, &entry, secrets, &self.tree, &self.store)
    }

    /// Whether a signature entry holds over another tree than the log's.
    pub(super) fn holds_over(&mut self, expected: TxId, entry: &Entry<'_>, tree: &MerkleTree) -> bool {
        self.judge.holds(expected, entry, tree, &self.store)
    }

    /// One entry of the log; none if it cannot be read.
    pub(super) fn entry(&self, seqno: SeqNo) -> Option<Bytes> {
        self.tail.payload(seqno, seqno).ok().flatten().map(|payload| payload.bytes)
    }

    /// The entries of a range; none if some cannot be read.
    pub(super) fn entries(&self, first: SeqNo, last: SeqNo) -> Option<Vec<Bytes>> {
        let mut rest = self.tail.payload(first, last).ok().flatten()?.bytes;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let len = entry_len(&rest).filter(|len| (1..=rest.len()).contains(len))?;
            entries.push(rest.split_to(len));
        }
        Some(entries)
    }

    /// Puts other bytes in the place of everything from `first` on.
    pub(super) fn replace_tail(&mut self, first: SeqNo, entries: &[Bytes]) {
        self.tail.truncate(first.previous());
        entries.iter().for_each(|entry| self.tail.push(entry.clone()));
    }

    /// Corrects what was noted for receipts of single entries: their bytes and digests.
    pub(super) fn replace_noted<'a>(&mut self, changed: impl Iterator<Item = (SeqNo, &'a Bytes, Digest)>) {
        for (seqno, bytes, write_set) in changed {
            if seqno == self.last_signature {
                self.recent.replace_signature(seqno, bytes);
            }
            let at = seqno.0.checked_sub(self.unsigned_from.0).and_then(|at| usize::try_from(at).ok());
            if let Some(noted) = at.and_then(|at| self.unsigned.get_mut(at)) {
                noted.write_set = write_set;
            }
        }
    }

    /// Hands the disk what was appended.
    pub(super) fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.disk.append(std::mem::take(&mut self.batch), self.last);
        }
    }

    /// Tells the disk what is committed, behind the entries themselves: what it does not know yet it would not name.
    pub(super) fn commit_files(&mut self, seqno: SeqNo) {
        let handed_over = self.last.seqno.0.saturating_sub(self.batch.len() as u64);
        if seqno.0 > handed_over {
            self.flush();
        }
        self.disk.commit(seqno);
    }

    /// The files hold everything up to here.
    pub(super) fn persisted(&mut self, seqno: SeqNo, has_peers: bool) {
        self.tail.forget(seqno.min(self.last.seqno), has_peers);
    }

    /// The store takes transactions from now on, in `view`.
    pub(super) fn lead(&mut self, view: View) {
        if let Some(secret) = self.secrets.read().at(self.last.seqno.next()) {
            self.store.set_context(Arc::clone(secret));
        }
        self.store.set_primary(view);
        self.primary = true;
    }

    /// The store takes no transactions of its own any more; those not logged yet are dropped (quirk Q17).
    pub(super) fn follow(&mut self, view: View) {
        if std::mem::take(&mut self.primary) {
            self.store.set_backup();
            self.drop_unlogged(view);
        }
    }

    /// Drops transactions of the store that are not in the log, and what they had brought: a secret of a rekey that never
    /// was would encrypt what nobody can read.
    pub(super) fn drop_unlogged(&mut self, view: View) {
        let dropped = self.store.version() > self.last.seqno;
        rollback_store(&self.store, self.last, view);
        if dropped {
            self.forget_after(self.last.seqno);
        }
    }

    /// Forgets what transactions after `seqno` had brought besides their writes.
    fn forget_after(&mut self, seqno: SeqNo) {
        // The secret of a rekey at `seqno` applies from the entry behind it and stays.
        self.secrets.write().rollback(seqno.next());
        self.links.lock().rollback(seqno);
        self.chunks.rollback(seqno);
        self.snapshots.rollback(seqno);
    }

    /// Makes the private state of `adoption` the node's own. What was logged after it is read again, with its private
    /// part; what is not committed is first undone, so that a later rollback undoes all of it.
    ///
    /// # Errors
    /// What is wrong with an entry: the node cannot go on.
    pub(super) fn adopt_private(&mut self, adoption: &Adoption, committed: TxId) -> Result<(), String> {
        let last = self.last;
        self.apply_again(&adoption.private, adoption.last, committed.seqno)?;
        if self.primary {
            // What a primary of a service that is not open writes itself is public.
            self.store.adopt_private(&adoption.private.state());
        } else {
            rollback_store(&self.store, committed, last.view);
            self.store.adopt_private(&adoption.private.state());
            self.apply_again(&self.store, committed.seqno, last.seqno)?;
        }
        self.public_only.store(false, Ordering::Release);
        Ok(())
    }

    /// Applies the entries `after + 1 ..= up_to` of the log, in full, to a store that has those before.
    fn apply_again(&self, store: &Store, after: SeqNo, up_to: SeqNo) -> Result<(), String> {
        let mut next = after.next();
        while next <= up_to {
            let end = self.tail.last_fitting(next, up_to, READ_AGAIN_BYTES);
            let payload = self.payload(next, end).ok_or("entries of the ledger are missing")?;
            let mut bytes = &payload.bytes[..];
            while !bytes.is_empty() {
                let len = entry_len(bytes).filter(|len| *len <= bytes.len()).ok_or("a broken entry")?;
                let (entry, rest) = bytes.split_at(len);
                bytes = rest;
                let entry = Entry::parse(entry).map_err(|e| e.to_string())?;
                let private = entry.decrypt(&self.secrets.read()).map_err(|e| e.to_string())?;
                let writes = WriteSet::decode(&entry, Some(&private)).map_err(|e| e.to_string())?;
                store.apply(entry.tx_id(), writes).map_err(|e| e.to_string())?;
            }
            next = end.next();
        }
        Ok(())
    }

    /// The entries of a message.
    pub(super) fn payload(&self, first: SeqNo, last: SeqNo) -> Option<Payload> {
        match self.tail.payload(first, last) {
            Ok(Some(payload)) => Some(payload),
            Ok(None) => {
                self.complain("entries of no file", &format_args!(
                    "Entries {first} to {last} are asked for by a peer but are in no ledger file of this node: the peer cannot catch up from here"
                ));
                None
            }
            Err(error) => {
                let complaint = format_args!("Entries {first} to {last} cannot be read for a peer: {error}");
                self.complain("unreadable entries", &complaint);
                None
            }
        }
    }

    /// Once a minute: peers ask again and again.
    fn complain(&self, reason: &'static str, complaint: &dyn std::fmt::Display) {
        if self.complaints.may_log("ledger", reason) {
            tracing::error!("{complaint}");
        }
    }
}

impl Log for NodeLog {
    fn entry_len(&self, bytes: &[u8]) -> Option<usize> {
        entry_len(bytes)
    }

    fn apply(&mut self, expected: TxId, bytes: &[u8]) -> Result<EntryFacts, Rejected> {
        self.follow(expected.view);
        let accepted = match self.judged(expected, bytes) {
            Err(refused @ (Refused::Root | Refused::Signature(_))) => {
                self.mend_flags(expected, bytes, refused).and_then(|()| self.judged(expected, bytes))
            }
            judged => judged,
        };
        let Accepted { contents, committable } = accepted.map_err(|reason| {
            self.refusal = Some((expected, reason));
            Rejected
        })?;
        if let Some(writes) = contents.write_set.map(ENCRYPTED_LEDGER_SECRETS.name())
            && let Err(reason) = (self.check_secrets)(expected.seqno, writes)
        {
            self.refusal = Some((expected, Refused::Secrets(reason)));
            return Err(Rejected);
        }
        let written = self.store.apply(expected, contents.write_set).map_err(|reason| {
            tracing::error!("The entry of transaction {expected} cannot be applied: {reason}");
            Rejected
        })?;
        let digests = contents.digests;
        let noted = RecentLeaf {
            write_set: digests.write_set,
            claims: digests.claims,
            has_evidence: digests.evidence.is_some(),
        };
        let bytes = Bytes::copy_from_slice(bytes);
        self.append(expected, bytes, (contents.leaf, noted), contents.flags, committable);
        let reconfiguration = reconfiguration_of(written.actions);
        Ok(EntryFacts { committable, reconfiguration })
    }

    fn rollback(&mut self, to: TxId, next_view: View) {
        if std::mem::take(&mut self.primary) {
            self.store.set_backup();
        }
        let dropped = self.store.version() > to.seqno;
        rollback_store(&self.store, to, next_view);
        if dropped {
            self.forget_after(to.seqno);
        }
        if to.seqno == self.last.seqno {
            return;
        }
        tracing::info!("Transactions after {to} are rolled back");
        self.flush();
        if let Err(error) = self.tree.retract(to.seqno.0) {
            stop_on_divergence(&error);
        }
        self.tail.truncate(to.seqno);
        self.disk.truncate(to);
        self.recent.rollback(to.seqno);
        let kept = (to.seqno.0 + 1).saturating_sub(self.unsigned_from.0);
        self.unsigned.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.unsigned_from = self.unsigned_from.min(to.seqno.next());
        self.last = to;
        self.last_signature = self.last_signature.min(to.seqno);
    }

    fn compact(&mut self, to: SeqNo) -> Vec<NodeId> {
        self.chunks.compact(to);
        self.tree.flush(to.0.saturating_sub(LEAVES_KEPT));
        // Effects of the commit (frontends open, certificates change) come before it is announced.
        self.store.compact(to);
        std::mem::take(&mut *self.retired.lock())
    }

    fn last_fitting(&self, first: SeqNo, last: SeqNo, bytes: u64) -> SeqNo {
        self.tail.last_fitting(first, last, bytes)
    }

    fn set_view(&mut self, _: View) {}
}

/// What the hooks of the store noticed in a transaction that consensus must know.
#[must_use]
pub fn reconfiguration_of(actions: Vec<Action>) -> Option<Reconfiguration> {
    actions.into_iter().find_map(|action| action.downcast().ok()).map(|change| *change)
}

fn rollback_store(store: &Store, to: TxId, next_view: View) {
    if let Err(error) = store.rollback(to, next_view) {
        stop_on_divergence(&error);
    }
}

/// The parts of the log do not fit each other: going on could show what is not committed.
fn stop_on_divergence(error: &dyn std::fmt::Display) -> ! {
    tracing::error!("The log cannot be rolled back: {error}. Exiting.");
    std::process::abort();
}
