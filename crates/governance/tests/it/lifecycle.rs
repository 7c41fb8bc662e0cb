//! The life of a service: genesis, acknowledgement, opening, shares, rekey.

use crate::service::{Member, Service};
use ccf_crypto::{
    cose::{Endorsement, MessageType},
    key::{Curve, PublicKey},
    sharing::{Share, SharedSecret},
};
use ccf_governance::tables;
use ccf_types::SeqNo;
use serde_json::{Value, json};

const UNIT: &[u8] = &[0; 8];

#[test]
fn genesis_writes_what_the_specification_lists() {
    let service = Service::of_one();
    let written = service.node.log.lock().unwrap().tables[&SeqNo(1)].clone();
    let expected = [
        "constitution",
        "members.acks",
        "members.certs",
        "members.encryption_public_keys",
        "members.info",
        "nodes.endorsed_certificates",
        "nodes.info",
        "nodes.virtual.host_data",
        "nodes.virtual.measurements",
        "service.config",
        "service.info",
    ];
    assert_eq!(written, expected.map(|name| format!("public:ccf.gov.{name}")));
    let member = service.id(0).as_bytes();
    let stored = |table: &str, key: &[u8]| service.stored(&format!("public:ccf.gov.{table}"), key);
    assert_eq!(stored("members.info", member).as_deref(), Some(r#"{"status":"Accepted"}"#));
    assert_eq!(stored("members.acks", member).as_deref(), Some(r#"{"state_digest":""}"#));
    assert_eq!(stored("members.certs", member), Some(service.member(0).cert.clone()));
    assert_eq!(stored("service.config", UNIT).as_deref(), Some(r#"{"recovery_threshold":1}"#));
    assert_eq!(stored("nodes.virtual.measurements", b"m v1").as_deref(), Some("\"AllowedToJoin\""));
    assert_eq!(stored("nodes.virtual.host_data", b"00ff").as_deref(), Some("\0\0\0\0\0\0\0\0"));
    let info = stored("service.info", UNIT).unwrap();
    assert!(
        info.ends_with(r#"","current_service_create_txid":"2.1","recovery_count":0,"status":"Opening"}"#)
    );
    assert!(stored("nodes.info", service.node_id.as_bytes()).unwrap().ends_with(r#""status":"Trusted"}"#));
}

#[test]
fn acknowledgement() {
    let service = Service::of_three();
    let (m0, m1) = (service.id(0).to_owned(), service.id(1).to_owned());
    let digests = |i: usize| format!("/members/state-digests/{}", service.id(i));
    let answer = service.get(&digests(0));
    assert_eq!((answer.status(), answer.json), (200, json!({"memberId": m0, "stateDigest": ""})));
    let missing = "0".repeat(64);
    assert_eq!(service.get(&format!("/members/state-digests/{missing}")).error().1, "ResourceNotFound");

    let unsigned = service.post_with(&format!("{}:update?api-version=2024-07-01", digests(0)), &[], vec![]);
    assert_eq!(unsigned.status(), 401);
    assert_eq!(
        unsigned.json["error"],
        json!({"code": "InvalidAuthenticationInfo", "message": "Invalid authentication credentials.", "details": [{
            "auth_policy": "member_cose_sign1", "code": "InvalidAuthenticationInfo",
            "message": "Missing content-type header",
        }]})
    );
    assert_eq!(unsigned.header("www-authenticate").unwrap(), "COSE-SIGN1 realm=\"Signed request access\"");
    assert_eq!(service.post(&format!("{}:update", digests(0)), b"hello".to_vec()).status(), 500);

    let wrong_type = service.member(0).sign(MessageType::Ack, 1, None, b"");
    let answer = service.post(&format!("{}:update", digests(0)), wrong_type);
    assert_eq!(
        answer.json["error"]["details"][0]["message"],
        "Found ccf.gov.msg.type set to ack, expected ccf.gov.msg.type to be state_digest"
    );
    let by_other = service.member(1).sign(MessageType::StateDigest, 1, None, b"");
    let answer = service.post(&format!("{}:update", digests(0)), by_other);
    let text = format!(
        "Member ID from path parameter (m[{m0}]) does not match member ID from body signature (m[{m1}])."
    );
    assert_eq!(answer.error(), (400, "InvalidAuthenticationInfo", text.as_str()));
    let stranger = Member::new("stranger", Curve::P384, false);
    let body = stranger.sign(MessageType::StateDigest, 1, None, b"");
    let answer = service.post(&format!("{}:update", digests(0)), body);
    assert_eq!(answer.json["error"]["details"][0]["message"], "Signer is not a known member");

    let early = service.propose(0, json!([]));
    assert_eq!(early.json["error"]["details"][0]["auth_policy"], "active_member_cose_sign1");
    assert_eq!(early.json["error"]["details"][0]["message"], "Signer is not an ACTIVE member");

    let root = service.emit_signature().to_string();
    let answer = service.update_digest(0);
    assert_eq!(answer.json, json!({"memberId": m0, "stateDigest": root}));
    let answer = service.ack_with(0, br#"{"stateDigest":"00"}"#);
    let text = format!("Submitted state digest is not valid.\nExpected\n {root}\nReceived\n 00");
    assert_eq!(answer.error(), (400, "StateDigestMismatch", text.as_str()));
    let list = json!([root]).to_string();
    for payload in [&b""[..], b"{}", b"[1]", br#"{"stateDigest":1}"#, b"\xff", list.as_bytes()] {
        assert_eq!(service.ack_with(0, payload).error().1, "InvalidInput", "{payload:?}");
    }
    service.emit_signature();
    let answer = service.ack_with(0, format!(r#"{{"memberId":"x","stateDigest":"{root}"}}"#).as_bytes());
    assert_eq!((answer.status(), answer.response.body.len()), (204, 0));
    assert_eq!(answer.tx_id(), Some(format!("2.{}", service.last_seqno())));
    let row = service.stored("public:ccf.gov.members.acks", m0.as_bytes()).unwrap();
    assert!(
        row.starts_with(r#"{"cose_sign1_req":"0oR"#)
            && row.ends_with(&format!(r#"","state_digest":"{root}"}}"#))
    );
    let info = service.stored("public:ccf.gov.members.info", m0.as_bytes());
    assert_eq!(info.as_deref(), Some(r#"{"status":"Active"}"#));
    // Again: the same digest is still good.
    assert_eq!(service.ack_with(0, format!(r#"{{"stateDigest":"{root}"}}"#).as_bytes()).status(), 204);
}

/// Opens the members' shares and gives the ledger secret.
fn recover(service: &Service, threshold: usize) -> Vec<u8> {
    let stored = service.stored("public:ccf.internal.recovery_shares", UNIT).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let mut shares = Vec::new();
    for member in service.members.iter().filter(|m| m.encryption.is_some()) {
        let answer = service.get(&format!("/recovery/encrypted-shares/{}", member.id));
        let Some(share) = answer.json["encryptedShare"].as_str() else { continue };
        assert_eq!(stored["encrypted_shares"][member.id.as_str()], share);
        let share = tables::base64::Base64::decode(share).unwrap();
        let share = member.encryption.unwrap().oaep_decrypt(&[], &share.0).unwrap();
        shares.push(Share::from_bytes(&share).unwrap());
    }
    let wrapped =
        tables::base64::Base64::decode(stored["wrapped_latest_ledger_secret"].as_str().unwrap()).unwrap();
    SharedSecret::recover(&shares, threshold).unwrap().unwrap(&wrapped.0).unwrap().to_vec()
}

fn secret(service: &Service) -> Vec<u8> {
    use ccf_governance::NodeGovernance;
    service.node.latest_ledger_secret(&service.node.store.begin()).unwrap().danger_raw().to_vec()
}

#[test]
fn opening() {
    let service = Service::of_three();
    let shares = format!("/recovery/encrypted-shares/{}", service.id(0));
    assert_eq!(
        service.get(&shares).error(),
        (500, "InternalError", "Failed to retrieve current recovery shares info")
    );
    service.activate_all();
    let with_newline = format!("{}\n", service.service_cert);
    let id = service.proposed(
        0,
        json!([{
            "name": "transition_service_to_open", "args": {"next_service_identity": with_newline},
        }]),
    );
    assert_eq!(service.vote(0, &id, crate::service::YES).status(), 200);
    let refused = service.vote(1, &id, crate::service::YES);
    assert_eq!(refused.status(), 500);
    assert!(refused.error().2.starts_with("Failed to apply(): InternalError: "), "{refused:?}");

    service.open();
    let seqno = service.last_seqno();
    let written = service.node.log.lock().unwrap().tables[&seqno].clone();
    assert_eq!(
        written,
        [
            "public:ccf.gov.cose_history",
            "public:ccf.gov.proposals_info",
            "public:ccf.gov.service.info",
            "public:ccf.internal.historical_encrypted_ledger_secret",
            "public:ccf.internal.previous_service_identity_endorsement",
            "public:ccf.internal.recovery_shares",
            "public:ccf.internal.sealed_shares",
        ]
    );
    assert_eq!(service.node.log.lock().unwrap().snapshots, [ccf_types::TxId::new(2, seqno.0)]);
    assert!(service.stored("public:ccf.gov.service.info", UNIT).unwrap().ends_with(r#""status":"Open"}"#));
    let link = service.stored("public:ccf.internal.historical_encrypted_ledger_secret", UNIT);
    assert_eq!(link.as_deref(), Some(r#"{"next_version":1}"#));
    assert_eq!(recover(&service, 2), secret(&service));
    let no_share = service.get(&format!("/recovery/encrypted-shares/{}", service.id(2)));
    let text = format!("Recovery share not found for member m[{}].", service.id(2));
    assert_eq!(no_share.error(), (404, "ResourceNotFound", text.as_str()));

    let tx = service.node.store.begin();
    let record = tx.ro(&tables::IDENTITY_ENDORSEMENT).get().unwrap().unwrap();
    assert_eq!(record.endorsement_epoch_begin.to_string(), "2.1");
    let key = PublicKey::from_spki_der(&record.endorsing_key).unwrap();
    let endorsement = Endorsement::verify(&record.endorsement, &key).unwrap();
    assert_eq!(endorsement.key.spki_der(), record.endorsing_key);

    // A second proposal of the same kind has no effect.
    let before = service.stored("public:ccf.internal.recovery_shares", UNIT);
    service.open();
    assert_eq!(service.stored("public:ccf.internal.recovery_shares", UNIT), before);

    let body = service.member(0).sign(MessageType::RecoveryShare, 1, None, br#"{"share":"AA=="}"#);
    let answer = service.post(&format!("/recovery/members/{}:recover", service.id(0)), body);
    let text = "Service is not waiting for recovery shares.";
    assert_eq!(answer.error(), (403, "ServiceNotWaitingForRecoveryShares", text));
}

#[test]
fn opening_needs_recovery_members() {
    let service = Service::new(vec![Member::new("m", Curve::P384, false)]);
    service.activate_all();
    let args = json!({"next_service_identity": service.service_cert});
    let id = service.proposed(0, json!([{"name": "transition_service_to_open", "args": args}]));
    let answer = service.vote(0, &id, crate::service::YES);
    assert_eq!(answer.status(), 500);
    assert!(answer.error().2.contains("there are no active recovery members"), "{answer:?}");
}

#[test]
fn shares_follow_members_and_threshold() {
    let mut service = Service::of_three();
    service.activate_all();
    service.open();
    // A third recovery member gets a share when it acknowledges.
    let third = Member::new("third", Curve::P384, true);
    let key = third.encryption.unwrap().public_key().to_pem();
    service.accept(json!([{"name": "set_member", "args": {
        "cert": third.cert, "encryption_pub_key": key, "member_data": {"name": "third"}, "recovery_role": "Participant",
    }}]));
    let before = service.stored("public:ccf.internal.recovery_shares", UNIT).unwrap();
    let info = service.stored("public:ccf.gov.members.info", third.id.as_str().as_bytes());
    assert_eq!(
        info.as_deref(),
        Some(r#"{"member_data":{"name":"third"},"recovery_role":"Participant","status":"Accepted"}"#)
    );
    service.members.push(third);
    service.activate(3);
    let after = service.stored("public:ccf.internal.recovery_shares", UNIT).unwrap();
    assert_ne!(before, after);
    assert_eq!(recover(&service, 2), secret(&service));

    service.accept(json!([{"name": "set_recovery_threshold", "args": {"recovery_threshold": 3}}]));
    assert_eq!(
        service.stored("public:ccf.gov.service.config", UNIT).as_deref(),
        Some(r#"{"recovery_threshold":3}"#)
    );
    assert_eq!(recover(&service, 3), secret(&service));

    let id =
        service.proposed(0, json!([{"name": "set_recovery_threshold", "args": {"recovery_threshold": 5}}]));
    assert_eq!(service.vote(1, &id, crate::service::YES).status(), 200);
    assert_eq!(service.vote(2, &id, crate::service::YES).status(), 200);
    let refused = service.vote(3, &id, crate::service::YES);
    let text = "Failed to apply(): Error: Cannot set recovery threshold to 5: recovery threshold would be greater \
                than the number of recovery members 3\nTrace: ";
    assert!(refused.error().2.starts_with(text), "{refused:?}");
    assert_eq!(service.get(&format!("/members/proposals/{id}")).json["ballotCount"], 2);

    // Nobody who is needed may leave; who is not needed takes the secret's future with them.
    let gone = service.id(3).to_owned();
    let remove = json!([{"name": "remove_member", "args": {"member_id": gone}}]);
    let id = service.proposed(0, remove.clone());
    service.vote(0, &id, crate::service::YES);
    service.vote(1, &id, crate::service::YES);
    assert_eq!(service.vote(2, &id, crate::service::YES).status(), 500);
    service.accept(json!([{"name": "set_recovery_threshold", "args": {"recovery_threshold": 2}}]));
    service.accept(remove);
    let written = service.node.log.lock().unwrap().tables[&service.last_seqno()].clone();
    assert!(written.contains(&"public:ccf.internal.encrypted_ledger_secrets".to_owned()), "{written:?}");
    let link = service.stored("public:ccf.internal.historical_encrypted_ledger_secret", UNIT).unwrap();
    let link: Value = serde_json::from_str(&link).unwrap();
    assert_eq!(link["previous_ledger_secret"]["version"], 1);
    assert!(link.get("next_version").is_none());
    let secrets = service.stored("public:ccf.internal.encrypted_ledger_secrets", UNIT).unwrap();
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    assert_eq!(secrets[&service.node_id][0]["version"], Value::Null);
    assert!(service.stored("public:ccf.gov.members.info", gone.as_bytes()).is_none());
}
