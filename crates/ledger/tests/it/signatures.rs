//! Signature transactions: V9 of the specification, values as CCF writes them, shapes that are refused.

use ccf_crypto::{
    cose::SignatureClaims,
    key::{Curve, EcKeyPair, PublicKey},
};
use ccf_ledger::{
    entry::{DomainEncoder, Entry, EntryContext, Flags, seal},
    merkle::MerkleTree,
    signature::{
        NodeSignature, ServiceSignature, SignatureError, SignatureTransaction, SignatureValues, Signer,
        SigningMode,
    },
    tables::{SIGNATURES, TREE, UNIT_KEY},
};
use ccf_types::{Digest, MapName, NodeId, TxId};

use crate::support::{digest, hex, secret};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const ROOT: &str = "e05d50857029a0ae4f86b9563239b5b1f2097b76108e692034b16358221cea97";
const NODE: &str = "fac07a156b829456395d32ca1334c2f0d90e85b3eedc3c162739c4825cc9d63f";
const NODE_KEY: &str = "
    040764fd60d9a1c92bd06335bf1ad4bf6346236202573351a0923fff7a9983548e0bb39f9d4fecde3a894a000c3504173252505c9ff1c335
    cf1b90b2d2dc5cb73d3c9c210cbd8737bc2cfd0cdb6f867c9371b5c917b8c0c0047d989e0e8f6f0b18";
const NODE_SIGNATURE: &str = "
    3066023100fdaff107937eec978efc9022c5287e572e1f7a6efc032440f7423839c54bbffca3364f22255139d551d1faf1a46bdf83023100
    ee9efa3af705dc04b68f99124f7444067a7099c18d1ff44fa2a8945eadb9b5196b721859e40b09e26d65774eacc84d12";
const SERVICE_KEY: &str = "
    04b4399a724e3e1890d74a91d6f6a32590c9697edede025bc1a80d9576c00c024f8a98a87bc595457aff1f4fa35bd23b78e164649a961ed7
    b7983efe7ff6ee8789de1c14b821521ee97987cde2cf4fe27357113d465f6f6ab7c3d064c47d0a0cec";
const COSE: &str = "
    d284588ca5013822045840646637373837356461353435326435643465626361326539306336343466626465396666393662393262633635
    3561383939666463393137313634316666646219018b020fa3061a682464970173736572766963652e6578616d706c652e636f6d02706c65
    646765722e7369676e6174757265666363662e7631a1647478696464322e3136a0f6586044ef95f2e48868f3bc57cef8f29c12f38c6a9dd2
    c84ac3f69a7c67eeff348ba57ce581c906189088d316bd78515c55580d230c2fa5e05eb6d3fcb269f502e58ab3403b043852131abb27ac2b
    b57f2f8076870810ec5cefe5cfe590d3183e271a";

fn p384(point: &str) -> PublicKey {
    PublicKey::from_ec_point(Curve::P384, &hex(point)).expect("on the curve")
}

#[test]
fn v9_real_signatures_verify_and_altered_roots_do_not() {
    let root = digest(ROOT);
    let mut other = root;
    other.0[7] ^= 1;
    let tx_id = TxId::new(2, 16);

    let key = p384(NODE_KEY);
    assert_eq!(key.node_id().as_str(), NODE);
    let node =
        NodeSignature { cert: None, node: NodeId::from_text(NODE), root, tx_id, sig: hex(NODE_SIGNATURE) };
    node.verify(&key, &root).expect("made by CCF");
    assert_eq!(node.verify(&key, &other), Err(SignatureError::NodeSignature(node.node.clone())));
    assert!(node.verify(&p384(SERVICE_KEY), &root).is_err());

    let service = ServiceSignature { cose: hex(COSE) };
    assert_eq!(service.decode().expect("decodes").header.claims.subject, "ledger.signature");
    let key = p384(SERVICE_KEY);
    service.verify(&key, tx_id, &root).expect("made by CCF");
    assert_eq!(service.verify(&key, tx_id, &other), Err(SignatureError::ServiceSignature));
    assert_eq!(service.verify(&p384(NODE_KEY), tx_id, &root), Err(SignatureError::ServiceSignature));
    let named = SignatureError::OtherTransaction(tx_id);
    assert_eq!(service.verify(&key, TxId::new(2, 17), &root), Err(named));
    let value = service.to_json();
    assert_eq!(ServiceSignature::from_json(&value), Ok(service));
}

#[test]
fn the_node_value_is_written_as_ccf_does() {
    let cert = Some("-----BEGIN..".to_owned());
    let node = NodeSignature {
        cert,
        node: NodeId::from_text(NODE),
        root: digest(ROOT),
        tx_id: TxId::new(2, 16),
        sig: vec![1, 2, 3],
    };
    let zeros = "0".repeat(64);
    let expected = format!(
        r#"{{"cert":"-----BEGIN..","commit_seqno":0,"commit_view":0,"hashed_nonce":"{zeros}","node":"{NODE}","root":"{ROOT}","seqno":16,"sig":"AQID","view":2}}"#
    );
    assert_eq!(String::from_utf8(node.to_json()).expect("text"), expected);
    assert_eq!(NodeSignature::from_json(expected.as_bytes()), Ok(node.clone()));
    let old = format!(r#"{{"extra":[],"node":"{NODE}","root":"{ROOT}","seqno":16,"sig":[1,2,3],"view":2}}"#);
    assert_eq!(NodeSignature::from_json(old.as_bytes()), Ok(NodeSignature { cert: None, ..node }));
    for bad in
        ["", "{}", "[]", &old.replace("16", "-1"), &old.replace("[1,2,3]", "\"!\""), &old.replace(ROOT, "00")]
    {
        assert!(
            matches!(NodeSignature::from_json(bad.as_bytes()), Err(SignatureError::NodeValue(_))),
            "{bad}"
        );
    }
    for bad in ["", "{}", "\"", "\"!\"", "7"] {
        assert!(
            matches!(ServiceSignature::from_json(bad.as_bytes()), Err(SignatureError::ServiceValue(_))),
            "{bad}"
        );
    }
}

/// What we sign, in each mode, reads back and verifies; on both curves.
#[test]
fn signed_transactions_read_back() {
    for (curve, mode) in [
        (Curve::P384, SigningMode::Dual),
        (Curve::P256, SigningMode::Dual),
        (Curve::P384, SigningMode::CoseOnly),
        (Curve::P384, SigningMode::CoseAllowDualJoin),
    ] {
        let (node_key, service_key) =
            (EcKeyPair::generate(curve).expect("a key"), EcKeyPair::generate(curve).expect("a key"));
        let node_id = node_key.public_key().node_id();
        let claims = SignatureClaims { issuer: "issuer".into(), subject: String::new() };
        let signer = Signer {
            node_id: &node_id,
            node_certificate: "-----BEGIN CERTIFICATE-----",
            node_key: &node_key,
            service_key: &service_key,
            claims: &claims,
        };
        let mut tree = MerkleTree::new();
        tree.append(Digest([7; 32]));
        let tx_id = TxId::new(2, 2);
        let transaction =
            SignatureTransaction::sign(&signer, mode, tx_id, &tree.root(), tree.to_blob(), 1_700_000_000)
                .expect("signs");
        let mut encoder = DomainEncoder::new();
        transaction.encode(&mut encoder);
        let secret = secret(KEY, 1);
        let context =
            EntryContext { tx_id, flags: Flags::NONE, claims_digest: Digest::ZERO, secret: &secret };
        let sealed = seal(&mut encoder, &context).expect("seals");
        let entry = Entry::parse(&sealed.bytes).expect("valid");
        let values = SignatureValues::of(&entry).expect("well formed").expect("a signature");
        assert_eq!(values.tree, tree.to_blob());
        assert_eq!(values.signatures.is_some(), mode == SigningMode::Dual);
        if let Some(value) = values.signatures {
            let node = NodeSignature::from_json(value).expect("reads");
            assert_eq!((&node.node, node.tx_id, node.root), (&node_id, tx_id, tree.root()));
            node.verify(node_key.public_key(), &tree.root()).expect("verifies");
        }
        let service = ServiceSignature::from_json(values.cose_signatures.expect("there")).expect("reads");
        service.verify(service_key.public_key(), tx_id, &tree.root()).expect("verifies");
        assert!(service.decode().expect("decodes").is_by(service_key.public_key()));
    }
}

/// Section 4.10, 6: a signature with anything else, or without the tree, is refused.
#[test]
fn only_the_exact_shape_is_a_signature_transaction() {
    let secret = secret(KEY, 1);
    let classify = |maps: &[(&'static str, &[u8])]| {
        let mut encoder = DomainEncoder::new();
        for (name, key) in maps {
            encoder.map(&MapName::from_static(name), 1, 0);
            encoder.write(key, b"value");
        }
        let context = EntryContext {
            tx_id: TxId::new(2, 2),
            flags: Flags::NONE,
            claims_digest: Digest::ZERO,
            secret: &secret,
        };
        let sealed = seal(&mut encoder, &context).expect("seals");
        let entry = Entry::parse(&sealed.bytes).expect("valid");
        SignatureValues::of(&entry).map(|values| values.is_some())
    };
    const NODE: &str = "public:ccf.internal.signatures";
    const COSE: &str = "public:ccf.internal.cose_signatures";
    const BLOB: &str = "public:ccf.internal.tree";
    let unit = UNIT_KEY.as_slice();
    assert_eq!((SIGNATURES.as_str(), TREE.as_str()), (NODE, BLOB));
    assert_eq!(classify(&[(COSE, unit), (NODE, unit), (BLOB, unit)]), Ok(true));
    assert_eq!(classify(&[(NODE, unit), (BLOB, unit)]), Ok(true));
    assert_eq!(classify(&[(COSE, unit), (BLOB, unit)]), Ok(true));
    assert_eq!(classify(&[(BLOB, unit)]), Ok(false));
    assert_eq!(classify(&[("public:a", b"k")]), Ok(false));
    for wrong in [
        &[(NODE, unit)] as &[_],
        &[(COSE, unit), (NODE, unit)],
        &[(NODE, unit), (BLOB, unit), ("public:x", b"k")],
        &[("public:ccf.gov.x", b"k"), (NODE, unit), (BLOB, unit)],
        &[("a", b"k"), (NODE, unit), (BLOB, unit)],
        &[(NODE, b"key"), (BLOB, unit)],
        &[(NODE, unit), (BLOB, b"key")],
    ] {
        let result = classify(wrong);
        assert!(matches!(result, Err(SignatureError::Shape) | Ok(false)), "{wrong:?}: {result:?}");
        assert!(result.is_err() || wrong[0].1 == b"key", "{wrong:?}");
    }
}
