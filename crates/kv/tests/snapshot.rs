//! States written as snapshots and read again; real snapshots reproduced byte for byte.

use ccf_kv::{State, StateBuilder, StateError};
use ccf_ledger::{
    entry::EntryError,
    files::{FileError, SnapshotWriter, delete_unfinished_snapshots, list_snapshots},
    secrets::{LedgerSecret, LedgerSecrets},
    snapshot::{Snapshot, SnapshotHead},
};
use ccf_types::{Digest, MapName, SeqNo, TxId};
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, path::Path};

fn secret(hex_text: &str) -> LedgerSecret {
    let raw: Vec<u8> = hex::decode(hex_text).expect("hex");
    LedgerSecret::new(&raw.try_into().expect("32 bytes"), SeqNo(1), None)
}

fn write(directory: &Path, state: &State, head: &SnapshotHead, secret: &LedgerSecret) -> Vec<u8> {
    let mut writer = SnapshotWriter::create(directory, head, secret).expect("created");
    state.write_to(&mut writer).expect("written");
    let written = writer.finish().expect("finished");
    let (digest, bytes) = (written.digest(), written.bytes());
    let path = written.commit(head.seqno.next(), b"\xd2receipt").expect("named");
    let file = fs::read(path).expect("read");
    let (frame, receipt) = file.split_at(usize::try_from(bytes).expect("small"));
    assert_eq!(receipt, b"\xd2receipt");
    assert_eq!(Snapshot::read(file.as_slice()).expect("valid").digest(), digest);
    frame.to_vec()
}

/// Reads a real snapshot into a state and writes that state again.
#[test]
fn real_snapshots_are_reproduced_byte_for_byte() {
    let expired = "f7ff83c98af00b268a9f6ec42cb350e751565a589378d6fb8e5c56caf0416d07";
    #[expect(clippy::single_element_loop, reason = "more are welcome")]
    for (ledger, name, key) in [("expired_service", "snapshot_61_62.committed", expired)] {
        let archive = format!("{}/../../testdata/ledgers/{ledger}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let unpacked = tempfile::tempdir().expect("temporary");
        let file = fs::File::open(archive).expect("the archive is in the tree");
        tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(unpacked.path()).expect("unpacks");
        let bytes = fs::read(unpacked.path().join(ledger).join("snapshots").join(name)).expect("there");
        let snapshot = Snapshot::read(bytes.as_slice()).expect("valid");
        let secrets = LedgerSecrets::new([secret(key)]).expect("one");
        let state = State::from_snapshot(&snapshot, Some(&secrets)).expect("a state");
        assert_eq!(state.tx_id().seqno, snapshot.seqno());
        let directory = tempfile::tempdir().expect("temporary");
        let frame = write(directory.path(), &state, snapshot.head(), &secret(key));
        assert!(frame == bytes[..frame.len()], "the frame of {name} is another one");
        let public = State::from_snapshot(&snapshot, None).expect("a state");
        assert!(public.maps().len() < state.maps().len());
    }
}

#[test]
fn unfinished_files_are_deleted_and_an_existing_snapshot_is_kept() {
    let directory = tempfile::tempdir().expect("temporary");
    let head = SnapshotHead { seqno: SeqNo(5), leaf: Digest::ZERO, view_history: vec![SeqNo(1)] };
    let key = LedgerSecret::random(SeqNo(1), None).expect("random");
    let state = StateBuilder::new(TxId::new(2, 5)).finish();
    drop(SnapshotWriter::create(directory.path(), &head, &key).expect("created"));
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0, "deleted on drop");
    let leftover = SnapshotWriter::create(directory.path(), &head, &key).expect("created");
    std::mem::forget(leftover); // as if the process had ended
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    assert!(list_snapshots(directory.path()).expect("listed").is_empty());
    delete_unfinished_snapshots(directory.path()).expect("deleted");
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0);

    write(directory.path(), &state, &head, &key);
    let before = fs::read(directory.path().join("snapshot_5_6.committed")).expect("there");
    let writer = SnapshotWriter::create(directory.path(), &head, &key).expect("created");
    writer.finish().expect("finished").commit(SeqNo(6), b"another").expect("kept");
    assert_eq!(fs::read(directory.path().join("snapshot_5_6.committed")).expect("there"), before);
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
}

/// What the disk's owner changes between writing and hashing is noticed.
#[test]
fn an_altered_file_gets_no_digest() {
    let directory = tempfile::tempdir().expect("temporary");
    let head = SnapshotHead { seqno: SeqNo(5), leaf: Digest::ZERO, view_history: vec![SeqNo(1)] };
    let key = LedgerSecret::random(SeqNo(1), None).expect("random");
    let mut builder = StateBuilder::new(TxId::new(2, 5));
    let name = MapName::from_static("public:m");
    builder.map(&name, SeqNo(5)).expect("new").insert(b"k", SeqNo(5), &vec![7; 3 << 20]);
    let state = builder.finish();
    let mut writer = SnapshotWriter::create(directory.path(), &head, &key).expect("created");
    state.write_to(&mut writer).expect("written");
    let path = directory.path().join("snapshot_5.unfinished");
    let mut bytes = fs::read(&path).expect("there");
    bytes[1 << 20] ^= 1;
    fs::write(&path, bytes).expect("altered");
    assert!(matches!(writer.finish(), Err(FileError::Altered(_))));
}

type Model = BTreeMap<(bool, u8), (u64, BTreeMap<Vec<u8>, (u64, Vec<u8>)>)>;

fn model() -> impl Strategy<Value = Model> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let records = prop::collection::btree_map(bytes(20), (1u64..100, bytes(40)), 0..30);
    prop::collection::btree_map((any::<bool>(), 0u8..5), (0u64..100, records), 0..6)
}

fn name((public, number): (bool, u8)) -> MapName {
    let prefix = if public { "public:" } else { "" };
    MapName::parse(&format!("{prefix}map{number}")).expect("a name")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_state_survives(model in model()) {
        let mut builder = StateBuilder::new(TxId::new(2, 100));
        for (key, (version, records)) in &model {
            let map_name = name(*key);
            let mut map = builder.map(&map_name, SeqNo(*version)).expect("new");
            for (key, (version, value)) in records {
                prop_assert!(map.insert(key, SeqNo(*version), value));
            }
        }
        let state = builder.finish();
        let view_history = vec![SeqNo(1), SeqNo(1), SeqNo(50)];
        let head = SnapshotHead { seqno: SeqNo(100), leaf: Digest([4; 32]), view_history };
        let directory = tempfile::tempdir().expect("temporary");
        let key = LedgerSecret::random(SeqNo(1), None).expect("random");
        let frame = write(directory.path(), &state, &head, &key);
        let snapshot = Snapshot::read(frame.as_slice()).expect("valid");
        prop_assert_eq!(snapshot.head(), &head);
        let secrets = LedgerSecrets::new([key]).expect("one");
        let read = State::from_snapshot(&snapshot, Some(&secrets)).expect("a state");
        let flatten = |state: &State| -> Vec<(String, u64, Vec<(Vec<u8>, u64, Vec<u8>)>)> {
            let maps = state.maps().into_iter();
            maps.map(|(name, map)| {
                let records = map.iter().map(|r| (r.key.to_vec(), r.version.0, r.value.to_vec()));
                (name.to_string(), map.version().0, records.collect())
            })
            .collect()
        };
        prop_assert_eq!(flatten(&read), flatten(&state));
    }
}

/// Files are read in blocks of a mebibyte: fields that lie across their borders, and values larger than one.
#[test]
fn large_states_survive() {
    let mut builder = StateBuilder::new(TxId::new(2, 100));
    let mut expected = Vec::new();
    for (number, public) in (0..20u8).flat_map(|number| [(number, true), (number, false)]) {
        let map_name = name((public, number));
        let mut map = builder.map(&map_name, SeqNo(9)).expect("new");
        for key in 0..u64::from(number) {
            let value = vec![number; usize::from(number) * 9973 + if key == 18 { 3 << 20 } else { 0 }];
            assert!(map.insert(&key.to_le_bytes()[..5], SeqNo(7), &value));
            expected.push((map_name.clone(), key, value));
        }
    }
    let head = SnapshotHead { seqno: SeqNo(100), leaf: Digest([4; 32]), view_history: vec![SeqNo(1)] };
    let directory = tempfile::tempdir().expect("temporary");
    let key = LedgerSecret::random(SeqNo(1), None).expect("random");
    let frame = write(directory.path(), &builder.finish(), &head, &key);
    assert!(frame.len() > 30 << 20);
    let snapshot = Snapshot::read(frame.as_slice()).expect("valid");
    let secrets = LedgerSecrets::new([key]).expect("one");
    let read = State::from_snapshot(&snapshot, Some(&secrets)).expect("a state");
    assert_eq!(read.maps().len(), 40);
    for (name, key, value) in expected {
        let record = read.map(&name).and_then(|map| map.get(&key.to_le_bytes()[..5])).expect("there");
        assert!(record.value == value && record.version == SeqNo(7), "{name} {key}");
    }
    let other = LedgerSecret::random(SeqNo(1), None).expect("random");
    let refused = State::from_snapshot(&snapshot, Some(&LedgerSecrets::new([other]).expect("one")));
    assert!(
        matches!(refused, Err(StateError::Snapshot(error)) if error == EntryError::Authentication.into())
    );
}

#[test]
fn what_makes_no_state_is_refused() {
    let directory = tempfile::tempdir().expect("temporary");
    let key = LedgerSecret::random(SeqNo(1), None).expect("random");
    let head = |seqno| SnapshotHead { seqno: SeqNo(seqno), leaf: Digest::ZERO, view_history: vec![] };
    let bytes_of = |seqno, fill: &dyn Fn(&mut SnapshotWriter)| {
        let mut writer = SnapshotWriter::create(directory.path(), &head(seqno), &key).expect("created");
        fill(&mut writer);
        let written = writer.finish().expect("finished");
        fs::read(written.commit(SeqNo(seqno + 1), b"").expect("named")).expect("read")
    };
    let public = MapName::from_static("public:m");
    let one = ccf_ledger::snapshot::entry_bytes(1, 0);
    let state = |bytes: &[u8]| State::from_snapshot(&Snapshot::read(bytes).expect("valid"), None);
    let twice = bytes_of(5, &|writer| {
        writer.map(&public, SeqNo(1), 0).expect("written");
        writer.map(&public, SeqNo(1), 0).expect("written");
    });
    assert!(matches!(state(&twice), Err(StateError::Duplicate(_))));
    let future = bytes_of(6, &|writer| {
        writer.map(&public, SeqNo(1), one).expect("written");
        writer.entry(b"k", SeqNo(7), b"").expect("written");
    });
    assert!(matches!(state(&future), Err(StateError::Key(_))));
    let key_twice = bytes_of(7, &|writer| {
        writer.map(&public, SeqNo(1), 2 * one).expect("written");
        writer.entry(b"k", SeqNo(1), b"").expect("written");
        writer.entry(b"k", SeqNo(2), b"").expect("written");
    });
    assert!(matches!(state(&key_twice), Err(StateError::Key(_))));
}
