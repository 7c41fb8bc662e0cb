//! Snapshot files: V12 and V13 of the specification, and all real ones with their receipts.

use ccf_crypto::cert::Certificate;
use ccf_ledger::{
    receipt::{Receipt, ReceiptLeaf},
    snapshot::{MapSnapshots, Snapshot, SnapshotError, SnapshotReceipt},
    verify::Level,
};
use ccf_types::SeqNo;

use crate::support::{Golden, digest, hex, secrets, verify};

const V12: &str = include_str!("vectors/v12_snapshot.hex");
const V12_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

type Flat = (String, u64, Vec<(Vec<u8>, u64, Vec<u8>)>);

fn flatten(maps: MapSnapshots<'_>) -> Vec<Flat> {
    maps.map(|map| {
        let map = map.expect("valid");
        let (name, version) = (map.name.to_owned(), map.version.0);
        let entries =
            map.map(|entry| entry.expect("valid")).map(|e| (e.key.to_vec(), e.version.0, e.value.to_vec()));
        (name, version, entries.collect())
    })
    .collect()
}

#[test]
fn v12_synthetic_snapshot() {
    let bytes = hex(V12);
    let snapshot = Snapshot::parse(&bytes).expect("valid");
    assert_eq!(snapshot.seqno(), SeqNo(7));
    assert_eq!(snapshot.leaf().0, [0x11; 32]);
    assert_eq!(snapshot.view_history().map(|seqno| seqno.0).collect::<Vec<_>>(), [1, 1, 5]);
    assert_eq!(snapshot.digest(), digest("367e2c586f2c2a2343f26625929266717aff5b4b77966f54b98e5d6c2c6172e4"));
    let k2 = (b"k2".to_vec(), 6, b"value-2".to_vec());
    let k1 = (b"k1".to_vec(), 2, b"v1".to_vec());
    assert_eq!(
        flatten(snapshot.public_maps()),
        [("public:empty".to_owned(), 3, vec![]), ("public:m".to_owned(), 6, vec![k2, k1])]
    );
    let private = snapshot.decrypt(&secrets(V12_KEY, 1)).expect("authentic");
    assert_eq!(flatten(private.maps()), [("m".to_owned(), 7, vec![(b"a".to_vec(), 7, vec![])])]);
    assert_eq!(snapshot.receipt().unwrap_err(), SnapshotError::NoReceipt);

    for len in 0..bytes.len() {
        assert!(Snapshot::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = Snapshot::parse(&flipped) else { continue };
        assert_ne!(flipped.digest(), snapshot.digest());
        flipped.public_maps().flatten().for_each(|map| map.for_each(drop));
        assert_eq!(flipped.decrypt(&secrets(V12_KEY, 1)).is_ok(), bit / 8 == 1, "bit {bit}");
    }
    for (receipt, fine) in [(b"\xd2".as_slice(), true), (b"{}", false), (b"x", false)] {
        let file = [bytes.as_slice(), receipt].concat();
        assert_eq!(Snapshot::parse(&file).expect("valid").receipt().is_ok(), fine);
    }
}

fn json_receipt(snapshot: &Snapshot<'_>) -> Receipt {
    let SnapshotReceipt::Json(receipt) = snapshot.receipt().expect("readable") else {
        unreachable!("the golden snapshots have JSON receipts")
    };
    *receipt
}

#[test]
fn v13_real_snapshot() {
    let golden = Golden::unpack("expired_service");
    let bytes = std::fs::read(golden.snapshot("snapshot_61_62.committed")).expect("there");
    let snapshot = Snapshot::parse(&bytes).expect("valid");
    assert_eq!(snapshot.seqno(), SeqNo(61));
    assert_eq!(snapshot.leaf(), digest("88c84983388aafde15fdd7a46ea2589982ea41496c3a0eab7f8ec3cb1617c100"));
    assert_eq!(snapshot.view_history().map(|seqno| seqno.0).collect::<Vec<_>>(), [1, 1, 29, 29]);
    let public = flatten(snapshot.public_maps());
    let config = public.iter().find(|map| map.0 == "public:ccf.gov.service.config").expect("there");
    assert_eq!((config.1, config.2.len()), (1, 1));
    assert_eq!(config.2[0].2.len(), 165 - 8);

    let secret = "f7ff83c98af00b268a9f6ec42cb350e751565a589378d6fb8e5c56caf0416d07";
    let private = flatten(snapshot.decrypt(&secrets(secret, 1)).expect("authentic").maps());
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
            let snapshot = Snapshot::parse(&bytes).expect("valid");
            assert!(flatten(snapshot.public_maps()).len() > 20);
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
    let receipt = json_receipt(&Snapshot::parse(&bytes).expect("valid"));
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
