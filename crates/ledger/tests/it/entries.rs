//! Entries: vectors V2 to V6 in both directions, hostile bytes, and a round trip of random transactions.

use ccf_ledger::{
    entry::{DomainEncoder, Entry, EntryContext, EntryError, EntryType, Flags, Record, seal},
    evidence::CommitEvidence,
};
use ccf_types::{Digest, Domain, MapName, TxId};
use proptest::prelude::*;
use std::collections::BTreeMap;

use crate::support::{digest, hex, secret, secrets};

const V2: &str = include_str!("vectors/v2_private_entry.hex");
const V3: &str = include_str!("vectors/v3_public_entry.hex");
const V4: &str = include_str!("vectors/v4_full_entry.hex");
const V5: &str = include_str!("vectors/v5_type_0.hex");
const V6: &str = include_str!("vectors/v6_type_3.hex");

const V2_KEY: &str = "d917951c0773a06148d2ff5bf0c984d075fdceb601255157ac004bb53b351079";
const V3_KEY: &str = "9ec711a75aa018438cd3e6a29adc9afd0c028d9c88fbf9dfb0d793a4bf3e10eb";
const V4_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const V6_KEY: &str = "a8ad81c53f38db483852043fedab588bfd1ceb8b7f305ea4e071506d5437e17d";

fn write<'a>(key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    Record::Write { key, value }
}

#[test]
fn v2_private_entry_decodes_and_encodes() {
    let bytes = hex(V2);
    let entry = Entry::parse(&bytes).expect("valid");
    assert_eq!(entry.tx_id(), TxId::new(2, 17));
    assert_eq!(entry.flags(), Flags::NONE);
    assert_eq!(entry.entry_type(), EntryType::WithCommitEvidenceAndClaims);
    assert_eq!(entry.claims_digest(), Some(&Digest::ZERO));
    assert_eq!(entry.public_records().count(), 0);
    assert_eq!(
        entry.write_set_digest(),
        digest("c5496af8ff336bca85edc3ee95843622b16b0d08296d7f43674e65cfb6d07980")
    );
    assert_eq!(entry.leaf(), digest("520d2e9a61bac7ea344c60b5c31563cd2f6ce3474e8680d44029e8cad13a9aaa"));
    let evidence = CommitEvidence::new(&secret(V2_KEY, 1), entry.tx_id());
    assert_eq!(entry.evidence_digest(), Some(&evidence.digest()));

    let private = entry.decrypt(&secrets(V2_KEY, 1)).expect("authentic");
    let records: Vec<_> = private.records().collect::<Result<_, _>>().expect("valid");
    assert_eq!(records, [Record::Map { name: "records", writes: 1 }, write(b"42", b"hello")]);
    assert_eq!(entry.decrypt(&secrets(V3_KEY, 1)).unwrap_err(), EntryError::Authentication);
    assert_eq!(entry.decrypt(&secrets(V2_KEY, 18)).unwrap_err(), EntryError::NoSecret(17));

    let mut encoder = DomainEncoder::new();
    encoder.map(&MapName::from_static("records"), 1, 0);
    encoder.write(b"42", b"hello");
    assert_eq!(encoder.entry_bytes(), bytes.len());
    let secret = secret(V2_KEY, 1);
    let context = EntryContext {
        tx_id: TxId::new(2, 17),
        flags: Flags::NONE,
        claims_digest: Digest::ZERO,
        secret: &secret,
    };
    let sealed = seal(&mut encoder, &context).expect("seals");
    assert_eq!(hex::encode(&sealed.bytes), hex::encode(&bytes));
    assert_eq!(sealed.bytes.capacity(), sealed.bytes.len());
    assert_eq!((sealed.write_set_digest, sealed.leaf), (entry.write_set_digest(), entry.leaf()));
    assert!(encoder.is_empty());
}

#[test]
fn v3_public_entry_decodes_and_encodes() {
    let bytes = hex(V3);
    let entry = Entry::parse(&bytes).expect("valid");
    assert_eq!(entry.tx_id(), TxId::new(5, 506));
    let claims = digest("b98ba3bf6fd2ee1cd57148411182152b0188b3da91476c57355879e316ba6289");
    assert_eq!(entry.claims_digest(), Some(&claims));
    assert_eq!(
        entry.write_set_digest(),
        digest("8e73dbf886d23a2d58ac9d394d15dd658bcb447ce7ca9fe6b52ade8698036896")
    );
    assert_eq!(entry.leaf(), digest("431b9bed17548c2fa38fbeec348f46eaed421f7ec504241ae554f4ddb6437c88"));
    assert!(entry.decrypt(&secrets(V3_KEY, 484)).expect("authentic").is_empty());

    let name = "public:ccf.internal.snapshot_evidence";
    let value =
        br#"{"hash":"b98ba3bf6fd2ee1cd57148411182152b0188b3da91476c57355879e316ba6289","version":505}"#;
    let records: Vec<_> = entry.public_records().collect::<Result<_, _>>().expect("valid");
    assert_eq!(records, [Record::Map { name, writes: 1 }, write(&[0; 8], value)]);

    let mut encoder = DomainEncoder::new();
    encoder.map(&MapName::parse(name).expect("valid"), 1, 0);
    encoder.write(&[0; 8], value);
    let secret = secret(V3_KEY, 484);
    let context =
        EntryContext { tx_id: entry.tx_id(), flags: Flags::NONE, claims_digest: claims, secret: &secret };
    assert_eq!(seal(&mut encoder, &context).expect("seals").bytes, bytes);
}

#[test]
fn v4_full_entry_encodes_and_decodes() {
    let bytes = hex(V4);
    let mut encoder = DomainEncoder::new();
    encoder.map(&MapName::from_static("m"), 2, 0);
    encoder.write(&[0x00], &[0xff]);
    encoder.write(&[0xff], &[0x00]);
    encoder.map(&MapName::from_static("public:m"), 2, 1);
    encoder.write(b"k", b"");
    encoder.write(b"k1", b"v1");
    encoder.remove(b"z");
    encoder.map(&MapName::from_static("public:n"), 0, 2);
    encoder.remove(b"a");
    encoder.remove(b"b");
    let secret = secret(V4_KEY, 1);
    let claims_digest = digest("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let tx_id = TxId::new(2, 7);
    let context = EntryContext { tx_id, flags: Flags::CHUNK_AFTER, claims_digest, secret: &secret };
    let sealed = seal(&mut encoder, &context).expect("seals");
    assert_eq!(hex::encode(&sealed.bytes), hex::encode(&bytes));
    assert_eq!(
        sealed.write_set_digest,
        digest("2d3f465f4a049fe90bcff4f330d1ed2d86a824fdd0271ad327f4aaaa1b7b9745")
    );
    assert_eq!(sealed.leaf, digest("80aed8c54a8340d7a97dda5c4fe0a772d93a85b7869f5b20c3d13792db89e4be"));

    let entry = Entry::parse(&bytes).expect("valid");
    let public: Vec<_> = entry.public_records().collect::<Result<_, _>>().expect("valid");
    assert_eq!(
        public,
        [
            Record::Map { name: "public:m", writes: 2 },
            write(b"k", b""),
            write(b"k1", b"v1"),
            Record::Remove { key: b"z" },
            Record::Map { name: "public:n", writes: 0 },
            Record::Remove { key: b"a" },
            Record::Remove { key: b"b" },
        ]
    );
    let private = entry.decrypt(&secrets(V4_KEY, 1)).expect("authentic");
    let private: Vec<_> = private.records().collect::<Result<_, _>>().expect("valid");
    assert_eq!(private, [Record::Map { name: "m", writes: 2 }, write(&[0], &[0xff]), write(&[0xff], &[0])]);
}

#[test]
fn legacy_types_have_their_own_leaves() {
    let bytes = hex(V5);
    let entry = Entry::parse(&bytes).expect("valid");
    assert_eq!((entry.tx_id(), entry.entry_type()), (TxId::new(2, 12), EntryType::WriteSet));
    assert_eq!((entry.claims_digest(), entry.evidence_digest()), (None, None));
    assert_eq!(entry.leaf(), digest("54ddb6c1f08c7ca53a37970959b80b9b4d446078572eddc74c4b2b205cf77a02"));
    entry.public_records().check().expect("valid");

    let bytes = hex(V6);
    let entry = Entry::parse(&bytes).expect("valid");
    assert_eq!((entry.tx_id(), entry.entry_type()), (TxId::new(2, 20), EntryType::WithCommitEvidence));
    assert_eq!(
        entry.write_set_digest(),
        digest("f7d408799d14061584aa984d840fd509ea2f4c52cb56e30fa739f39e8f26f24a")
    );
    assert_eq!(entry.leaf(), digest("fe8202c6eef6584387c3cfc8976dd6e126a692ab5fb39785209b4c51aaf41dfa"));
    let secret = secret(V6_KEY, 1);
    assert_eq!(entry.evidence_digest(), Some(&CommitEvidence::new(&secret, entry.tx_id()).digest()));
    entry.decrypt(&secrets(V6_KEY, 1)).expect("authentic").records().check().expect("valid");
}

/// V11: the secret before is wrapped under the one after.
#[test]
fn v11_previous_secret_unwraps() {
    let blob = hex("04f35ab026da485477d7d748e3c1edf3c1fa2167bb7b0c7abe3a4a909c535f36a19a02ff76415869d74878789e84ef208877f51eddc452a7
        002897e9");
    let previous = secret(V3_KEY, 484).key().open_blob(b"", &blob).expect("authentic");
    assert_eq!(hex::encode(&*previous), "0247b5e43538db6bfa1c76ea8561c09d47533c40a71c8cd38f0bdf28dbeea840");
}

/// Check 2 of the specification: one flipped bit is noticed, by the parser, by the tag, or by the leaf.
#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = hex(V2);
    let secrets = secrets(V2_KEY, 1);
    let original = Entry::parse(&bytes).expect("valid");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(entry) = Entry::parse(&flipped) else { continue };
        assert_ne!(entry.leaf(), original.leaf(), "bit {bit}");
        let flags = bit / 8 == 1;
        assert_eq!(entry.decrypt(&secrets).is_ok(), flags, "bit {bit}");
    }
}

#[test]
fn malformed_frames_are_refused() {
    let bytes = hex(V3);
    for len in 0..bytes.len() {
        assert!(Entry::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(Entry::parse(&longer), Err(EntryError::Size { .. })));
    let with = |at: usize, value: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + value.len()].copy_from_slice(value);
        Entry::parse(&changed).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0, &[2]), EntryError::Version(2));
    assert_eq!(with(1, &[8]), EntryError::UnknownFlags(8));
    assert_eq!(with(36, &[0xff; 8]), EntryError::PublicLength(u64::MAX));
    assert_eq!(with(36, &272u64.to_le_bytes()), EntryError::PublicLength(272));
    assert_eq!(with(36, &80u64.to_le_bytes()), EntryError::PublicLength(80));
    assert_eq!(with(44, &[1]), EntryError::Type(1), "snapshots do not stand in a ledger");
    assert_eq!(with(44, &[5]), EntryError::Type(5));
    assert_eq!(with(45, &[1]), EntryError::SeqNoMismatch { public: 257, iv: 506 });
    assert!(matches!(with(35, &[0x80]), EntryError::TxId(_)), "the IV of a snapshot");
}

/// The public domain with these records.
fn records_of(domain: Domain, bytes: &[u8]) -> Result<usize, EntryError> {
    let mut count = 0;
    for record in ccf_ledger::entry::Records::new(bytes, domain) {
        record?;
        count += 1;
    }
    Ok(count)
}

fn lp(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// A map record with one write, `reads` read records, and one remove.
fn map(name: &str, reads: u64) -> Vec<u8> {
    let mut bytes = [lp(name.as_bytes()), vec![0; 8], reads.to_le_bytes().to_vec()].concat();
    for _ in 0..reads {
        bytes.extend([lp(b"read"), vec![7; 8]].concat());
    }
    bytes.extend(1u64.to_le_bytes());
    bytes.extend([lp(b"key"), lp(b"value")].concat());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(lp(b"gone"));
    bytes
}

#[test]
fn malformed_records_are_refused() {
    let two = [map("public:b", 0), map("public:a", 2)].concat();
    assert_eq!(records_of(Domain::Public, &two), Ok(6), "unsorted maps and read records are legal");
    for len in 1..two.len() {
        if len != map("public:b", 0).len() {
            assert!(
                matches!(records_of(Domain::Public, &two[..len]), Err(EntryError::Record(_))),
                "{len} bytes"
            );
        }
    }
    let twice = [map("public:b", 0), map("public:c", 0), map("public:b", 0)].concat();
    assert_eq!(records_of(Domain::Public, &twice), Err(EntryError::DuplicateMap("public:b".into())));
    let adjacent = [map("b", 0), map("b", 0)].concat();
    assert_eq!(records_of(Domain::Private, &adjacent), Err(EntryError::DuplicateMap("b".into())));
    assert_eq!(records_of(Domain::Private, &two), Err(EntryError::WrongDomain("public:b".into())));
    assert_eq!(records_of(Domain::Public, &map("m", 0)), Err(EntryError::WrongDomain("m".into())));
    let mut not_text = map("public:b", 0);
    not_text[10] = 0xff;
    assert!(matches!(records_of(Domain::Public, &not_text), Err(EntryError::MapName(_))));
    // Counts that could only be true of a far longer domain are refused before anything is read.
    let mut greedy = map("public:b", 0);
    greedy[16 + 16..16 + 24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(records_of(Domain::Public, &greedy), Err(EntryError::Record(32)));
}

/// Map, key, new value.
type Change = (String, Vec<u8>, Option<Vec<u8>>);
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn transaction() -> impl Strategy<Value = BTreeMap<String, Changes>> {
    let key = prop::collection::vec(any::<u8>(), 0..6);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let changes = prop::collection::btree_map(key, value, 1..6);
    let name = prop_oneof!["[a-z]{0,4}", "public:[a-z]{0,4}", Just("public:ccf.gov.x".to_owned())];
    prop::collection::btree_map(name, changes, 0..6)
}

fn collect<'a>(records: impl Iterator<Item = Result<Record<'a>, EntryError>>, into: &mut Vec<Change>) {
    let mut map = String::new();
    for record in records {
        match record.expect("valid") {
            Record::Map { name, .. } => map = name.to_owned(),
            Record::Write { key, value } => into.push((map.clone(), key.to_vec(), Some(value.to_vec()))),
            Record::Remove { key } => into.push((map.clone(), key.to_vec(), None)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any transaction reads back as it was written, from an encoder that is used again and again.
    #[test]
    fn transactions_round_trip(
        transactions in prop::collection::vec(transaction(), 1..4),
        view in 1u64..(1 << 31),
        claims in any::<[u8; 32]>(),
    ) {
        let mut encoder = DomainEncoder::new();
        let secret = secret(V4_KEY, 1);
        let secrets = secrets(V4_KEY, 1);
        for (transaction, seqno) in transactions.iter().zip(1..) {
            for (name, changes) in transaction {
                let writes = changes.values().filter(|value| value.is_some()).count();
                encoder.map(&MapName::parse(name).expect("valid"), writes, changes.len() - writes);
                for (key, value) in changes {
                    if let Some(value) = value {
                        encoder.write(key, value);
                    }
                }
                for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
                    encoder.remove(key);
                }
            }
            let tx_id = TxId::new(view, seqno);
            let context = EntryContext { tx_id, flags: Flags::NONE, claims_digest: Digest(claims), secret: &secret };
            let sealed = seal(&mut encoder, &context).expect("seals");
            let entry = Entry::parse(&sealed.bytes).expect("valid");
            prop_assert_eq!(entry.tx_id(), tx_id);
            prop_assert_eq!(entry.leaf(), sealed.leaf);
            prop_assert_eq!(entry.claims_digest(), Some(&Digest(claims)));
            let mut found = Vec::new();
            collect(entry.public_records(), &mut found);
            let private = entry.decrypt(&secrets).expect("authentic");
            prop_assert_eq!(private.is_empty(), !entry.has_private_domain());
            collect(private.records(), &mut found);
            found.sort();
            let mut expected: Vec<_> = transaction
                .iter()
                .flat_map(|(map, changes)| changes.iter().map(|(k, v)| (map.clone(), k.clone(), v.clone())))
                .collect();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }

    /// No bytes make the parser panic, and what it accepts can be walked.
    #[test]
    fn random_changes_never_panic(
        vector in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = hex([V2, V3, V4, V5, V6][vector]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(entry) = Entry::parse(&bytes) {
            let _ = entry.public_records().check();
            let _ = entry.decrypt(&secrets(V4_KEY, 1));
        }
    }
}
