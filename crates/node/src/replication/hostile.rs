//! What peers may send, put before a real log: entrances for fuzz targets and tests, no part of the interface. Each must
//! return without a panic.

use super::{LogParts, disk::LedgerSink, log::NodeLog};
use crate::snapshots::Snapshots;
use bytes::Bytes;
use ccf_consensus::{BackupStart, Configuration, Input, Log, Message, Replica, Settings};
use ccf_governance::tables;
use ccf_kv::Store;
use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, seal},
    files::LedgerReader,
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
    tables::{COSE_SIGNATURES, SIGNATURES, UNIT_KEY},
};
use ccf_types::{Digest, MapName, NodeId, SeqNo, TxId, View};
use std::{path::Path, sync::Arc};

/// A disk that takes everything and keeps nothing.
pub(super) struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&self, _: Vec<(Bytes, bool)>, _: TxId) {}
    fn truncate(&self, _: TxId) {}
    fn rewrite(&self, _: SeqNo, _: Vec<(Bytes, bool)>, _: TxId) {}
    fn commit(&self, _: SeqNo) {}
    fn finish_recovery(&self) {}
    fn finish(self: Box<Self>) {}
}

/// An empty log that knows one secret; or, with `public_only`, none.
pub(super) fn empty_log(public_only: bool) -> (NodeLog, LogParts) {
    let store = Store::new();
    let mut secrets = LedgerSecrets::default();
    let _ = secrets.add(Arc::new(secret()));
    store.on_local(tables::NODES.name(), Arc::new(crate::log_hooks::reconfigure));
    let parts = || LogParts {
        store: store.clone(),
        secrets: Arc::default(),
        retired: Arc::default(),
        check_secrets: Box::new(|_, _| Ok(())),
        links: Arc::default(),
        public_only: Arc::default(),
        disk: Box::new(Nowhere),
        reader: LedgerReader::new(Path::new("no such directory"), &[]),
        tree: MerkleTree::new(),
        chunk_bytes: 1000,
        snapshots: Snapshots::never(),
        recent: Arc::default(),
    };
    let mut shared = parts();
    shared.public_only.store(public_only, std::sync::atomic::Ordering::Release);
    *shared.secrets.write() = secrets;
    let kept = LogParts {
        secrets: Arc::clone(&shared.secrets),
        retired: Arc::clone(&shared.retired),
        links: Arc::clone(&shared.links),
        public_only: Arc::clone(&shared.public_only),
        ..parts()
    };
    shared.disk = Box::new(Nowhere);
    (NodeLog::new(shared, TxId::default()), kept)
}

pub(super) fn secret() -> LedgerSecret {
    LedgerSecret::new(&[7; 32], SeqNo(1), None)
}

/// Entries of a primary that lies. The first byte chooses: the rest is an entry, or what a correct entry writes to one of the
/// tables that nodes read, or says where a correct entry is changed.
pub fn entries(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (nodes, service) = (tables::NODES, tables::SERVICE_INFO);
    let own = [&SIGNATURES, &COSE_SIGNATURES, nodes.name(), service.name()];
    let plain = MapName::from_static("public:anything");
    let bytes = match kind % 8 {
        0 => rest.to_vec(),
        kind @ 1..=4 => {
            let map = own.get(usize::from(kind - 1)).copied().unwrap_or(&plain);
            sealed(map, rest, TxId::new(2, 1))
        }
        _ => {
            let mut bytes = sealed(&plain, b"value", TxId::new(2, 1));
            for pair in rest.chunks_exact(2) {
                let at = usize::from(pair.first().copied().unwrap_or_default()) % bytes.len().max(1);
                if let (Some(byte), Some(change)) = (bytes.get_mut(at), pair.get(1)) {
                    *byte ^= change;
                }
            }
            bytes
        }
    };
    for public_only in [false, true] {
        let (mut log, parts) = empty_log(public_only);
        let len = log.entry_len(&bytes);
        let applied = log.apply(TxId::new(2, 1), &bytes);
        let expected = if applied.is_ok() { TxId::new(2, 1) } else { TxId::default() };
        // A refused entry changes nothing.
        assert_eq!((log.last(), parts.store.tx_id().seqno), (expected, expected.seqno));
        assert_eq!(log.tree.len(), 1 + expected.seqno.0);
        assert!(applied.is_err() || len == Some(bytes.len()));
    }
}

pub(super) fn sealed(map: &MapName, value: &[u8], tx_id: TxId) -> Vec<u8> {
    let mut encoder = DomainEncoder::new();
    encoder.map(map, 1, 0);
    encoder.write(UNIT_KEY.as_slice(), value);
    let secret = secret();
    let context = EntryContext { tx_id, flags: Flags::NONE, claims_digest: Digest::ZERO, secret: &secret };
    seal(&mut encoder, &context).map(|sealed| sealed.bytes).unwrap_or_default()
}

/// Messages of peers, as they come out of a channel, to a backup of three nodes with a real log. Each is: who sends (one
/// byte), the length of the message (one byte), the message, the length of the entries (one byte), the entries.
pub fn messages(data: &[u8]) {
    let ids = ["0", "1", "2", "9"].map(NodeId::from_text);
    let (mut log, _parts) = empty_log(false);
    let settings =
        Settings { message_timeout_ms: 10, election_timeout_ms: 100, seed: 1, ..Settings::default() };
    let mut replica = Replica::new(NodeId::from_text("0"), settings);
    let nodes = ids.iter().take(3).map(|id| (id.clone(), Arc::from("127.0.0.1:1"))).collect();
    let configuration = Some(Configuration { seqno: SeqNo::NONE, nodes });
    let start = BackupStart { view: View(2), configuration, ..BackupStart::default() };
    let mut out = Vec::new();
    replica.start_backup(start, &mut log, &mut out);
    let mut rest = data;
    let mut part = |len: usize| {
        let (head, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        head.to_vec()
    };
    loop {
        let Some([who]) = part(1).first_chunk::<1>().copied() else { return };
        let len = part(1).first().copied().unwrap_or_default();
        let message = part(usize::from(len));
        let len = part(1).first().copied().unwrap_or_default();
        let entries = part(usize::from(len));
        if who >= 128 {
            replica.step(Input::Tick(u64::from(who)), &mut log, &mut out);
        }
        if let (Ok(message), Some(from)) = (Message::decode(&message), ids.get(usize::from(who % 4))) {
            replica.step(Input::Receive { from, message, entries: &entries }, &mut log, &mut out);
        }
        assert_eq!(replica.last().seqno, log.last().seqno);
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_consensus::ElectionForm;
    use ccf_consensus::{AppendEntries, RequestVote, VoteResponse};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn any_entry_is_judged(kind in 0..8u8, rest in prop::collection::vec(any::<u8>(), 0..120)) {
            entries(&[&[kind], rest.as_slice()].concat());
        }

        /// Well-formed messages with wild numbers, and any bytes.
        #[test]
        fn any_message_is_judged(
            sent in prop::collection::vec((any::<u8>(), 0..5u8, prop::array::uniform4(0..6u64), any::<bool>()), 0..30),
            noise in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut data = Vec::new();
            for (who, kind, [view, a, b, c], huge) in sent {
                let view = View(if huge { u64::MAX - view } else { view });
                let at = |seqno| TxId { view, seqno: SeqNo(seqno) };
                let message = match kind {
                    0 => Message::AppendEntries(AppendEntries { last: at(a), previous: at(b), view, commit: SeqNo(c) }),
                    1 => Message::RequestVote(RequestVote { view, last_committable: at(a) }),
                    2 => Message::RequestPreVote(RequestVote { view, last_committable: at(a) }),
                    3 => Message::RequestVoteResponse(VoteResponse { view, granted: a > 2 }),
                    _ => Message::ProposeRequestVote(view),
                };
                let bytes = message.encode(ElectionForm::Release);
                let mut entries = Vec::new();
                for seqno in b + 1..=a {
                    let value = [u8::try_from(seqno).unwrap_or_default()];
                    entries.extend(sealed(&MapName::from_static("public:x"), &value, at(seqno)));
                }
                entries.truncate(255);
                data.push(who);
                data.push(u8::try_from(bytes.len()).unwrap_or_default());
                data.extend(bytes);
                data.push(u8::try_from(entries.len()).unwrap_or_default());
                data.extend(entries);
            }
            messages(&data);
            messages(&noise);
        }
    }

    /// Q17 at the boundary of secrets: a rekey that was executed and never logged must leave nothing behind, or the node
    /// encrypts what nobody can read once it leads again.
    #[test]
    fn q17_the_secret_of_a_dropped_rekey_is_forgotten() {
        let (mut log, parts) = empty_log(false);
        let secrets = Arc::clone(&parts.secrets);
        let map = MapName::from_static("public:rekey");
        let hooked = Arc::clone(&secrets);
        parts.store.on_local(
            &map,
            Arc::new(move |context, _| {
                let from = context.tx_id().seqno.next();
                let new =
                    Arc::new(LedgerSecret::new(&[u8::try_from(from.0).unwrap_or_default(); 32], from, None));
                hooked.write().add(Arc::clone(&new)).expect("one rekey at a place");
                context.set_context(new);
            }),
        );
        let rekey = || {
            let tx = parts.store.begin();
            tx.raw(&map).put(b"k".to_vec(), b"v".to_vec());
            tx.commit().expect("primary").into_written().expect("it wrote");
        };
        let latest = || secrets.read().latest().map(|secret| secret.from());
        log.lead(View(2));
        rekey();
        assert_eq!(latest(), Some(SeqNo(2)));
        // The primary steps down before the entry is in the log.
        log.follow(View(2));
        assert_eq!((latest(), parts.store.version()), (Some(SeqNo(1)), SeqNo(0)));
        // The same with a rollback that has nothing to drop from the log.
        log.lead(View(3));
        rekey();
        log.rollback(TxId::default(), View(4));
        assert_eq!((latest(), parts.store.version()), (Some(SeqNo(1)), SeqNo(0)));
    }

    /// Flags are not encrypted with the entry: a changed one must not reach the ledger files, which it would break.
    #[test]
    fn a_plain_entry_that_ends_a_chunk_is_refused() {
        let plain = MapName::from_static("public:anything");
        for (flags, first) in [(1, false), (2, true), (3, false)] {
            let (mut log, _parts) = empty_log(false);
            let mut bytes = sealed(&plain, b"value", TxId::new(2, 1));
            bytes[1] = flags;
            assert_eq!(log.apply(TxId::new(2, 1), &bytes).is_ok(), first, "{flags}");
            if first {
                let mut bytes = sealed(&plain, b"value", TxId::new(2, 2));
                bytes[1] = flags;
                assert!(log.apply(TxId::new(2, 2), &bytes).is_err(), "only behind a signature");
            }
        }
    }
}
