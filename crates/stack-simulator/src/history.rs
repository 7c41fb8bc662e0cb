//! What the judge knows: every entry that was ever in a log, the state after each by a naive replay, and what is committed.

use crate::{
    disk::LogEntry,
    versions::{Decided, Versions},
};
use ccf_kv::Store;
use ccf_ledger::{
    entry::{Entry, Record, Records},
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_simulator::Violation;
use ccf_types::{Digest, SeqNo, TxId};
use std::{collections::BTreeMap, sync::Arc};

/// All keys and values, by map and key.
pub(crate) type Model = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// An entry and what follows from it.
struct Known {
    versions: Versions,
    previous: TxId,
    committable: bool,
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
    decided: Decided,
    /// The entry behind which a recovered service began, and which version of it that had.
    base: Option<(SeqNo, usize)>,
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
            decided: Decided::default(),
            base: None,
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
        let behind_signature =
            previous == TxId::default() || self.entries.get(&previous).is_some_and(|known| known.committable);
        if let Some(known) = self.entries.get_mut(&tx_id) {
            let same = known.versions.note(&entry.bytes, known.committable, behind_signature);
            if !same || known.previous != previous {
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
        let leaf = replay(&entry.bytes, secret, &mut model).map_err(|reason| Violation {
            invariant: "Replay",
            details: format!("{tx_id} behind {previous}: {reason}"),
        })?;
        let secret = self.rekeys.get(&tx_id).unwrap_or(secret);
        let known = Known {
            versions: Versions::new(entry.bytes.clone(), leaf),
            previous,
            committable: entry.committable,
            secret: Arc::clone(secret),
            model: Arc::new(model),
        };
        self.entries.insert(tx_id, known);
        Ok(())
    }

    /// A node says that its entry `tx_id` is committed; those before it are in order. `log` is the node's log. The first
    /// one to commit a signature decides the versions of the entries before it: those of its log, over which the
    /// signature must be.
    pub(crate) fn commit(
        &mut self,
        who: &str,
        tx_id: TxId,
        log: &dyn Fn(SeqNo) -> Option<LogEntry>,
    ) -> Result<(), Violation> {
        if let Some(known) = self.committed_at(tx_id.seqno) {
            if known != tx_id {
                return violation("CommittedPrefix", format!("{who} commits {tx_id}, others {known}"));
            }
            return Ok(());
        }
        let chain = self.chain(who, tx_id)?;
        if !self.entries.get(&tx_id).is_some_and(|known| known.committable) {
            return violation("CommitAtSignature", format!("{who} commits {tx_id}, which is no signature"));
        }
        self.committed.extend(chain.into_iter().rev());
        for seqno in (self.decided.len() + 1..=tx_id.seqno.0).map(SeqNo) {
            let at = self.committed_at(seqno).unwrap_or_default();
            let known = self.entries.get(&at);
            let versions = known.map(|known| &known.versions);
            if known.is_some_and(|known| known.committable) {
                let signed = versions.and_then(Versions::signed_root);
                if signed != Some(self.decided.close(seqno)) {
                    return violation(
                        "Decided",
                        format!("{who} commits {at}, which is not over its own log"),
                    );
                }
            }
            if seqno == tx_id.seqno {
                break;
            }
            let of_log = || log(seqno).and_then(|entry| versions?.find(&entry.bytes));
            let of_base = || self.base.filter(|(base, _)| *base == seqno).map(|(_, version)| version);
            let version = of_log().or_else(of_base);
            let Some((version, leaf)) = version.and_then(|at| Some((at, versions?.leaf(at)?))) else {
                return violation("Decided", format!("{who} commits {tx_id} and has no {at}"));
            };
            self.decided.push(version, leaf);
        }
        Ok(())
    }

    /// What `tx_id` commits, newest first.
    fn chain(&self, who: &str, tx_id: TxId) -> Result<Vec<TxId>, Violation> {
        let mut chain = Vec::new();
        let mut at = tx_id;
        while at.seqno > self.committed() {
            let Some(known) = self.entries.get(&at) else {
                return violation("CommittedPrefix", format!("{who} commits {at}, which nobody wrote"));
            };
            chain.push(at);
            at = known.previous;
        }
        let last = self.committed.last().copied().unwrap_or_default();
        if at != last {
            return violation("CommittedPrefix", format!("{who} commits {tx_id} behind {at}, others {last}"));
        }
        Ok(chain)
    }

    /// The log of a node has, below the last committed signature in it, the decided version of each entry, to the last
    /// bit. `exact` is up to where this is known; answers up to where it is known now.
    pub(crate) fn check_decided(
        &self,
        who: &str,
        last: SeqNo,
        exact: SeqNo,
        log: &dyn Fn(SeqNo) -> Option<LogEntry>,
    ) -> Result<SeqNo, Violation> {
        let is_in_log =
            |seqno: SeqNo| log(seqno).is_some_and(|entry| self.committed_at(seqno) == Some(entry.tx_id));
        let Some(signature) =
            self.decided.signatures_up_to(last).take_while(|it| *it > exact).find(|it| is_in_log(*it))
        else {
            return Ok(exact);
        };
        for seqno in (exact.0 + 1..signature.0).map(SeqNo) {
            let Some(entry) = log(seqno) else { continue };
            let versions = self.entries.get(&entry.tx_id).map(|known| &known.versions);
            let found = versions.and_then(|versions| versions.find(&entry.bytes));
            if found.is_none() || found != self.decided.version(seqno) {
                return violation(
                    "Decided",
                    format!(
                        "{who} has another version of {} than the committed signature {signature} is over",
                        entry.tx_id
                    ),
                );
            }
        }
        Ok(signature.previous())
    }

    /// The service begins anew behind `last`, with another secret: what is behind it is lost, and it counts as committed.
    /// `ledger` is what was read of it.
    pub(crate) fn recovered(
        &mut self,
        last: TxId,
        secret: Arc<LedgerSecret>,
        ledger: &BTreeMap<SeqNo, LogEntry>,
    ) -> Result<(), Violation> {
        self.committed.truncate(usize::try_from(last.seqno.0).unwrap_or(usize::MAX));
        self.decided.truncate(last.seqno);
        self.commit("the recovered service", last, &|seqno| ledger.get(&seqno).cloned())?;
        if let Some(known) = self.entries.get_mut(&last) {
            let version = ledger.get(&last.seqno).and_then(|entry| known.versions.find(&entry.bytes));
            self.base = version.map(|version| (last.seqno, version));
            known.secret = secret;
        }
        Ok(())
    }

    /// Whether `root` is one over what is decided and a version of the committed signature `last` behind it.
    pub(crate) fn is_root_with(&self, last: TxId, root: &Digest) -> bool {
        let leaves = self.entries.get(&last).map(|known| known.versions.leaves());
        leaves
            .into_iter()
            .flatten()
            .any(|leaf| self.decided.root_with(last.seqno, leaf).as_ref() == Some(root))
    }

    /// The Merkle root over the entries before a committed signature, as it is signed.
    pub(crate) fn root_before(&self, signature: SeqNo) -> Option<Digest> {
        self.decided.root_before(signature)
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
