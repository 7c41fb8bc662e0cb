//! What judges say about the ledgers of several nodes.

use crate::{member_node::MemberNode, shell};
use ccf_crypto::hash::sha256;
use ccf_ledger::files::{Block, ChunkReader, list_chunks};
use ccf_types::{Digest, SeqNo, TxId};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// Our verifier must accept a ledger to its last entry, and the PyPI package as far as it reads, and both must agree on
/// how far that is. `earlier` are folders with what lies before the first entry of a node that began from a snapshot.
pub(crate) fn must_be_accepted(ledger: &Path, earlier: &[PathBuf], service_certificate: &Path) {
    let ours = |flags: &[&str]| -> Value {
        let mut command = Command::new(shell::ccf());
        command.args(["ledger", "verify", "--json", "--service-cert"]).arg(service_certificate);
        let text = shell::run(command.args(flags).arg(ledger).args(earlier));
        let verdict: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(verdict["verified"], true, "{}: {verdict}", ledger.display());
        verdict
    };
    let mut compared = ours(&["--uncommitted"]);
    let mut python = Command::new(shell::python_tool("read_ledger.py"));
    python.args(["--verification-level", "FULL", "-q"]);
    // A chunk that was filled just before the end may stand before the last one, uncommitted too; the package reads one
    // uncommitted chunk at most.
    let uncommitted = list_chunks(ledger).unwrap().iter().filter(|chunk| !chunk.name.committed).count();
    if uncommitted <= 1 {
        python.arg("--uncommitted");
    } else {
        compared = ours(&[]);
    }
    let theirs = shell::run(python.arg(ledger).args(earlier));
    let last = theirs.trim().lines().last().unwrap().to_owned();
    let whole = compared["transactions"].as_u64().unwrap();
    let tail = compared["uncommitted_tail"].as_u64().unwrap();
    // The package also counts what it read behind the last signature.
    let said = |transactions: u64| {
        let (signatures, until) = (&compared["signatures"], compared["until"].as_str().unwrap());
        format!("Verified FULL - {transactions} transactions, {signatures} signatures, until {until}")
    };
    let expected = [said(whole), said(whole + tail)];
    let agreed = expected.iter().any(|expected| last.contains(expected));
    assert!(agreed, "{}: theirs: {last}\nours:   {}, {tail} behind it", ledger.display(), expected[0]);
}

/// A digest of each entry of a ledger folder.
pub(crate) fn entries(ledger: &Path) -> BTreeMap<SeqNo, Digest> {
    let mut entries = BTreeMap::new();
    for chunk in list_chunks(ledger).unwrap() {
        let mut reader = ChunkReader::open(&chunk).unwrap();
        let mut block = Block::default();
        while reader.next_block(&mut block).unwrap() {
            for (seqno, _, bytes) in block.entries() {
                let before = entries.insert(seqno, sha256(bytes));
                assert!(before.is_none(), "{}: {seqno} stands twice", ledger.display());
            }
        }
    }
    entries
}

/// The ledgers hold the same bytes, each from its first entry up to what its node knew to be committed.
pub(crate) fn must_be_identical(nodes: &[(&MemberNode, TxId)]) {
    let ledgers: Vec<_> =
        nodes.iter().map(|(node, commit)| (node.index, *commit, entries(&node.ledger()))).collect();
    let (_, _, reference) =
        ledgers.iter().max_by_key(|(_, commit, ledger)| (ledger.contains_key(&SeqNo(1)), *commit)).unwrap();
    for (index, commit, ledger) in &ledgers {
        let (first, last) = (ledger.keys().next().unwrap(), ledger.keys().next_back().unwrap());
        assert_eq!(ledger.len() as u64, last.0 - first.0 + 1, "node {index}: the ledger has gaps");
        assert!(*last >= commit.seqno, "node {index} knew {commit} to be committed, and has {last}");
        for (seqno, digest) in ledger.range(..=commit.seqno) {
            assert_eq!(Some(digest), reference.get(seqno), "node {index}: entry {seqno} differs");
        }
    }
}
