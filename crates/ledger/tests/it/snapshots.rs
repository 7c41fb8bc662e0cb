//! Snapshot files: V12 and V13 of the specification, and all real ones with their receipts.

use ccf_crypto::cert::Certificate;
use ccf_ledger::{
    entry::EntryError,
    limits::{ENTRY_BYTES_MAX, SNAPSHOT_BLOCK_BYTES},
    receipt::{Receipt, ReceiptLeaf},
    secrets::LedgerSecrets,
    snapshot::{Snapshot, SnapshotError, SnapshotReceipt, SnapshotSource},
    verify::Level,
};
use ccf_types::SeqNo;
use std::{
    cell::{Cell, RefCell},
    io,
};

use crate::support::{Golden, digest, hex, secrets, verify};

const V12: &str = include_str!("vectors/v12_snapshot.hex");
const V12_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

type Flat = (String, u64, Vec<(Vec<u8>, u64, Vec<u8>)>);

/// The public maps, and the private ones if the secrets are given.
fn flatten<S: SnapshotSource>(
    snapshot: &Snapshot<S>,
    secrets: Option<&LedgerSecrets>,
) -> Result<Vec<Flat>, SnapshotError> {
    let mut content = snapshot.content(secrets)?;
    let mut maps = Vec::new();
    while let Some(map) = content.next_map()? {
        let mut entries = Vec::new();
        while let Some(e) = content.next_entry()? {
            entries.push((e.key.to_vec(), e.version.0, e.value.to_vec()));
        }
        maps.push((map.name, map.version.0, entries));
    }
    Ok(maps)
}

#[test]
fn v12_synthetic_snapshot() {
    let bytes = hex(V12);
    let snapshot = Snapshot::read(bytes.as_slice()).expect("valid");
    assert_eq!(snapshot.seqno(), SeqNo(7));
    assert_eq!(snapshot.head().leaf.0, [0x11; 32]);
    assert_eq!(views(&snapshot), [1, 1, 5]);
    assert_eq!(snapshot.digest(), digest("367e2c586f2c2a2343f26625929266717aff5b4b77966f54b98e5d6c2c6172e4"));
    let k2 = (b"k2".to_vec(), 6, b"value-2".to_vec());
    let k1 = (b"k1".to_vec(), 2, b"v1".to_vec());
    let public = [("public:empty".to_owned(), 3, vec![]), ("public:m".to_owned(), 6, vec![k2, k1])];
    assert_eq!(flatten(&snapshot, None).expect("authentic"), public);
    let all = flatten(&snapshot, Some(&secrets(V12_KEY, 1))).expect("authentic");
    assert_eq!(all[..2], public);
    assert_eq!(all[2..], [("m".to_owned(), 7, vec![(b"a".to_vec(), 7, vec![])])]);
    assert_eq!(snapshot.receipt().unwrap_err(), SnapshotError::NoReceipt);

    for len in 0..bytes.len() {
        assert!(Snapshot::read(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = Snapshot::read(flipped.as_slice()) else { continue };
        assert_ne!(flipped.digest(), snapshot.digest());
        let opened = flatten(&flipped, Some(&secrets(V12_KEY, 1)));
        assert_eq!(opened.is_ok(), bit / 8 == 1, "bit {bit}");
        let authentic = opened.map(drop).map_err(|error| error == EntryError::Authentication.into());
        assert!(authentic != Err(false), "bit {bit}");
    }
    for (receipt, fine) in [(b"\xd2".as_slice(), true), (b"{}", false), (b"x", false)] {
        let file = [bytes.as_slice(), receipt].concat();
        assert_eq!(Snapshot::read(file.as_slice()).expect("valid").receipt().is_ok(), fine);
    }
}

fn views<S: SnapshotSource>(snapshot: &Snapshot<S>) -> Vec<u64> {
    snapshot.head().view_history.iter().map(|seqno| seqno.0).collect()
}

fn json_receipt<S: SnapshotSource>(snapshot: &Snapshot<S>) -> Receipt {
    let SnapshotReceipt::Json(receipt) = snapshot.receipt().expect("readable") else {
        unreachable!("the golden snapshots have JSON receipts")
    };
    *receipt
}

#[test]
fn v13_real_snapshot() {
    let golden = Golden::unpack("expired_service");
    let bytes = std::fs::read(golden.snapshot("snapshot_61_62.committed")).expect("there");
    let snapshot = Snapshot::read(bytes.as_slice()).expect("valid");
    assert_eq!(snapshot.seqno(), SeqNo(61));
    assert_eq!(
        snapshot.head().leaf,
        digest("88c84983388aafde15fdd7a46ea2589982ea41496c3a0eab7f8ec3cb1617c100")
    );
    assert_eq!(views(&snapshot), [1, 1, 29, 29]);
    let public = flatten(&snapshot, None).expect("authentic");
    let config = public.iter().find(|map| map.0 == "public:ccf.gov.service.config").expect("there");
    assert_eq!((config.1, config.2.len()), (1, 1));
    assert_eq!(config.2[0].2.len(), 165 - 8);

    let secret = "f7ff83c98af00b268a9f6ec42cb350e751565a589378d6fb8e5c56caf0416d07";
    let private = flatten(&snapshot, Some(&secrets(secret, 1))).expect("authentic");
    let records = private.iter().find(|map| map.0 == "records").expect("there");
    let keys: Vec<_> = records.2.iter().map(|entry| entry.0.as_slice()).collect();
    assert_eq!((records.1, keys), (24, vec![b"1".as_slice(), b"2", b"3"]));
    assert_eq!(records.2[0].2, br#""Private message at idx 1 [0]""#);

    let receipt = json_receipt(&snapshot);
    let ReceiptLeaf::LeafComponents(components) = &receipt.leaf else { panic!("a leaf with components") };
    assert_eq!(components.claims_digest, Some(snapshot.digest()));
    assert_eq!(components.tx_id().map(|tx_id| tx_id.to_string()).as_deref(), Some("4.62"));
    assert_eq!(
        components.leaf(None),
        digest("d45fab520def747b9c04d047e95fc36fd7fa641f5c715f7b2902d1fe9c520d5e")
    );
    assert_eq!(
        receipt.root(None),
        digest("1f6ff58a5a2962a82f0dd81baff5e6db1a30b20c7b6159f173e4f704cbc7c843")
    );
}

/// Every real snapshot has a receipt that the service of its time stands for, and no other service does. The leaf in it
/// is that of the ledger.
#[test]
fn real_snapshots_have_receipts_of_their_service() {
    for (ledger, names) in [
        ("expired_service", &["snapshot_61_62.committed"] as &[_]),
        ("sgx_service", &["snapshot_99_100.committed", "snapshot_138_139.committed"]),
    ] {
        let golden = Golden::unpack(ledger);
        let services = verify(&golden.ledger(), Level::Full, true).services;
        for name in names {
            let bytes = std::fs::read(golden.snapshot(name)).expect("there");
            let snapshot = Snapshot::read(bytes.as_slice()).expect("valid");
            assert!(flatten(&snapshot, None).expect("authentic").len() > 20);
            let receipt = json_receipt(&snapshot);
            let at =
                services.iter().rposition(|service| service.from <= snapshot.seqno()).expect("a service");
            for (number, service) in services.iter().enumerate() {
                let service = Certificate::from_pem(&service.certificate_pem).expect("a certificate");
                assert_eq!(receipt.verify(&service, None).is_ok(), number == at, "{name}, service {number}");
            }
            let text = serde_json::to_string(&receipt).expect("serialises");
            assert_eq!(serde_json::from_str::<Receipt>(&text).expect("parses"), receipt);
            let file = std::str::from_utf8(&bytes[bytes.len() - text.len()..]).expect("text");
            assert_eq!(file, text, "the same text as CCF wrote");

            let mut altered = receipt.clone();
            if let ReceiptLeaf::LeafComponents(components) = &mut altered.leaf {
                components.commit_evidence.push(' ');
            }
            let node = Certificate::from_pem(&receipt.cert).expect("a certificate");
            assert!(receipt.verify_signature(&node, None).is_ok());
            assert!(altered.verify_signature(&node, None).is_err());
        }
    }
}

#[test]
fn only_the_known_forms_of_receipts_are_read() {
    let golden = Golden::unpack("expired_service");
    let bytes = std::fs::read(golden.snapshot("snapshot_61_62.committed")).expect("there");
    let receipt = json_receipt(&Snapshot::read(bytes.as_slice()).expect("valid"));
    let value = serde_json::to_value(&receipt).expect("serialises");
    let with = |key: &str, new: serde_json::Value| {
        let mut changed = value.clone();
        changed[key] = new;
        serde_json::from_value::<Receipt>(changed).is_ok()
    };
    assert!(with("is_signature_transaction", false.into()));
    assert!(!with("is_signature_transaction", true.into()));
    assert!(!with("leaf", "00".repeat(32).into()), "both leaf and components");
    assert!(!with("leaf_components", serde_json::Value::Null), "neither");
    assert!(!with("proof", serde_json::json!([{"left": "00".repeat(32), "right": "00".repeat(32)}])));
    assert!(with("service_endorsements", serde_json::json!([])));
}

/// What is read, for those who look at how.
struct Watched<F> {
    bytes: u64,
    fill: F,
    largest: Cell<usize>,
}

impl<F: Fn(&mut [u8], usize)> SnapshotSource for Watched<F> {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.largest.set(self.largest.get().max(buffer.len()));
        (self.fill)(buffer, usize::try_from(at).map_err(io::Error::other)?);
        Ok(())
    }
}

/// A state of several GiB is one frame, larger than any entry, and than memory.
#[test]
fn a_snapshot_larger_than_any_entry_is_read_in_pieces() {
    let mut begin = hex(V12);
    let public = u64::from_le_bytes(begin[36..44].try_into().expect("eight bytes"));
    begin.truncate(44 + usize::try_from(public).expect("small"));
    let private_bytes = ENTRY_BYTES_MAX + (100 << 20);
    let size = (36 + public + private_bytes).to_le_bytes();
    begin[2..8].copy_from_slice(&size[..6]);
    let fill = |buffer: &mut [u8], at: usize| {
        let known = begin.get(at..).unwrap_or_default();
        let known = &known[..known.len().min(buffer.len())];
        buffer[..known.len()].copy_from_slice(known);
    };
    let bytes = begin.len() as u64 + private_bytes;
    let snapshot = Snapshot::read(Watched { bytes, fill, largest: Cell::new(0) }).expect("valid");
    assert_eq!(flatten(&snapshot, None).expect("authentic").len(), 2);
    let largest = snapshot.source().largest.get();
    assert!(largest <= SNAPSHOT_BLOCK_BYTES, "{largest} bytes in one piece");
}

#[test]
fn what_changes_between_two_readings_is_noticed() {
    let bytes = RefCell::new(hex(V12));
    let len = bytes.borrow().len();
    let fill = |buffer: &mut [u8], at: usize| buffer.copy_from_slice(&bytes.borrow()[at..at + buffer.len()]);
    let source = Watched { bytes: len as u64, fill, largest: Cell::new(0) };
    let snapshot = Snapshot::read(source).expect("valid");
    let secrets = secrets(V12_KEY, 1);
    for at in 44..len {
        bytes.borrow_mut()[at] ^= 0x10;
        assert!(flatten(&snapshot, None).is_err(), "byte {at}");
        assert!(flatten(&snapshot, Some(&secrets)).is_err(), "byte {at}");
        bytes.borrow_mut()[at] ^= 0x10;
    }
    assert!(flatten(&snapshot, None).is_ok());
    bytes.borrow_mut()[len - 1] ^= 1;
    assert_eq!(flatten(&snapshot, None), Err(SnapshotError::Altered));
    assert_eq!(flatten(&snapshot, Some(&secrets)), Err(EntryError::Authentication.into()));
}

/// A length that is not true asks for no memory.
#[test]
fn lengths_beyond_the_map_are_refused() {
    let bytes = hex(V12);
    for at in 44..bytes.len() - 7 {
        for wrong in [u64::MAX, u64::MAX - 7, 1 << 40, 1 << 32] {
            let mut altered = bytes.clone();
            altered[at..at + 8].copy_from_slice(&u64::to_le_bytes(wrong));
            if let Ok(read) = Snapshot::read(altered.as_slice()) {
                let _ = flatten(&read, Some(&secrets(V12_KEY, 1)));
            }
        }
    }
}
