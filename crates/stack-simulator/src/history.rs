//! What the judge knows: every entry that was ever in a log, the state after each by a naive replay, and what is committed.

use crate::disk::LogEntry;
use bytes::Bytes;
use ccf_kv::Store;
use ccf_ledger::{
    entry::{Entry, Record, Records},
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_simulator::Violation;
use ccf_types::{Digest, SeqNo, TxId};
use std::{collections::BTreeMap, sync::Arc};

/// All keys and values, by map and key.
pub(crate) type Model = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// An entry and what follows from it.
struct Known {
    bytes: Bytes,
    previous: TxId,
    committable: bool,
    leaf: Digest,
    /// The secret of the next entry.
    secret: Arc<LedgerSecret>,
    model: Arc<Model>,
}

/// Everything that happened.
pub(crate) struct History {
    entries: BTreeMap<TxId, Known>,
    /// Secrets that a rekey made, by its transaction.
    pub(crate) rekeys: BTreeMap<TxId, Arc<LedgerSecret>>,
    first_secret: Arc<LedgerSecret>,
    committed: Vec<TxId>,
    tree: MerkleTree,
    roots: Vec<Digest>,
}

pub(crate) fn violation<T>(invariant: &'static str, details: String) -> Result<T, Violation> {
    Err(Violation { invariant, details })
}

impl History {
    pub(crate) fn new(first_secret: Arc<LedgerSecret>) -> History {
        History {
            entries: BTreeMap::new(),
            rekeys: BTreeMap::new(),
            first_secret,
            committed: Vec::new(),
            tree: MerkleTree::new(),
            roots: Vec::new(),
        }
    }

    pub(crate) fn committed(&self) -> SeqNo {
        SeqNo(self.committed.len() as u64)
    }

    pub(crate) fn committed_at(&self, seqno: SeqNo) -> Option<TxId> {
        let at = usize::try_from(seqno.0.checked_sub(1)?).ok()?;
        self.committed.get(at).copied()
    }

    /// The last committed signature up to there.
    pub(crate) fn signature_before(&self, seqno: SeqNo) -> SeqNo {
        let is_signature = |seqno: &u64| {
            let tx_id = self.committed_at(SeqNo(*seqno)).unwrap_or_default();
            self.entries.get(&tx_id).is_some_and(|known| known.committable)
        };
        SeqNo((1..=seqno.0).rev().find(is_signature).unwrap_or_default())
    }

    /// Entries that were ever written.
    pub(crate) fn written(&self) -> usize {
        self.entries.len()
    }

    /// All keys and values after an entry.
    pub(crate) fn model(&self, tx_id: TxId) -> Option<&Arc<Model>> {
        self.entries.get(&tx_id).map(|known| &known.model)
    }

    /// An entry was put into some log, behind `previous`.
    pub(crate) fn observe(&mut self, previous: TxId, entry: &LogEntry) -> Result<(), Violation> {
        let tx_id = entry.tx_id;
        if let Some(known) = self.entries.get(&tx_id) {
            // Changed flags are found out at the next signature.
            if !same_but_for_flags(&known.bytes, &entry.bytes) || known.previous != previous {
                return violation("LogMatching", format!("{tx_id} is not the same everywhere"));
            }
            return Ok(());
        }
        if tx_id.seqno != previous.seqno.next() || tx_id.view < previous.view {
            return violation("Order", format!("{tx_id} stands behind {previous}"));
        }
        let before = self.entries.get(&previous);
        if previous != TxId::default() && before.is_none() {
            return violation("Order", format!("{previous} before {tx_id} was never seen"));
        }
        let mut model = before.map(|known| Model::clone(&known.model)).unwrap_or_default();
        let secret = before.map_or(&self.first_secret, |known| &known.secret);
        let known = replay(&entry.bytes, secret, &mut model).map_err(|reason| Violation {
            invariant: "Replay",
            details: format!("{tx_id} behind {previous}: {reason}"),
        })?;
        let secret = self.rekeys.get(&tx_id).unwrap_or(secret);
        let known = Known {
            bytes: entry.bytes.clone(),
            previous,
            committable: entry.committable,
            leaf: known,
            secret: Arc::clone(secret),
            model: Arc::new(model),
        };
        self.entries.insert(tx_id, known);
        Ok(())
    }

    /// A node says that its entry `tx_id` is committed; those before it are in order.
    pub(crate) fn commit(&mut self, who: &str, tx_id: TxId) -> Result<(), Violation> {
        if let Some(known) = self.committed_at(tx_id.seqno) {
            if known != tx_id {
                return violation("CommittedPrefix", format!("{who} commits {tx_id}, others {known}"));
            }
            return Ok(());
        }
        let mut chain = Vec::new();
        let mut at = tx_id;
        while at.seqno > self.committed() {
            let Some(known) = self.entries.get(&at) else {
                return violation("CommittedPrefix", format!("{who} commits {at}, which nobody wrote"));
            };
            chain.push((at, known.leaf));
            at = known.previous;
        }
        let last = self.committed.last().copied().unwrap_or_default();
        if at != last {
            return violation("CommittedPrefix", format!("{who} commits {tx_id} behind {at}, others {last}"));
        }
        if !self.entries.get(&tx_id).is_some_and(|known| known.committable) {
            return violation("CommitAtSignature", format!("{who} commits {tx_id}, which is no signature"));
        }
        for (tx_id, leaf) in chain.into_iter().rev() {
            self.committed.push(tx_id);
            self.tree.append(leaf);
            self.roots.push(self.tree.root());
        }
        Ok(())
    }

    /// The service begins anew behind `last`, with another secret: what is behind it is lost, and it counts as committed.
    pub(crate) fn recovered(&mut self, last: TxId, secret: Arc<LedgerSecret>) {
        let kept = usize::try_from(last.seqno.0).unwrap_or(usize::MAX);
        if self.committed.len() > kept {
            self.committed.truncate(kept);
            self.roots.truncate(kept);
            // A tree that was cut in memory: nothing was flushed from it.
            let _ = self.tree.retract(last.seqno.0);
        }
        // The way to it is known, or its ledger would not have been judged.
        let _ = self.commit("the recovered service", last);
        if let Some(known) = self.entries.get_mut(&last) {
            known.secret = secret;
        }
    }

    /// Whether these are exactly the bytes of the entry.
    pub(crate) fn is_exact(&self, entry: &LogEntry) -> bool {
        self.entries.get(&entry.tx_id).is_some_and(|known| known.bytes == entry.bytes)
    }

    /// The Merkle root over the committed entries up to this one.
    pub(crate) fn root(&self, seqno: SeqNo) -> Option<Digest> {
        self.roots.get(usize::try_from(seqno.0.checked_sub(1)?).ok()?).copied()
    }

    /// All secrets up to an entry.
    pub(crate) fn secrets(&self, up_to: TxId) -> LedgerSecrets {
        let mut all: Vec<Arc<LedgerSecret>> = Vec::new();
        let mut at = up_to;
        while let Some(known) = self.entries.get(&at) {
            if all.last().is_none_or(|newest| newest.from() != known.secret.from()) {
                all.push(Arc::clone(&known.secret));
            }
            at = known.previous;
        }
        all.push(Arc::clone(&self.first_secret));
        let mut secrets = LedgerSecrets::default();
        // Each secret of a chain is there once for each place, and the same.
        for secret in all.into_iter().rev() {
            let _ = secrets.add(secret);
        }
        secrets
    }

    /// The store holds what a naive replay up to `tx_id` gives; without `private` only its public part.
    pub(crate) fn compare(
        &self,
        who: &str,
        store: &Store,
        tx_id: TxId,
        private: bool,
    ) -> Result<(), Violation> {
        let Some(model) = self.model(tx_id) else { return Ok(()) };
        let state = store.state();
        let mut count = 0;
        for (name, map) in state.maps() {
            for record in map {
                count += 1;
                let expected = model.get(&(name.as_str().to_owned(), record.key.to_vec()));
                if expected.map(Vec::as_slice) != Some(record.value) {
                    let key = String::from_utf8_lossy(record.key).into_owned();
                    return violation(
                        "State",
                        format!("{who} at {tx_id}: {name} {key} is not what was written"),
                    );
                }
            }
        }
        let expected = model.keys().filter(|(name, _)| private || name.starts_with("public:")).count();
        if count != expected {
            return violation("State", format!("{who} at {tx_id} has {count} keys instead of {expected}"));
        }
        Ok(())
    }
}

fn same_but_for_flags(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.first() == other.first() && one.get(2..) == other.get(2..)
}

/// Applies an entry to a model, with the only secret that may open it; answers its leaf.
fn replay(bytes: &[u8], secret: &LedgerSecret, model: &mut Model) -> Result<Digest, String> {
    let entry = Entry::parse(bytes).map_err(|e| e.to_string())?;
    let own = LedgerSecret::new(secret.danger_raw(), secret.from(), None);
    let secrets = LedgerSecrets::new([own]).map_err(|e| e.to_string())?;
    let private = entry.decrypt(&secrets).map_err(|e| e.to_string())?;
    apply(entry.public_records(), model)?;
    apply(private.records(), model)?;
    Ok(entry.leaf())
}

fn apply(records: Records<'_>, model: &mut Model) -> Result<(), String> {
    let mut map = String::new();
    for record in records {
        match record.map_err(|e| e.to_string())? {
            Record::Map { name, .. } => name.clone_into(&mut map),
            Record::Write { key, value } => {
                model.insert((map.clone(), key.to_vec()), value.to_vec());
            }
            Record::Remove { key } => {
                model.remove(&(map.clone(), key.to_vec()));
            }
        }
    }
    Ok(())
}
