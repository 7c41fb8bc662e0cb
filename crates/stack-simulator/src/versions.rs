//! Versions of one entry, which differ in flags, and which of them is decided.
//!
//! The flags in the header of a signature, and of the entry behind it, are covered by the next signature only: somebody between
//! two nodes can change them, and logs may differ in them until then. The first *committed* signature over an entry decides
//! its version. After that nothing may differ by a single bit, in any log that has the signature and in any file.

use bytes::Bytes;
use ccf_ledger::{
    entry::{Entry, Flags},
    merkle::MerkleTree,
    signature::{NodeSignature, SignatureValues},
};
use ccf_types::{Digest, SeqNo};
use std::collections::BTreeMap;

/// Where the flags stand in an entry.
const FLAGS_AT: usize = 1;

/// All versions of an entry that were in some log, the first seen first.
pub(crate) struct Versions(Vec<(Bytes, Digest)>);

impl Versions {
    pub(crate) fn new(bytes: Bytes, leaf: Digest) -> Versions {
        Versions(vec![(bytes, leaf)])
    }

    /// Notes another version. False if it is no version of this entry.
    pub(crate) fn note(&mut self, bytes: &Bytes, is_signature: bool, behind_signature: bool) -> bool {
        if self.find(bytes).is_some() {
            return true;
        }
        let may_differ = match (is_signature, behind_signature) {
            (true, _) => Flags::CHUNK_AFTER.with(Flags::CHUNK_BEFORE),
            (false, true) => Flags::CHUNK_BEFORE,
            (false, false) => Flags::NONE,
        };
        let Some((first, _)) = self.0.first() else { return false };
        let flags = |bytes: &[u8]| bytes.get(FLAGS_AT).copied().unwrap_or_default();
        let same = first.len() == bytes.len()
            && first.get(..FLAGS_AT) == bytes.get(..FLAGS_AT)
            && first.get(FLAGS_AT + 1..) == bytes.get(FLAGS_AT + 1..)
            && (flags(first) ^ flags(bytes)) & !may_differ.bits() == 0;
        let leaf = Entry::parse(bytes).ok().filter(|_| same).map(|entry| entry.leaf());
        self.0.extend(leaf.map(|leaf| (bytes.clone(), leaf)));
        leaf.is_some()
    }

    /// Which version these bytes are.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.iter().position(|(known, _)| known == bytes)
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = Digest> {
        self.0.iter().map(|(_, leaf)| *leaf)
    }

    pub(crate) fn leaf(&self, version: usize) -> Option<Digest> {
        self.0.get(version).map(|(_, leaf)| *leaf)
    }

    /// What a signature says that it signs: the same in all versions.
    pub(crate) fn signed_root(&self) -> Option<Digest> {
        let entry = Entry::parse(&self.0.first()?.0).ok()?;
        let values = SignatureValues::of(&entry).ok()??;
        Some(NodeSignature::from_json(values.signatures?).ok()?.root)
    }
}

/// What committed signatures are over.
#[derive(Default)]
pub(crate) struct Decided {
    /// For each entry, from the first on, which version it is.
    versions: Vec<usize>,
    tree: MerkleTree,
    /// Committed signatures, with the root over the entries before.
    roots: BTreeMap<SeqNo, Digest>,
}

impl Decided {
    /// How many entries are decided: all before the last committed signature.
    pub(crate) fn len(&self) -> u64 {
        self.versions.len() as u64
    }

    /// The version of the next entry.
    pub(crate) fn push(&mut self, version: usize, leaf: Digest) {
        self.versions.push(version);
        self.tree.append(leaf);
    }

    /// A committed signature stands behind what is decided. Answers the root that it must have signed.
    pub(crate) fn close(&mut self, signature: SeqNo) -> Digest {
        let root = self.tree.root();
        self.roots.insert(signature, root);
        root
    }

    /// Only what is before the signature `last` stays decided, and it is not closed any more.
    pub(crate) fn truncate(&mut self, last: SeqNo) {
        let kept = last.previous();
        self.versions.truncate(usize::try_from(kept.0).unwrap_or(usize::MAX));
        // A tree that was cut in memory: nothing was flushed from it.
        let _ = self.tree.retract(kept.0);
        self.roots.retain(|signature, _| *signature <= last);
    }

    /// Which version of an entry it is.
    pub(crate) fn version(&self, seqno: SeqNo) -> Option<usize> {
        self.versions.get(usize::try_from(seqno.0.checked_sub(1)?).ok()?).copied()
    }

    /// Committed signatures up to an entry, the newest first.
    pub(crate) fn signatures_up_to(&self, seqno: SeqNo) -> impl Iterator<Item = SeqNo> {
        self.roots.range(..=seqno).rev().map(|(signature, _)| *signature)
    }

    /// The root over the decided entries before `last` and this leaf.
    pub(crate) fn root_with(&self, last: SeqNo, leaf: Digest) -> Option<Digest> {
        if self.len() < last.previous().0 {
            return None;
        }
        let mut tree = self.tree.clone();
        tree.retract(last.previous().0).ok()?;
        tree.append(leaf);
        Some(tree.root())
    }

    pub(crate) fn root_before(&self, signature: SeqNo) -> Option<Digest> {
        self.roots.get(&signature).copied()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        disk::{Disk, LogEntry},
        history::History,
        identities,
    };
    use bytes::Bytes;
    use ccf_ledger::{
        entry::{DomainEncoder, Entry, EntryContext, Flags, seal},
        merkle::MerkleTree,
        secrets::LedgerSecret,
        signature::{SignatureTransaction, Signer, SigningMode},
    };
    use ccf_node::replication::DiskProgress;
    use ccf_types::{Digest, MapName, SeqNo, TxId};
    use std::{collections::BTreeSet, fs, sync::Arc};

    fn secret() -> LedgerSecret {
        LedgerSecret::new(&[7; 32], SeqNo(1), None)
    }

    fn sealed(encoder: &mut DomainEncoder, seqno: u64, committable: bool) -> LogEntry {
        let (tx_id, secret) = (TxId::new(2, seqno), secret());
        let context =
            EntryContext { tx_id, flags: Flags::NONE, claims_digest: Digest::ZERO, secret: &secret };
        LogEntry { tx_id, bytes: seal(encoder, &context).unwrap().bytes.into(), committable }
    }

    /// An ordinary entry.
    fn plain(seqno: u64) -> LogEntry {
        let mut encoder = DomainEncoder::new();
        encoder.map(&MapName::from_static("public:anything"), 1, 0);
        encoder.write(b"key", &seqno.to_le_bytes());
        sealed(&mut encoder, seqno, false)
    }

    /// A signature over `log`.
    fn signature(log: &[LogEntry]) -> LogEntry {
        let mut tree = MerkleTree::new();
        log.iter().for_each(|entry| tree.append(Entry::parse(&entry.bytes).unwrap().leaf()));
        let keys = &identities::of_seed(1)[0];
        let signer = Signer {
            node_id: &keys.id,
            node_certificate: &keys.certificate.to_pem(),
            node_key: &keys.key,
            service_key: &keys.service.key,
            claims: &Default::default(),
        };
        let tx_id = TxId::new(2, log.len() as u64 + 1);
        let signed =
            SignatureTransaction::sign(&signer, SigningMode::Dual, tx_id, &tree.root(), tree.to_blob(), 0);
        let mut encoder = DomainEncoder::new();
        signed.unwrap().encode(&mut encoder);
        sealed(&mut encoder, tx_id.seqno.0, true)
    }

    fn flagged(entry: &LogEntry, flags: Flags) -> LogEntry {
        let mut bytes = entry.bytes.to_vec();
        bytes[1] = flags.bits();
        LogEntry { bytes: bytes.into(), ..entry.clone() }
    }

    type Log = Vec<LogEntry>;

    /// The log of the primary, 2.1 and the signature 2.2; and that of a backup on whose way the flags of 2.2 were changed, which
    /// then became primary and signed what it had.
    fn logs() -> (Log, Log) {
        let mut first = vec![plain(1)];
        first.push(signature(&first));
        let mut other = vec![first[0].clone(), flagged(&first[1], Flags::CHUNK_AFTER)];
        other.push(plain(3));
        other.push(signature(&other));
        (first, other)
    }

    fn observed(logs: &[&Log]) -> Result<History, String> {
        let mut history = History::new(Arc::new(secret()));
        for log in logs {
            let mut previous = TxId::default();
            for entry in *log {
                history.observe(previous, entry).map_err(|violation| violation.details)?;
                previous = entry.tx_id;
            }
        }
        Ok(history)
    }

    fn at(log: &Log) -> impl Fn(SeqNo) -> Option<LogEntry> {
        |seqno| log.get(usize::try_from(seqno.0 - 1).ok()?).cloned()
    }

    fn commits(history: &mut History, log: &Log, seqno: u64) -> bool {
        history.commit("x", TxId::new(2, seqno), &at(log)).is_ok()
    }

    fn exact(history: &History, log: &Log) -> Option<u64> {
        let last = SeqNo(log.len() as u64);
        history.check_decided("x", last, SeqNo::NONE, &at(log)).ok().map(|exact| exact.0)
    }

    #[test]
    fn flags_of_a_signature_may_differ_until_the_next_one_is_committed() {
        let (first, other) = logs();
        let mut history = observed(&[&first, &other]).unwrap();
        assert!(commits(&mut history, &first, 2), "over 2.1, which is the same");
        assert_eq!((exact(&history, &first), exact(&history, &other)), (Some(1), Some(1)));
        assert!(commits(&mut history, &other, 4), "it decides the version of 2.2");
        assert_eq!(exact(&history, &other), Some(3));
        assert_eq!(exact(&history, &first), Some(1), "this one does not have the signature yet");
    }

    #[test]
    fn a_log_with_another_version_of_what_is_decided_is_a_violation() {
        let (first, other) = logs();
        let mut history = observed(&[&first, &other]).unwrap();
        assert!(commits(&mut history, &other, 4));
        let behind: Log = first.iter().chain(&other[2..]).cloned().collect();
        assert_eq!(exact(&history, &behind), None, "the signature is there, and the log does not fit it");
    }

    #[test]
    fn a_signature_that_is_not_over_the_log_that_commits_it_is_a_violation() {
        let (first, other) = logs();
        let mut history = observed(&[&first, &other]).unwrap();
        let behind: Log = first.iter().chain(&other[2..]).cloned().collect();
        assert!(!commits(&mut history, &behind, 4));
    }

    #[test]
    fn two_committed_signatures_over_different_versions_are_a_violation() {
        let (first, other) = logs();
        let mut third: Log = first.iter().chain(&other[2..]).cloned().collect();
        third.push(signature(&third));
        let mut history = observed(&[&first, &other, &third]).unwrap();
        assert!(commits(&mut history, &other, 4));
        assert!(!commits(&mut history, &third, 5));
    }

    #[test]
    fn nothing_else_may_differ() {
        let (first, other) = logs();
        let with = |at: usize, entry: LogEntry| {
            let mut log = other.clone();
            log[at] = entry;
            observed(&[&first, &other, &log]).is_ok()
        };
        let (after, before) = (Flags::CHUNK_AFTER, Flags::CHUNK_BEFORE);
        assert!(with(1, flagged(&other[1], after.with(before))), "a signature");
        assert!(with(2, flagged(&other[2], before)), "the entry behind one, where a chunk may begin");
        assert!(!with(2, flagged(&other[2], after)), "but none may end");
        for byte in 2..other[1].bytes.len() {
            let mut bytes = other[1].bytes.to_vec();
            bytes[byte] ^= 1;
            assert!(!with(1, LogEntry { bytes: bytes.into(), ..other[1].clone() }), "byte {byte}");
        }
        let mut longer = other.clone();
        longer.push(plain(5));
        let mut changed = longer.clone();
        changed.push(plain(6));
        let mut wrong = changed.clone();
        wrong[5] = flagged(&wrong[5], before);
        assert!(observed(&[&changed]).is_ok());
        assert!(observed(&[&changed, &wrong]).is_err(), "an entry that is not behind a signature");
    }

    /// The log of a disk that has written it, and what its file is.
    fn written() -> (Disk, Log, std::path::PathBuf) {
        let disk = Disk::create(Arc::new(DiskProgress::default())).unwrap();
        let (_, other) = logs();
        let entries: Vec<(Bytes, bool)> =
            other.iter().map(|entry| (entry.bytes.clone(), entry.committable)).collect();
        disk.sink().append(entries, TxId::new(2, 4));
        disk.sink().commit(SeqNo(4));
        while disk.is_busy() {
            disk.work().unwrap();
        }
        let file = disk.directory().join("ledger_1-2.committed");
        (disk, other, file)
    }

    #[test]
    fn a_changed_bit_in_a_file_is_found_wherever_it_is() {
        let (disk, _, file) = written();
        assert_eq!(disk.check_files(), Ok(()));
        let good = fs::read(&file).unwrap();
        for at in 8..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert!(disk.check_files().is_err(), "byte {at}");
        }
        fs::write(&file, &good).unwrap();
        assert_eq!(disk.check_files(), Ok(()));
    }

    #[test]
    fn a_file_that_should_have_been_mended_is_found() {
        let (disk, other, _) = written();
        // The log is told another version, the files keep what they have.
        let mut log = vec![other[0].clone(), flagged(&other[1], Flags::NONE), plain(3)];
        log.push(signature(&log));
        assert!(crate::files::check(disk.directory(), &log, SeqNo(4), &BTreeSet::new()).is_err());
        // Mended, the chunk goes on behind the signature, and the file has no final name any more.
        let entries = log.iter().map(|entry| (entry.bytes.clone(), entry.committable)).collect();
        disk.sink().rewrite(SeqNo::NONE, entries, TxId::new(2, 4));
        assert!(disk.is_mending());
        disk.work().unwrap();
        assert_eq!(disk.check_files(), Ok(()));
        assert!(!disk.directory().join("ledger_1-2.committed").exists());
    }
}
