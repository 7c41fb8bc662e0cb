//! Replaying ledger files into a store: the public one at the beginning of a recovery, the whole one at its end
//! (ledger specification, section 16.1), and by whoever wants the state at a point of the ledger.
//!
//! Entries are decoded on all cores ([`ccf_ledger::replay`]); the calling thread applies them in order, and one more
//! thread verifies signatures behind it. What no verified signature vouches for is taken back at the end.

mod signatures;

use crate::replay::signatures::{Checks, Signers};
use ccf_kv::{ApplyError, DecodeError, RollbackError, Store, WriteSet};
use ccf_ledger::{
    chunks::ChunkAccounting,
    entry::{Entry, Flags},
    files::LedgerReader,
    merkle::{MerkleTree, TreeBlob},
    replay::{ReplayEnd, ReplayOptions, Replayed, replay},
    secrets::LedgerSecrets,
    signature::{SignatureError, SignatureValues},
    tables,
};
use ccf_types::{Digest, SeqNo, TxId, View};
use std::thread;

/// Where a replay begins, and what it continues. [`ReplayState::new`] is the beginning of a ledger.
#[derive(Debug)]
pub struct ReplayState {
    /// The tree over the entries so far.
    pub tree: MerkleTree,
    /// Chunk ends so far.
    pub chunks: ChunkAccounting,
    /// The last entry so far, a signature (or 0.0).
    pub last: TxId,
    /// The first entry of each view that has entries, oldest first.
    pub view_history: Vec<TxId>,
}

impl ReplayState {
    /// Nothing yet. `chunk_bytes` is `ledger.chunk_size`.
    #[must_use]
    pub fn new(chunk_bytes: u64) -> Self {
        let chunks = ChunkAccounting::new(chunk_bytes, SeqNo::NONE);
        Self { tree: MerkleTree::new(), chunks, last: TxId::default(), view_history: Vec::new() }
    }
}

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayPlan<'a> {
    /// The ledger.
    pub reader: &'a LedgerReader,
    /// To decrypt and authenticate every entry; without them only public maps are filled.
    pub secrets: Option<&'a LedgerSecrets>,
    /// The last entry to read; the end of the ledger if none.
    pub to: Option<SeqNo>,
    /// Threads that decode.
    pub threads: usize,
}

/// What a replay came to. The store is at `state.last` and has it as committed.
#[derive(Debug)]
pub struct ReplayOutcome {
    /// As of the last signature that holds.
    pub state: ReplayState,
    /// Entries read after it, which were taken back.
    pub discarded: u64,
    /// Why the replay ended; none if it reached the end of the ledger or the last entry asked for.
    pub stopped: Option<ReplayStop>,
}

/// Why a replay ended before the end of the ledger.
#[derive(Debug, thiserror::Error)]
#[error("transaction {seqno}: {reason}")]
pub struct ReplayStop {
    /// The entry that could not be used.
    pub seqno: SeqNo,
    /// Why.
    pub reason: ReplayError,
}

/// What can be wrong with an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    File(#[from] ccf_ledger::files::FileError),
    /// Its bytes.
    #[error(transparent)]
    Entry(#[from] ccf_ledger::entry::EntryError),
    /// Its writes.
    #[error(transparent)]
    Writes(#[from] DecodeError),
    /// Its place.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Views never go back.
    #[error("the view falls from {0} to {1}")]
    ViewFalls(View, View),
    /// Only signatures end chunks.
    #[error("an entry that is no signature ends a chunk")]
    ChunkEnd,
    /// A signature transaction that does not hold.
    #[error("signature transaction: {0}")]
    Signature(#[from] SignatureError),
    /// It is not what was signed: the next signature signs a tree with another leaf for it.
    #[error("it is not what the signature transaction {0} signs")]
    Altered(SeqNo),
    /// Its signer is not known.
    #[error("no usable certificate of the signer {0}")]
    Signer(String),
    /// A service signature, and no service certificate.
    #[error("no usable certificate of the service")]
    Service,
    /// The state cannot be taken back to the last signature.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The last entry applied.
    pub seqno: SeqNo,
    /// The last signature verified.
    pub verified: SeqNo,
}

/// Entries between two calls of the progress function.
const PROGRESS_EVERY: u64 = 10_000;

/// The largest signature transaction that is read again to tell what it says of an altered entry: its tree has 32 bytes
/// for each entry since the last commit.
const SIGNATURE_BYTES_MAX: usize = 64 << 20;

/// Signatures that may wait for verification: what they cover is kept so that it can be undone.
const CHECKS_MAX: usize = 64;

/// Replays entries after `state.last` into `store`, which is at that entry and has no primary. Compacts the store at
/// each verified signature: global hooks run.
pub fn replay_into(
    store: &Store,
    state: ReplayState,
    plan: &ReplayPlan<'_>,
    progress: &mut dyn FnMut(ReplayProgress),
) -> ReplayOutcome {
    let options = ReplayOptions {
        from: state.last.seqno.next(),
        to: plan.to,
        secrets: plan.secrets,
        threads: plan.threads,
    };
    thread::scope(|scope| {
        let checks = Checks::start(scope, CHECKS_MAX);
        let verified = state.last;
        let signers = Signers::default();
        let mut applier = Applier { store, reader: plan.reader, state, verified, checks, signers, progress };
        let decode = |entry: &Entry<'_>, private: Option<&_>| WriteSet::decode(entry, private);
        let (last, end) = replay(plan.reader, &options, &decode, &mut |entry| applier.apply(entry));
        let stop = |seqno, reason| Some(ReplayStop { seqno, reason });
        let stopped = match end {
            ReplayEnd::Complete => None,
            ReplayEnd::File(error) => stop(last.next(), error.into()),
            ReplayEnd::Entry(seqno, error) => stop(seqno, error.into()),
            ReplayEnd::Decoder(seqno, error) => stop(seqno, error.into()),
            ReplayEnd::Stopped(_, stopped) => Some(*stopped),
        };
        applier.finish(stopped)
    })
}

struct Applier<'s, 'p> {
    store: &'s Store,
    reader: &'s LedgerReader,
    /// As of the last entry applied.
    state: ReplayState,
    /// The last signature that holds.
    verified: TxId,
    checks: Checks,
    signers: Signers,
    progress: &'p mut dyn FnMut(ReplayProgress),
}

impl Applier<'_, '_> {
    fn apply(&mut self, entry: Replayed<'_, WriteSet>) -> Result<(), Box<ReplayStop>> {
        let seqno = entry.tx_id.seqno;
        self.apply_entry(entry).map_err(|reason| Box::new(ReplayStop { seqno, reason }))?;
        while let Some((tx_id, verdict)) = self.checks.poll() {
            self.verdict(tx_id, verdict)?;
        }
        if seqno.0.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(ReplayProgress { seqno, verified: self.verified.seqno });
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: Replayed<'_, WriteSet>) -> Result<(), ReplayError> {
        let Replayed { tx_id, flags, leaf, bytes, value, .. } = entry;
        if tx_id.view < self.state.last.view {
            return Err(ReplayError::ViewFalls(self.state.last.view, tx_id.view));
        }
        let signed =
            value.map(&tables::COSE_SIGNATURES).is_some() || value.map(&tables::SIGNATURES).is_some();
        if signed {
            let root = self.state.tree.root();
            self.signature(tx_id, bytes, &root)?;
        } else if flags.contains(Flags::CHUNK_AFTER) {
            return Err(ReplayError::ChunkEnd);
        }
        self.store.apply(tx_id, value)?;
        self.state.tree.append(leaf);
        self.state.chunks.append(tx_id.seqno, bytes.len() as u64, flags);
        if self.state.view_history.last().is_none_or(|start| start.view < tx_id.view) {
            self.state.view_history.push(tx_id);
        }
        self.state.last = tx_id;
        Ok(())
    }

    /// Section 10.5. The signatures themselves are verified on the other thread.
    fn signature(&mut self, tx_id: TxId, bytes: &[u8], root: &Digest) -> Result<(), ReplayError> {
        let parsed = Entry::parse(bytes)?;
        let values = SignatureValues::of(&parsed)?.ok_or(SignatureError::Shape)?;
        let check = self.signers.check(self.store, tx_id, &values, root)?;
        if let Some((tx_id, verdict)) = self.checks.submit(tx_id, check) {
            self.verdict(tx_id, verdict).map_err(|stop| stop.reason)?;
        }
        Ok(())
    }

    fn verdict(&mut self, tx_id: TxId, verdict: Result<(), SignatureError>) -> Result<(), Box<ReplayStop>> {
        match verdict {
            Ok(()) => {
                self.verified = tx_id;
                self.store.compact(tx_id.seqno);
                self.state.chunks.compact(tx_id.seqno);
                self.state.tree.flush(tx_id.seqno.0);
                Ok(())
            }
            Err(error) => Err(Box::new(ReplayStop { seqno: tx_id.seqno, reason: error.into() })),
        }
    }

    /// Which entry made the signature at `seqno` fail: the first whose leaf is another in the tree that this signature
    /// holds for.
    fn altered_before(&mut self, seqno: SeqNo) -> Option<SeqNo> {
        let range = self.reader.read_range(seqno, seqno, SIGNATURE_BYTES_MAX).ok()??;
        let (_, bytes) = range.entries().next()?;
        let entry = Entry::parse(bytes).ok()?;
        let values = SignatureValues::of(&entry).ok()??;
        let signed = TreeBlob::parse(values.tree).ok().filter(|signed| signed.len() == seqno.0)?;
        let altered =
            signed.first_difference(&self.state.tree).map(SeqNo).filter(|altered| *altered < seqno)?;
        let check = self.signers.check(self.store, entry.tx_id(), &values, &signed.to_tree().root()).ok()?;
        check.run().is_ok().then_some(altered)
    }

    /// Waits for the last verdicts, and takes back what is not covered.
    fn finish(mut self, mut stopped: Option<ReplayStop>) -> ReplayOutcome {
        // A signature that fails comes before whatever else was wrong.
        let mut failed = stopped.as_ref().is_some_and(|stop| stop.seqno <= self.state.last.seqno);
        while let Some((tx_id, verdict)) = self.checks.wait() {
            if failed {
                continue;
            }
            if let Err(stop) = self.verdict(tx_id, verdict) {
                stopped = Some(*stop);
                failed = true;
            }
        }
        if let Some(stop) = &mut stopped
            && let ReplayError::Signature(_) = stop.reason
            && let Some(altered) = self.altered_before(stop.seqno)
        {
            *stop = ReplayStop { seqno: altered, reason: ReplayError::Altered(stop.seqno) };
        }
        let verified = self.verified;
        let discarded = self.state.last.seqno.0 - verified.seqno.0;
        let view = self.state.last.view;
        if let Err(error) = self.store.rollback(verified, view) {
            stopped = Some(ReplayStop { seqno: verified.seqno, reason: error.into() });
        }
        let mut state = self.state;
        // Never below what the tree keeps: it is flushed at verified signatures only.
        let _ = state.tree.retract(verified.seqno.0);
        state.chunks.rollback(verified.seqno);
        state.view_history.retain(|start| start.seqno <= verified.seqno);
        state.last = verified;
        (self.progress)(ReplayProgress { seqno: verified.seqno, verified: verified.seqno });
        ReplayOutcome { state, discarded, stopped }
    }
}
