//! COSE: what we make, an independent library reads, and the other way round; and everything that is refused.

use ccf_crypto::{
    cbor::{CborError, Writer},
    cose::{
        CoseError, LedgerSignature, MemberRequest, MessageType, Payload, ServiceKeys, Sign1, SignatureClaims,
        UnprotectedValue, UserRequest, WhichAlgorithm, endorse_previous_service, endorse_self, label,
        set_unprotected_header, sign_ledger_root, sign1, verify_endorsements,
    },
    hash::HashAlgorithm,
    key::{Curve, EcKeyPair, PublicKey, RsaKeyPair, SignatureError, SignatureFormat},
};
use ccf_types::{Digest, SeqNo, TxId};
use coset::{CoseSign1, TaggedCborSerializable};
use proptest::prelude::*;

use crate::openssl;

fn verify_with_coset(message: &CoseSign1, payload: Option<&[u8]>, key: &PublicKey) {
    let hash = key.curve().unwrap().hash();
    let check =
        |signature: &[u8], data: &[u8]| key.verify_ecdsa(hash, data, signature, SignatureFormat::P1363);
    match payload {
        Some(payload) => message.verify_detached_signature(payload, b"", check).unwrap(),
        None => message.verify_signature(b"", check).unwrap(),
    }
}

#[test]
fn ledger_signatures_have_the_profile() {
    for curve in [Curve::P256, Curve::P384] {
        let key = EcKeyPair::generate(curve).unwrap();
        let claims = SignatureClaims { issuer: "service.example".to_owned(), subject: "ledger".to_owned() };
        let root = Digest([9; 32]);
        let cose = sign_ledger_root(&key, &claims, 1_746_707_517, TxId::new(2, 4), &root).unwrap();

        let signature = LedgerSignature::decode(&cose).unwrap();
        assert_eq!(signature.header.claims, claims);
        assert_eq!(signature.header.tx_id, TxId::new(2, 4));
        assert_eq!(signature.header.issued_at, Some(1_746_707_517));
        assert!(signature.is_by(key.public_key()));
        signature.verify(key.public_key(), &root).unwrap();
        assert!(signature.verify(key.public_key(), &Digest::ZERO).is_err());
        assert!(!signature.is_by(EcKeyPair::generate(curve).unwrap().public_key()));

        // Labels in deterministic order: 1, 4, 15, 395, "ccf.v1".
        let labels: Vec<String> = signature
            .message
            .header()
            .entries()
            .iter()
            .map(|(label, _)| {
                label.integer().map_or_else(|_| label.text().unwrap().to_owned(), |n| n.to_string())
            })
            .collect();
        assert_eq!(labels, ["1", "4", "15", "395", "ccf.v1"]);

        let theirs = CoseSign1::from_tagged_slice(&cose).unwrap();
        verify_with_coset(&theirs, Some(&root.0), key.public_key());
        assert_eq!(theirs.to_tagged_vec().unwrap(), cose);
    }
}

/// Headers written by older releases come in another order; a missing or wrong entry is refused.
#[test]
fn ledger_signature_headers() {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let kid = key.public_key().id().to_string();
    let entry = |label: i64, value: &[u8]| {
        let mut writer = Writer::new();
        writer.integer(label).raw(value);
        writer.finish()
    };
    let write = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.finish()
    };
    let alg = entry(1, &write(&|w| _ = w.integer(-35)));
    let kid = entry(4, &write(&|w| _ = w.bytes(kid.as_bytes())));
    let vds = entry(395, &write(&|w| _ = w.integer(2)));
    let cwt =
        entry(15, &write(&|w| _ = w.map(3).integer(6).integer(7).integer(1).text("").integer(2).text("")));
    let ccf = write(&|w| _ = w.text("ccf.v1").map(1).text("txid").text("2.4"));
    let encode = |entries: &[&[u8]]| {
        let mut header = Writer::new();
        header.map(entries.len() as u64);
        entries.iter().for_each(|entry| _ = header.raw(entry));
        sign1(&key, &header.finish(), Payload::Detached(&[5; 32])).unwrap()
    };
    let good = encode(&[&alg, &kid, &vds, &cwt, &ccf]);
    let signature = LedgerSignature::decode(&good).unwrap();
    signature.verify(key.public_key(), &Digest([5; 32])).unwrap();
    assert_eq!(signature.header.claims, SignatureClaims::default());

    let all = [&alg, &kid, &vds, &cwt, &ccf];
    for missing in 0..all.len() {
        let rest: Vec<&[u8]> = all
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != missing)
            .map(|(_, entry)| entry.as_slice())
            .collect();
        assert!(matches!(LedgerSignature::decode(&encode(&rest)), Err(CoseError::MissingHeader(_))));
    }
    let other_vds = entry(395, &write(&|w| _ = w.integer(1)));
    let no_subject = entry(15, &write(&|w| _ = w.map(1).integer(1).text("")));
    let bad_txid = write(&|w| _ = w.text("ccf.v1").map(1).text("txid").text("2"));
    for (bad, error) in [
        (encode(&[&alg, &kid, &other_vds, &cwt, &ccf]), CoseError::InvalidHeader("vds")),
        (encode(&[&alg, &kid, &vds, &no_subject, &ccf]), CoseError::MissingHeader("sub")),
        (encode(&[&alg, &kid, &vds, &cwt, &bad_txid]), CoseError::InvalidHeader("txid")),
        (encode(&[&alg, &alg, &kid, &vds, &cwt, &ccf]), CoseError::Cbor(CborError::DuplicateKey)),
    ] {
        assert_eq!(LedgerSignature::decode(&bad).unwrap_err(), error);
    }
}

fn proposal(key: &EcKeyPair) -> Vec<u8> {
    MemberRequest::sign(
        key,
        &"ab".repeat(32),
        MessageType::Proposal,
        1_700_000_000,
        None,
        b"{\"actions\":[]}",
    )
    .unwrap()
}

#[test]
fn member_requests_round_trip() {
    for curve in Curve::ALL {
        let key = EcKeyPair::generate(curve).unwrap();
        let cose = proposal(&key);
        let request = MemberRequest::decode(&cose).unwrap();
        assert_eq!(request.key_id, "ab".repeat(32));
        assert_eq!(request.created_at, 1_700_000_000);
        assert_eq!(request.content, b"{\"actions\":[]}");
        assert_eq!(request.proposal_id, None);
        request.expect_type(MessageType::Proposal).unwrap();
        request.verify(key.public_key()).unwrap();
        let theirs = CoseSign1::from_tagged_slice(&cose).unwrap();
        verify_with_coset(&theirs, None, key.public_key());

        let other = EcKeyPair::generate(curve).unwrap();
        assert_eq!(request.verify(other.public_key()), Err(CoseError::Signature(SignatureError::Invalid)));
    }
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let ballot = MemberRequest::sign(&key, "m", MessageType::Ballot, 0, Some("proposal"), b"ballot").unwrap();
    assert_eq!(MemberRequest::decode(&ballot).unwrap().proposal_id, Some("proposal"));
    let rsa = RsaKeyPair::from_pem(&openssl("rsa.key.pem")).unwrap();
    assert!(matches!(
        MemberRequest::decode(&ballot).unwrap().verify(rsa.public_key()),
        Err(CoseError::AlgorithmMismatch(-35))
    ));
}

#[test]
fn user_requests_round_trip() {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    for (message_type, created_at) in [(None, None), (Some("create"), Some(0)), (Some(""), None)] {
        let cose = UserRequest::sign(&key, "user", message_type, created_at, b"payload").unwrap();
        let request = UserRequest::decode(&cose).unwrap();
        assert_eq!((request.key_id, request.content), ("user", &b"payload"[..]));
        assert_eq!((request.message_type, request.created_at), (message_type, created_at));
        request.verify(key.public_key()).unwrap();
    }
}

/// A request whose header maps are written by `header` and whose algorithm is `alg`.
fn request_with(key: &EcKeyPair, alg: i64, more: u64, header: impl Fn(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.map(3 + more).integer(1).integer(alg).integer(4).bytes(b"kid");
    writer.text("ccf.gov.msg.created_at").unsigned(1);
    header(&mut writer);
    sign1(key, &writer.finish(), Payload::Attached(b"payload")).unwrap()
}

/// Check 8, as far as it is about the message itself.
#[test]
fn requests_that_are_refused() {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let good = request_with(&key, -35, 0, |_| {});
    MemberRequest::decode(&good).unwrap().verify(key.public_key()).unwrap();

    // Not tagged, bytes after it, another tag, not four elements, detached.
    assert_eq!(Sign1::decode(&good[1..]).unwrap_err(), CoseError::NotSign1);
    let trailing = [good.as_slice(), &[0]].concat();
    assert_eq!(Sign1::decode(&trailing).unwrap_err(), CoseError::Cbor(CborError::Trailing));
    assert_eq!(Sign1::decode(&[&[0xd1], &good[1..]].concat()).unwrap_err(), CoseError::NotSign1);
    assert_eq!(Sign1::decode(&[0xd2, 0x80]).unwrap_err(), CoseError::NotSign1);
    let mut writer = Writer::new();
    writer.map(3).integer(1).integer(-35).integer(4).bytes(b"kid").text("ccf.gov.msg.created_at").unsigned(1);
    let detached = sign1(&key, &writer.finish(), Payload::Detached(b"payload")).unwrap();
    assert_eq!(MemberRequest::decode(&detached).unwrap_err(), CoseError::DetachedPayload);

    // Missing and mistyped parameters.
    let header = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        write(&mut writer);
        sign1(&key, &writer.finish(), Payload::Attached(b"")).unwrap()
    };
    for (message, error) in [
        (header(&|w| _ = w.map(0)), CoseError::MissingHeader("alg")),
        (header(&|w| _ = w.map(1).integer(1).text("ES384")), CoseError::InvalidHeader("alg")),
        (
            header(&|w| _ = w.map(2).integer(1).integer(-35).text("ccf.gov.msg.created_at").integer(1)),
            CoseError::MissingHeader("kid"),
        ),
        (
            header(&|w| _ = w.map(2).integer(1).integer(-35).integer(4).bytes(b"k")),
            CoseError::MissingHeader("ccf.gov.msg.created_at"),
        ),
        (
            header(&|w| {
                w.map(3)
                    .integer(1)
                    .integer(-35)
                    .integer(4)
                    .bytes(b"k")
                    .text("ccf.gov.msg.created_at")
                    .integer(-1);
            }),
            CoseError::InvalidHeader("ccf.gov.msg.created_at"),
        ),
        (
            header(&|w| {
                w.map(3)
                    .integer(1)
                    .integer(-35)
                    .integer(4)
                    .text("k")
                    .text("ccf.gov.msg.created_at")
                    .integer(1);
            }),
            CoseError::InvalidHeader("kid"),
        ),
        (
            request_with(&key, -35, 1, |w| _ = w.text("ccf.gov.msg.type").integer(1)),
            CoseError::InvalidHeader("ccf.gov.msg.type"),
        ),
        (
            request_with(&key, -35, 1, |w| _ = w.integer(1).integer(-35)),
            CoseError::Cbor(CborError::DuplicateKey),
        ),
        (
            header(&|w| {
                let w = w.map(3).integer(1).integer(-35).integer(4).bytes(b"k");
                w.text("ccf.gov.msg.created_at").unsigned(1 << 63);
            }),
            CoseError::InvalidHeader("ccf.gov.msg.created_at"),
        ),
        (
            header(&|w| {
                let w = w.map(3).integer(1).integer(-35).integer(4).bytes(&[0xff; 32]);
                w.text("ccf.gov.msg.created_at").unsigned((1 << 63) - 1);
            }),
            CoseError::UnknownKeyId,
        ),
        (request_with(&key, -35, 1, |w| _ = w.integer(2).array(0)), CoseError::InvalidHeader("crit")),
        (request_with(&key, -35, 1, |w| _ = w.integer(2).array(1).integer(99)), CoseError::UnknownCritical),
        (request_with(&key, -35, 1, |w| _ = w.integer(2).array(1).text("x")), CoseError::UnknownCritical),
    ] {
        assert_eq!(MemberRequest::decode(&message).unwrap_err(), error);
        let is_understood = matches!(error, CoseError::UnknownCritical | CoseError::UnknownKeyId);
        assert_eq!(error.is_malformed(), !is_understood);
    }
    let critical = request_with(&key, -35, 1, |w| _ = w.integer(2).array(1).text("ccf.gov.msg.created_at"));
    MemberRequest::decode(&critical).unwrap().verify(key.public_key()).unwrap();

    // An algorithm of another curve: refused now, accepted in old records; unknown ones always refused.
    let es256 = {
        let mut writer = Writer::new();
        writer
            .map(3)
            .integer(1)
            .integer(-7)
            .integer(4)
            .bytes(b"k")
            .text("ccf.gov.msg.created_at")
            .unsigned(1);
        let protected = writer.finish();
        let mut signed = Writer::new();
        signed.array(4).text("Signature1").bytes(&protected).bytes(b"").bytes(b"payload");
        let signature = key.sign(HashAlgorithm::Sha256, &signed.finish(), SignatureFormat::P1363).unwrap();
        let mut message = Writer::new();
        message.tag(18).array(4).bytes(&protected).map(0).bytes(b"payload").bytes(&signature);
        message.finish()
    };
    let request = MemberRequest::decode(&es256).unwrap();
    assert_eq!(request.verify(key.public_key()), Err(CoseError::AlgorithmMismatch(-7)));
    request.verify_recorded(key.public_key()).unwrap();
    for alg in [-8, -257, 5, 0] {
        let unknown = request_with(&key, alg, 0, |_| {});
        let request = MemberRequest::decode(&unknown).unwrap();
        assert_eq!(request.verify(key.public_key()), Err(CoseError::UnsupportedAlgorithm(alg)));
        assert!(request.verify_recorded(key.public_key()).is_err());
    }
}

/// The limit of 16 levels holds in the message, in its protected header, and without recursion running away.
#[test]
fn nesting_is_bounded() {
    let key = EcKeyPair::generate(Curve::P256).unwrap();
    let nested = |levels: usize| {
        request_with(&key, -7, 1, |w| {
            w.text("deep");
            (0..levels).for_each(|_| _ = w.array(1));
            w.unsigned(0);
        })
    };
    assert!(MemberRequest::decode(&nested(15)).is_ok());
    assert_eq!(MemberRequest::decode(&nested(16)).unwrap_err(), CoseError::Cbor(CborError::TooDeep));
    let mut bomb = vec![0xd2, 0x84, 0x40];
    bomb.extend(std::iter::repeat_n(0x81, 500_000));
    assert_eq!(Sign1::decode(&bomb).unwrap_err(), CoseError::Cbor(CborError::TooDeep));
}

#[test]
fn unprotected_headers_are_replaced() {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let cose = proposal(&key);
    let list = UnprotectedValue::List { key: 394, value: b"receipt" };
    let nested = UnprotectedValue::NestedList { key: label::VDP, subkey: -1, value: b"proof" };
    for value in [list, nested, UnprotectedValue::Empty] {
        let edited = set_unprotected_header(&cose, value).unwrap();
        assert_eq!(set_unprotected_header(&edited, value).unwrap(), edited);
        assert_eq!(set_unprotected_header(&edited, UnprotectedValue::Empty).unwrap(), cose);
        MemberRequest::decode(&edited).unwrap().verify(key.public_key()).unwrap();
        CoseSign1::from_tagged_slice(&edited).unwrap();
    }
    assert!(set_unprotected_header(&cose[1..], UnprotectedValue::Empty).is_err());
}

/// Three recoveries: the chain that the node builds, what it gives to clients, and what those accept.
#[test]
fn identity_over_recoveries() {
    let keys: Vec<EcKeyPair> = (0..4).map(|_| EcKeyPair::generate(Curve::P384).unwrap()).collect();
    let created = [TxId::new(2, 1), TxId::new(5, 101), TxId::new(7, 151), TxId::new(12, 300)];
    let mut records = vec![endorse_self(&keys[0], created[0], 1).unwrap()];
    for service in 1..4 {
        let root = Digest([service as u8; 32]);
        let version = SeqNo(created[service - 1].seqno.0 + 10);
        let record =
            endorse_previous_service(&keys[service], &records[0], version, created[service], &root, 2)
                .unwrap();
        records.insert(0, record);
    }
    let text = serde_json::to_string(&records[0]).unwrap();
    assert!(text.starts_with("{\"endorsement\":\"0o"));
    assert!(text.contains("\"endorsement_epoch_begin\":\"7.151\",\"endorsement_epoch_end\":\"10.299\""));
    assert_eq!(serde_json::from_str::<ccf_crypto::cose::EndorsementRecord>(&text).unwrap(), records[0]);

    let own = keys[3].public_key();
    let chain = ServiceKeys::verify(&records, own, created[3]).unwrap();
    for (service, seqno) in [(0, 1), (0, 100), (1, 101), (1, 150), (2, 151), (2, 299), (3, 300), (3, 9999)] {
        let seqno = SeqNo(seqno);
        assert_eq!(chain.key_at(seqno), Some(keys[service].public_key()), "{seqno}");
        let endorsements = chain.endorsements_for(seqno);
        assert_eq!(endorsements.len(), 3 - service);
        assert_eq!(verify_endorsements(own, &endorsements, seqno).as_ref(), Ok(keys[service].public_key()));
        if service == 0 {
            assert!(verify_endorsements(own, &endorsements[1..], seqno).is_err());
            assert!(verify_endorsements(own, &endorsements[..2], seqno).is_err());
        }
    }
    let mut broken = records.clone();
    broken.remove(1);
    assert!(ServiceKeys::verify(&broken, own, created[3]).is_err());
    let mut changed = records.clone();
    changed[1].endorsement_epoch_begin = TxId::new(5, 102);
    assert!(ServiceKeys::verify(&changed, own, created[3]).is_err());
    let mut flipped = records;
    let last = flipped[2].endorsement.len() - 1;
    flipped[2].endorsement[last] ^= 1;
    assert!(ServiceKeys::verify(&flipped, own, created[3]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One bit changed anywhere is refused, except in the payload length games that decoding refuses too.
    #[test]
    fn flipped_bits_are_refused(flip in any::<prop::sample::Index>()) {
        static MESSAGE: std::sync::OnceLock<(EcKeyPair, Vec<u8>)> = std::sync::OnceLock::new();
        let (key, cose) = MESSAGE.get_or_init(|| {
            let key = EcKeyPair::generate(Curve::P256).unwrap();
            let cose = proposal(&key);
            (key, cose)
        });
        let mut cose = cose.clone();
        let bit = flip.index(cose.len() * 8);
        cose[bit / 8] ^= 1 << (bit % 8);
        let accepted = Sign1::decode(&cose).is_ok_and(|message| message.verify(key.public_key(), WhichAlgorithm::AsRecorded).is_ok());
        prop_assert!(!accepted);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (MemberRequest::decode(&bytes).is_ok(), LedgerSignature::decode(&bytes).is_ok());
    }
}
