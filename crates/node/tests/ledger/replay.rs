//! Replays of ledgers of our own and of CCF's.

use crate::service::TestService;
use ccf_kv::{State, Store};
use ccf_ledger::{
    entry::Flags,
    files::{LedgerReader, LedgerWriter, list_chunks},
    secrets::LedgerSecrets,
};
use ccf_node::replay::{ReplayOutcome, ReplayPlan, ReplayState, replay_into};
use ccf_types::{Domain, MapName, SeqNo};
use std::{fs, path::Path};

const CHUNK_BYTES: u64 = 5 << 20;

pub(crate) fn replay(
    reader: &LedgerReader,
    secrets: Option<&LedgerSecrets>,
    to: Option<u64>,
) -> (Store, ReplayOutcome) {
    let store = Store::new();
    let plan = ReplayPlan { reader, secrets, to: to.map(SeqNo), threads: 2 };
    let outcome = replay_into(&store, ReplayState::new(CHUNK_BYTES), &plan, &mut |_| {});
    (store, outcome)
}

pub(crate) type Flat = Vec<(String, u64, Vec<(Vec<u8>, u64, Vec<u8>)>)>;

pub(crate) fn flatten(state: &State, private: bool) -> Flat {
    let maps = state.maps().into_iter().filter(|(name, _)| private || name.domain() == Domain::Public);
    maps.map(|(name, map)| {
        let records = map.iter().map(|r| (r.key.to_vec(), r.version.0, r.value.to_vec()));
        (name.to_string(), map.version().0, records.collect())
    })
    .collect()
}

/// A service with some chunks: 8 transactions, a signature that ends the chunk, and so on; then an unsigned tail.
pub(crate) fn service(directory: &Path) -> TestService {
    let mut service = TestService::new(directory, |_| {});
    let (public, private) = (MapName::from_static("public:records"), MapName::from_static("records"));
    for chunk in 0..4u8 {
        for number in 0..4u8 {
            service.put(&public, &[number], &[chunk, number]);
            service.put(&private, &[number], &[chunk; 20]);
        }
        let (signature, _) = service.sign(Flags::CHUNK_AFTER, false);
        service.commit_up_to(signature.seqno);
    }
    for number in 0..3 {
        service.put(&private, &[number], b"not signed");
    }
    service.writer.flush().expect("flushed");
    service
}

#[test]
fn the_state_of_the_last_signature_comes_back() {
    let directory = tempfile::tempdir().expect("temporary");
    let service = service(directory.path());
    let (signed, total) = (SeqNo(service.last().seqno.0 - 3), service.last().seqno);
    let reader = service.writer.reader();
    let secrets = service.secrets();
    for secrets in [None, Some(&secrets)] {
        let (store, outcome) = replay(&reader, secrets, None);
        assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
        assert_eq!(outcome.state.last.seqno, signed);
        assert_eq!(outcome.discarded, total.0 - signed.0);
        assert_eq!((store.tx_id(), store.committed()), (outcome.state.last, signed));
        assert_eq!(outcome.state.view_history, service.view_starts());
        assert_eq!(Some(outcome.state.tree.root()), service.tree.root_of(signed.0 + 1).ok());
        assert_eq!(outcome.state.chunks.last(), signed);
        // The tail wrote private maps only.
        let expected = flatten(&service.store.state(), false);
        assert_eq!(flatten(&store.state(), false), expected);
    }
    let (store, _) = replay(&reader, Some(&secrets), None);
    let private = MapName::from_static("records");
    let state = store.state();
    let record = state.map(&private).and_then(|map| map.get(&[2]).map(|r| r.value.to_vec()));
    assert_eq!(record, Some(vec![3; 20]));
}

/// What a replay gives is what the store had, at every point; and a replay in two parts is one in one.
#[test]
fn replays_end_where_they_are_told_and_go_on_from_there() {
    let directory = tempfile::tempdir().expect("temporary");
    let service = service(directory.path());
    let (reader, secrets) = (service.writer.reader(), service.secrets());
    let (whole, all) = replay(&reader, Some(&secrets), None);
    for to in 1..=all.state.last.seqno.0 {
        let (store, outcome) = replay(&reader, Some(&secrets), Some(to));
        assert!(outcome.state.last.seqno.0 <= to && outcome.stopped.is_none());
        let plan = ReplayPlan { reader: &reader, secrets: Some(&secrets), to: None, threads: 1 };
        let mut seen = Vec::new();
        let rest = replay_into(&store, outcome.state, &plan, &mut |progress| seen.push(progress.verified));
        assert_eq!(rest.state.last, all.state.last, "{to}");
        assert_eq!(rest.state.tree.root(), all.state.tree.root());
        assert_eq!(flatten(&store.state(), true), flatten(&whole.state(), true));
        assert_eq!(seen.last(), Some(&all.state.last.seqno));
    }
}

/// Bytes of every file, flipped one at a time in a public replay: what comes out is a prefix that a signature vouches for,
/// never anything else, and the reason lies in that file.
#[test]
fn a_flipped_byte_ends_the_replay_before_it() {
    let directory = tempfile::tempdir().expect("temporary");
    let service = service(directory.path());
    drop(service.writer);
    let (reference, _) = replay(&LedgerReader::new(directory.path(), &[]), None, None);
    // Nothing vouches yet for what the last signature itself wrote.
    let vouched = |store: &Store| {
        let mut maps = flatten(&store.state(), false);
        maps.retain(|map| !map.0.starts_with("public:ccf.internal."));
        maps
    };
    let reference = vouched(&reference);
    let mut stopped = 0;
    for chunk in list_chunks(directory.path()).expect("listed").iter().filter(|chunk| chunk.name.committed) {
        let good = fs::read(&chunk.path).expect("read");
        for at in (0..good.len()).step_by(31) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&chunk.path, &bad).expect("written");
            let (store, outcome) = replay(&LedgerReader::new(directory.path(), &[]), None, None);
            let state = vouched(&store);
            if let Some(stop) = &outcome.stopped {
                stopped += 1;
                // It is told of an entry of this file, so that an operator replaces the right one.
                let file = chunk.name.start..=chunk.name.end.expect("committed");
                assert!(file.contains(&stop.seqno), "byte {at} of {}: {stop}", chunk.name);
                // As far as a signature before. (The tree written by the signature itself is covered by the next one.)
                assert!(outcome.state.last.seqno <= chunk.name.end.expect("committed"), "byte {at}");
            } else {
                assert!(state == reference, "byte {at} of {}", chunk.name);
            }
        }
        fs::write(&chunk.path, &good).expect("written");
    }
    assert!(stopped > 50, "{stopped}");
}

/// Real ledgers of CCF, all that is signed in them.
#[test]
fn real_ledgers_replay_to_their_last_signature() {
    for (name, last) in [
        ("acme_containing_service", "2.22"),
        ("cose_flipflop_service", "2.46"),
        ("expired_service", "4.74"),
        ("sgx_service", "8.153"),
    ] {
        let archive = format!("{}/../../testdata/ledgers/{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let unpacked = tempfile::tempdir().expect("temporary");
        let file = fs::File::open(archive).expect("the archive is in the tree");
        tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(unpacked.path()).expect("unpacks");
        let ledger = unpacked.path().join(name).join("ledger");
        let writer = LedgerWriter::open(&ledger, &[], &mut Vec::new()).expect("opens");
        let (store, outcome) = replay(&writer.reader(), None, None);
        assert!(outcome.stopped.is_none(), "{name}: {:?}", outcome.stopped);
        assert_eq!(outcome.state.last.to_string(), last, "{name}");
        assert_eq!(store.tx_id().to_string(), last);
    }
}
