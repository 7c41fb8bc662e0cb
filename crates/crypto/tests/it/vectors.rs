//! The vectors of the specification that concern this crate.

use ccf_crypto::{
    aead::AeadKey,
    cert::{Certificate, parse_valid_from, verify_chain},
    cose::{
        CoseError, Endorsement, EndorsementRecord, IdentityError, LedgerSignature, MemberRequest,
        MessageType, ServiceKeys, Sign1, UnprotectedValue, WhichAlgorithm, label, set_unprotected_header,
        verify_endorsements,
    },
    hash::{HashAlgorithm, sha256, sha256_pair},
    key::{PublicKey, SignatureFormat},
    sharing::{Share, SharedSecret},
    wrap::{aes_kwp_unwrap, aes_kwp_wrap},
};
use ccf_types::{Digest, SeqNo, TxId};

use crate::{base64, bytes, digest, text, vector};

/// V1: node signature over the root, the root from the leaves, the node id, who issued the certificate.
#[test]
fn v1_json_receipt() {
    let node = Certificate::from_pem(&text("/V1_json_receipt/receipt/cert")).unwrap();
    assert_eq!(node.der(), bytes("/V1_json_receipt/node_cert_der"));
    assert_eq!(node.to_pem(), text("/V1_json_receipt/receipt/cert"));
    let service = Certificate::from_der(&bytes("/V1_json_receipt/service_cert_der")).unwrap();
    assert_eq!(service.spki_der(), bytes("/V1_json_receipt/service_spki"));

    let root = digest("/V1_json_receipt/root");
    let signature = base64("/V1_json_receipt/receipt/signature");
    let key = node.public_key().unwrap();
    key.verify_root(&root, &signature).unwrap();
    assert_eq!(key.node_id().as_str(), text("/V1_json_receipt/receipt/node_id"));
    assert_eq!(key.node_id().as_str(), "9e2c7da91d5f811847be2d46409fa93182765ceb90d595c6d2316bcdae00269f");

    // The root is the digest itself, not the message (property 2).
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
        assert!(key.verify_ecdsa(hash, &root.0, &signature, SignatureFormat::Der).is_err());
    }
    for bit in 0..256 {
        let mut other = root;
        other.0[bit / 8] ^= 1 << (bit % 8);
        assert!(key.verify_root(&other, &signature).is_err());
    }

    // Leaf from its components, then the root from leaf and proof, then from all four leaves.
    let components = "/V1_json_receipt/receipt/leaf_components";
    let leaf = sha256(
        &[
            bytes(&format!("{components}/write_set_digest")),
            sha256(text(&format!("{components}/commit_evidence")).as_bytes()).0.to_vec(),
            bytes(&format!("{components}/claims_digest")),
        ]
        .concat(),
    );
    assert_eq!(leaf, digest("/V1_json_receipt/leaf"));
    let above = sha256_pair(&digest("/V1_json_receipt/receipt/proof/0/left"), &leaf);
    assert_eq!(sha256_pair(&digest("/V1_json_receipt/receipt/proof/1/left"), &above), root);
    let leaves: Vec<Digest> =
        (0..4).map(|index| digest(&format!("/V1_json_receipt/leaves/{index}"))).collect();
    let pairs = [sha256_pair(&leaves[0], &leaves[1]), sha256_pair(&leaves[2], &leaves[3])];
    assert_eq!(sha256_pair(&pairs[0], &pairs[1]), root);

    // Both are long expired: receipts do not look at dates.
    verify_chain(&node, &[], std::slice::from_ref(&service), None).unwrap();
    assert!(!node.is_ca() && service.is_ca());
    assert!(verify_chain(&service, &[], std::slice::from_ref(&service), None).is_ok());
    assert!(verify_chain(&service, &[], std::slice::from_ref(&node), None).is_err());
}

/// V2: the COSE signature of the same root, and the receipt made of it.
#[test]
fn v2_ledger_signature() {
    let cose = bytes("/V2_cose/cose_signature");
    let service = PublicKey::from_spki_der(&bytes("/V2_cose/service_spki")).unwrap();
    let root = digest("/V2_cose/detached_payload");
    assert_eq!(cose.len(), 243);

    let signature = LedgerSignature::decode(&cose).unwrap();
    assert_eq!(signature.message.protected_bytes(), bytes("/V2_cose/protected"));
    assert_eq!(signature.header.tx_id, TxId::new(2, 4));
    assert_eq!(signature.header.algorithm, -35);
    assert!(signature.is_by(&service));
    assert_eq!(service.id().to_string(), "25d7fc06a518065ba02d45120e3c54e60b4f37a50f579f5eb2a376b9a1c452b5");
    signature.verify(&service, &root).unwrap();
    assert!(signature.verify(&service, &Digest::ZERO).is_err());
    let mut flipped = cose.clone();
    for index in 0..cose.len() {
        flipped[index] ^= 1;
        let refused = match LedgerSignature::decode(&flipped) {
            Ok(signature) => signature.verify(&service, &root).is_err(),
            Err(_) => true,
        };
        // The value of the unprotected map is not signed; there is none here to flip.
        assert!(refused, "byte {index}");
        flipped[index] ^= 1;
    }

    let receipt = set_unprotected_header(
        &cose,
        UnprotectedValue::NestedList { key: label::VDP, subkey: -1, value: &bytes("/V2_cose/proof_map") },
    )
    .unwrap();
    assert_eq!(receipt, bytes("/V2_cose/cose_receipt"));
    assert_eq!(receipt.len(), 469);
    assert_eq!(set_unprotected_header(&receipt, UnprotectedValue::Empty).unwrap(), cose);
    LedgerSignature::decode(&receipt).unwrap().verify(&service, &root).unwrap();
}

fn record(name: &str) -> EndorsementRecord {
    serde_json::from_value(vector(&format!("/{name}/table_value"))).unwrap()
}

/// V3: endorsements of real services, among them one that should never have been written.
#[test]
fn v3_endorsements() {
    let (first, second, defective) =
        (record("V3a_self_endorsement"), record("V3b_endorsement"), record("V3c_defective"));
    let old = PublicKey::from_spki_der(&bytes("/V3a_self_endorsement/service_spki_at_that_time")).unwrap();
    let new = PublicKey::from_spki_der(&bytes("/V3b_endorsement/service_spki_at_that_time")).unwrap();
    for (name, record) in [("V3a_self_endorsement", &first), ("V3b_endorsement", &second)] {
        assert_eq!(record.endorsement, bytes(&format!("/{name}/endorsement")));
        assert_eq!(serde_json::to_value(record).unwrap(), vector(&format!("/{name}/table_value")));
    }

    let own = Endorsement::verify(&first.endorsement, &old).unwrap();
    assert_eq!((own.key, own.begin, own.end), (old.clone(), TxId::new(2, 1), None));
    let endorsement = Endorsement::verify(&second.endorsement, &new).unwrap();
    assert_eq!(endorsement.key, old);
    assert_eq!((endorsement.begin, endorsement.end), (TxId::new(2, 1), Some(TxId::new(2, 483))));
    let defect = Endorsement::verify(&defective.endorsement, &new).unwrap();
    assert!(endorsement.end_root.is_some() && endorsement.end_root == defect.end_root);
    assert!(Endorsement::verify(&second.endorsement, &old).is_err());

    let created = TxId::new(4, 484);
    for records in
        [vec![second.clone(), first.clone()], vec![defective.clone(), second.clone(), first.clone()]]
    {
        let keys = ServiceKeys::verify(&records, &new, created).unwrap();
        assert_eq!(keys.key_at(SeqNo(483)), Some(&old));
        assert_eq!(keys.key_at(SeqNo(484)), Some(&new));
        assert_eq!(keys.key_at(SeqNo(0)), None);
        assert_eq!(keys.keys().count(), 2);
        assert_eq!(keys.endorsements_for(SeqNo(1)), [&second.endorsement]);
        assert_eq!(keys.endorsements_for(SeqNo(483)), [&second.endorsement]);
        assert!(keys.endorsements_for(SeqNo(484)).is_empty());
        assert!(keys.endorsements_for(SeqNo(0)).is_empty());
    }
    // The first service, while it was the current one.
    let keys = ServiceKeys::verify(std::slice::from_ref(&first), &old, TxId::new(2, 1)).unwrap();
    assert_eq!(keys.key_at(SeqNo(17)), Some(&old));
    assert!(keys.endorsements_for(SeqNo(17)).is_empty());

    let refused = |records: &[EndorsementRecord], own: &PublicKey, created| {
        ServiceKeys::verify(records, own, created).unwrap_err()
    };
    assert_eq!(refused(&[], &new, created), IdentityError::Missing);
    assert_eq!(refused(std::slice::from_ref(&second), &new, created), IdentityError::Missing);
    assert_eq!(refused(std::slice::from_ref(&defective), &new, created), IdentityError::Missing);
    assert!(matches!(refused(&[second.clone(), first.clone()], &old, created), IdentityError::WrongKey(_)));
    assert!(matches!(
        refused(&[second.clone(), first.clone()], &new, TxId::new(4, 485)),
        IdentityError::Gap(_)
    ));

    assert_eq!(verify_endorsements(&new, &[&second.endorsement], SeqNo(200)), Ok(old.clone()));
    assert_eq!(verify_endorsements(&new, &[] as &[&[u8]], SeqNo(600)), Ok(new.clone()));
    assert_eq!(
        verify_endorsements(&new, &[&second.endorsement], SeqNo(484)),
        Err(IdentityError::NotCovered(SeqNo(484)))
    );
    assert!(verify_endorsements(&new, &[&defective.endorsement], SeqNo(200)).is_err());
    assert!(verify_endorsements(&new, &[&first.endorsement], SeqNo(200)).is_err());
}

/// V4: shares of a real recovery, and a ledger secret under its successor.
#[test]
fn v4_shares() {
    let mut shares: Vec<Share> = (0..3)
        .map(|index| Share::from_bytes(&bytes(&format!("/V4_shares/shares/{index}"))).unwrap())
        .collect();
    let wrapped = bytes("/V4_shares/wrapped");
    for _ in 0..3 {
        shares.rotate_left(1);
        let secret = SharedSecret::recover(&shares, 3).unwrap();
        assert_eq!(secret.to_full_share().to_bytes()[..], bytes("/V4_shares/secret_serialised"));
        assert_eq!(secret.unwrap(&wrapped).unwrap()[..], bytes("/V4_shares/ledger_secret"));
        assert!(SharedSecret::recover(&shares, 2).unwrap().unwrap(&wrapped).is_err());
    }

    let key = AeadKey::new(&bytes("/V4b_historical/new_secret").try_into().unwrap());
    let blob = base64("/V4b_historical/table_value/previous_ledger_secret/encrypted_data");
    assert_eq!(blob, bytes("/V4b_historical/encrypted"));
    assert_eq!(key.open_blob(b"", &blob).unwrap()[..], bytes("/V4b_historical/previous_secret"));
}

/// V5: governance messages of real members, and the identifiers made of them.
#[test]
fn v5_governance() {
    for (name, message_type) in [("proposal", MessageType::Proposal), ("ballot", MessageType::Ballot)] {
        let at = |member: &str| format!("/V5_governance/{name}/{member}");
        let certificate = Certificate::from_der(&bytes(&at("member_cert_der"))).unwrap();
        assert_eq!(certificate.member_id().as_str(), text(&at("member_id")));
        let cose = base64(&at("cose_b64"));
        let request = MemberRequest::decode(&cose).unwrap();
        assert_eq!(request.key_id, text(&at("member_id")));
        assert_eq!(request.created_at, 1_746_707_517);
        request.expect_type(message_type).unwrap();
        assert_eq!(request.expect_type(MessageType::Ack), Err(CoseError::WrongType));
        request.verify(certificate.public_key().unwrap()).unwrap();
        if name == "ballot" {
            assert_eq!(request.proposal_id, Some(text(&at("proposal_id")).as_str()));
        } else {
            assert_eq!(request.message.signature(), bytes(&at("signature")));
            let request_digest = sha256(request.message.signature());
            let id = sha256_pair(&digest(&at("root_at_read")), &request_digest);
            assert_eq!(id.to_string(), text(&at("proposal_id")));
            let key = format!("{:010}:{request_digest}", request.created_at);
            assert_eq!(key, text(&at("recent_proposals_key")));
        }
    }
    let other = Certificate::from_der(&bytes("/V5_governance/ballot/member_cert_der")).unwrap();
    let cose = base64("/V5_governance/proposal/cose_b64");
    let request = MemberRequest::decode(&cose).unwrap();
    assert!(request.verify(other.public_key().unwrap()).is_err());
}

/// V6, as far as it is about certificates: AMD's chain with its RSA-PSS signatures, in the right order only, and the
/// report signature, whose numbers are little-endian.
#[test]
fn v6_amd_chains() {
    for processor in ["milan", "genoa"] {
        let certificate = |index: usize| {
            let pointer = format!("/V6_snp/{processor}/certs_der_b64_vcek_ask_ark/{index}");
            Certificate::from_der(&base64(&pointer)).unwrap()
        };
        let (vcek, ask, ark) = (certificate(0), certificate(1), certificate(2));
        verify_chain(&vcek, std::slice::from_ref(&ask), std::slice::from_ref(&ark), None).unwrap();
        assert!(verify_chain(&vcek, &[], std::slice::from_ref(&ark), None).is_err());
        assert!(verify_chain(&ask, std::slice::from_ref(&vcek), std::slice::from_ref(&vcek), None).is_err());
        let root = ark.public_key().unwrap();
        assert_eq!(root.id().to_string(), text(&format!("/V6_snp/{processor}/ark_spki_sha256")));
        let not_after = text(&format!("/V6_snp/{processor}/vcek_not_after"));
        assert_eq!(Ok(vcek.validity().not_after()), parse_valid_from(&not_after));

        let report = base64(&format!("/V6_snp/{processor}/report_b64"));
        let number = |start: usize| report[start..start + 48].iter().rev().copied().collect::<Vec<u8>>();
        let signature = [number(0x2a0), number(0x2a0 + 72)].concat();
        let key = vcek.public_key().unwrap();
        let verify = |report: &[u8]| {
            key.verify_ecdsa(HashAlgorithm::Sha384, &report[..0x2a0], &signature, SignatureFormat::P1363)
        };
        verify(&report).unwrap();
        let mut changed = report.clone();
        for index in (0..0x2a0).step_by(37) {
            changed[index] ^= 1;
            assert!(verify(&changed).is_err());
            changed[index] ^= 1;
        }
    }
}

/// V7, as far as it is about COSE: RSA-PSS signatures and the certificate chain in the header.
#[test]
fn v7_uvm_endorsements() {
    for name in ["containerplat_svn_100", "confaks_svn_1", "integer_svn_102", "new_form_svn_104"] {
        let cose = base64(&format!("/V7_uvm/{name}/cose_b64"));
        let message = Sign1::decode(&cose).unwrap();
        assert_eq!(Some(message.algorithm().unwrap()), vector(&format!("/V7_uvm/{name}/alg")).as_i64());
        let chain: Vec<Certificate> = message
            .header()
            .get(label::X5CHAIN)
            .unwrap()
            .array()
            .unwrap()
            .iter()
            .map(|item| Certificate::from_der(item.bytes().unwrap()).unwrap())
            .collect();
        message.verify(chain[0].public_key().unwrap(), WhichAlgorithm::OfTheKey).unwrap();
        verify_chain(&chain[0], &chain[1..chain.len() - 1], &chain[chain.len() - 1..], None).unwrap();
        assert!(message.verify(chain[1].public_key().unwrap(), WhichAlgorithm::OfTheKey).is_err());
        let usage = if name == "confaks_svn_1" { 5 } else { 2 };
        let oid = [&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x4c, 0x3b, 0x01][..], &[usage]].concat();
        assert!(chain[0].extended_key_usages().contains(&oid.as_slice()));
    }
}

/// V8.
#[test]
fn v8_aes_kwp() {
    for index in 0..2 {
        let at = |member: &str| bytes(&format!("/V8_aes_kwp/{index}/{member}"));
        assert_eq!(aes_kwp_wrap(&at("kek"), &at("data")).unwrap(), at("wrapped"));
        assert_eq!(*aes_kwp_unwrap(&at("kek"), &at("wrapped")).unwrap(), at("data"));
        let mut flipped = at("wrapped");
        flipped[0] ^= 1;
        assert!(aes_kwp_unwrap(&at("kek"), &flipped).is_err());
    }
}

/// V10: a receipt of a transparency service reads, and the claim is the digest of its statement without receipts.
#[test]
fn v10_statement() {
    let receipt = bytes("/V10_scitt_receipt/receipt");
    let signature = LedgerSignature::decode(&receipt).unwrap();
    assert_eq!(signature.header.tx_id.to_string(), text("/V10_scitt_receipt/signature_txid"));
    let statement = base64("/V7_uvm/new_form_svn_104/cose_b64");
    let bare = set_unprotected_header(&statement, UnprotectedValue::Empty).unwrap();
    assert_eq!(sha256(&bare), digest("/V10_scitt_receipt/claims_digest"));
}
