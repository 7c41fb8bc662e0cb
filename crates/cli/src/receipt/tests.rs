//! What is said of receipts: of bare digests, of keys and endorsements that do not fit, of files that are none.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::{
    cert::{CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    cose::{SignatureClaims, endorse_previous_service, endorse_self, sign_ledger_root},
    key::{Curve, EcKeyPair},
};
use ccf_ledger::{
    merkle::{MerkleTree, Proof, ProofStep},
    receipt::cose_receipt as make_cose,
};
use time::OffsetDateTime;

fn validity() -> Validity {
    Validity::from_days(OffsetDateTime::UNIX_EPOCH, 90).expect("dates")
}

fn service() -> (EcKeyPair, Certificate) {
    let key = EcKeyPair::generate(Curve::P384).expect("key");
    let name = Name::parse("CN=CCF Service").expect("a name");
    let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity()).expect("issued");
    (key, certificate)
}

/// A receipt in JSON with this leaf and path, by a node of the service.
fn json(service: &(EcKeyPair, Certificate), leaf: Digest, proof: Proof) -> Vec<u8> {
    let node = EcKeyPair::generate(Curve::P384).expect("key");
    let request = SigningRequest::create(&node, &Name::parse("CN=CCF Node").expect("a name"), &[]);
    let issuer = Issuer::new(&service.1, &service.0).expect("its key");
    let cert = issuer.endorse(&request.expect("made"), CertificateKind::Leaf, &validity()).expect("issued");
    let signature = STANDARD.encode(node.sign_root(&proof.root(&leaf)).expect("signs"));
    let receipt = Receipt {
        cert: cert.to_pem(),
        leaf: ReceiptLeaf::Leaf(leaf),
        node_id: node.public_key().node_id(),
        proof,
        service_endorsements: Vec::new(),
        signature,
    };
    serde_json::to_vec(&receipt).expect("written")
}

/// A COSE receipt of transaction 2.2 by this service.
fn cose(key: &EcKeyPair) -> Vec<u8> {
    let components = LeafComponents {
        claims_digest: None,
        commit_evidence: "ce:2.2:aa".to_owned(),
        write_set_digest: Digest([4; 32]),
    };
    let mut tree = MerkleTree::new();
    for leaf in [Digest([1; 32]), components.leaf(Some(&Digest::ZERO)), Digest([2; 32])] {
        tree.append(leaf);
    }
    let signature =
        sign_ledger_root(key, &SignatureClaims::default(), 7, TxId::new(2, 4), &tree.root()).expect("signs");
    make_cose(&signature, &components, &tree.proof(2).expect("held")).expect("made")
}

#[track_caller]
fn refused(judged: Result<Proved, String>, parts: &[&str]) {
    let reason = judged.expect_err("refused");
    parts.iter().for_each(|part| assert!(reason.contains(part), "{part:?} is not in: {reason}"));
}

#[test]
fn a_digest_from_within_the_tree_is_not_called_an_entry() {
    let service = service();
    let inner = Digest([5; 32]);
    let told = |proof| {
        let proved = judge(&json(&service, inner, proof), &service.1, None, &[]).expect("holds");
        in_words(&proved, &service.1, None).join("\n")
    };
    let bare = told(Proof { steps: vec![ProofStep::Left(Digest([6; 32]))] });
    assert!(bare.contains(&format!("- The digest {inner} is part of the ledger that was signed.")), "{bare}");
    assert!(bare.contains("may begin anywhere in the tree") && !bare.contains("An entry"), "{bare}");
    let signature = told(Proof::default());
    assert!(signature.contains("the receipt of a signature transaction"), "{signature}");
    assert!(!signature.contains("anywhere in the tree"), "{signature}");
}

#[test]
fn the_key_of_another_service_is_named() {
    let ((key, certificate), (other, today)) = (service(), service());
    let receipt = cose(&key);
    judge(&receipt, &certificate, None, &[]).expect("holds");
    let signed_by = format!("signed by service key {}", key.public_key().id());
    let has = format!("the certificate has key {}", other.public_key().id());
    refused(judge(&receipt, &today, None, &[]), &[&signed_by, &has, "--endorsement (newest first)"]);
}

#[test]
fn the_endorsement_that_does_not_fit_is_named() {
    let services = [service(), service(), service()];
    let created = [TxId::new(2, 1), TxId::new(4, 10), TxId::new(6, 20)];
    let root = Digest([9; 32]);
    let first = endorse_self(&services[0].0, created[0], 1).expect("signed");
    let second =
        endorse_previous_service(&services[1].0, &first, SeqNo(1), created[1], &root, 2).expect("signed");
    let third =
        endorse_previous_service(&services[2].0, &second, SeqNo(11), created[2], &root, 3).expect("signed");
    let file = |file: &str, cose: &[u8]| Endorsement { file: file.to_owned(), cose: cose.to_vec() };
    let newest = || file("newest", &third.endorsement);
    let oldest = || file("oldest", &second.endorsement);
    let receipt = cose(&services[0].0);
    let today = &services[2].1;
    let proved = judge(&receipt, today, None, &[newest(), oldest()]).expect("holds");
    assert_eq!(proved.endorsements, 2);
    refused(judge(&receipt, today, None, &[oldest(), newest()]), &["endorsement 1 of 2, oldest"]);
    refused(judge(&receipt, today, None, &[newest(), newest()]), &["endorsement 2 of 2, newest"]);
    refused(judge(&receipt, today, None, &[newest(), oldest(), file("none", b"?")]), &["3 of 3, none"]);
    refused(judge(&receipt, today, None, &[newest()]), &["another time", "transaction 2"]);
    let other = cose(&services[1].0);
    refused(judge(&other, today, None, &[newest(), oldest()]), &["the endorsements lead to key"]);
}

#[test]
fn files_that_are_no_receipts() {
    let (key, certificate) = service();
    for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----", b"\x84", b"[]"] {
        refused(judge(bytes, &certificate, None, &[]), &["neither a JSON nor a COSE receipt"]);
    }
    let endorsement = Endorsement { file: "any".to_owned(), cose: Vec::new() };
    let receipt = json(&(key, certificate.clone()), Digest([5; 32]), Proof::default());
    judge(&receipt, &certificate, None, &[]).expect("holds");
    refused(judge(&receipt, &certificate, None, &[endorsement]), &["--endorsement is for COSE receipts"]);
}
