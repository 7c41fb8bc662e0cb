//! Recovery without members: sealed keys and shares in the tables, what of them opens what, and what a change of any
//! part of them does.

use crate::{join::Joiner, service::Service};
use ccf_attestation::{DerivedKeys, VirtualKeys};
use ccf_governance::{
    NodePhase,
    recovery::SecretLinks,
    sealing::{SealedSecret, SealingData, UnsealError, new_recovery_key, record},
    service,
    tables::{
        self,
        base64::Base64,
        secrets::{SealedRecoveryKey, SealedShares},
        service::ServiceStatus,
    },
};
use ccf_types::{Digest, NodeId};
use serde_json::json;

fn platform() -> VirtualKeys {
    VirtualKeys::new(Digest([7; 32]))
}

fn data(location: &str) -> SealingData {
    (new_recovery_key(&platform()).unwrap(), location.to_owned())
}

/// A service whose only node seals at this location.
fn sealing_at(location: &str) -> Service {
    let service = Service::of_three();
    let tx = service.node.store.begin();
    record(&tx, &service.node.node_id, &data(location)).unwrap();
    service.node.enter(&tx.commit().unwrap().into_written().unwrap());
    service.activate_all();
    service
}

/// As a recovering node collects them.
fn links(service: &Service) -> SecretLinks {
    let mut links = SecretLinks::default();
    let tx = service.node.store.begin();
    let table = tx.ro(&tables::HISTORICAL_LEDGER_SECRET);
    links.observe(table.version_of_previous_write().unwrap(), table.get().unwrap().unwrap());
    links
}

fn shares(service: &Service) -> SealedShares {
    service.node.store.begin().ro(&tables::SEALED_SHARES).get().unwrap().unwrap()
}

fn find(service: &Service, location: &str) -> Option<SealedSecret> {
    SealedSecret::find(&service.node.store.begin(), location).unwrap()
}

#[test]
fn what_is_sealed_is_found_and_opened_by_the_same_code_only() {
    let service = sealing_at("here");
    assert_eq!(find(&service, "here"), None, "no shares before the service opens");
    service.open();
    assert_eq!(find(&service, "there"), None);
    let sealed = find(&service, "here").unwrap();
    let restored = sealed.restore(&platform(), &links(&service)).unwrap();
    let latest = service.node.secrets.lock().unwrap().last().unwrap().danger_raw().to_vec();
    assert_eq!(restored.latest().unwrap().danger_raw().to_vec(), latest);
    let other = sealed.restore(&VirtualKeys::new(Digest([8; 32])), &links(&service));
    assert!(matches!(other, Err(UnsealError::RecoveryKey(_))), "{other:?}");
    let row = service.stored("public:ccf.internal.sealing_recovery_names", b"here");
    assert_eq!(row.as_deref(), Some(service.node_id.as_str()));
    let raw = service.stored("public:ccf.gov.nodes.sealed_recovery_keys", service.node_id.as_bytes());
    assert!(raw.unwrap().ends_with(r#""tcb_version":"0000000000000000","version":"Insecure_Virtual_v1"}"#));
}

#[test]
fn sealed_shares_follow_the_secret_and_the_trusted_nodes() {
    let service = sealing_at("first");
    let own = service.node.node_id.clone();
    // A node that joins while the service is not open is trusted at once.
    let early = Joiner::at("127.0.0.1:11").with("/sealing_recovery_data", json!(data("second")));
    early.join(&service);
    let both = shares(&service).encrypted_wrapping_keys;
    assert_eq!(both.keys().collect::<Vec<_>>(), sorted([&own, &early.id()]));
    service.open();
    let opened = shares(&service);
    assert_eq!(opened.encrypted_wrapping_keys.len(), 2);
    assert_ne!(opened.encrypted_wrapping_keys, both);

    // Later one waits for the members.
    let late = Joiner::at("127.0.0.1:12").with("/sealing_recovery_data", json!(data("third")));
    late.join(&service);
    assert_eq!(shares(&service), opened);
    assert_eq!(find(&service, "third"), None);
    let args = json!({"node_id": late.id(), "valid_from": "260101000000Z", "validity_period_days": 1});
    service.accept(json!([{"name": "transition_node_to_trusted", "args": args}]));
    assert_eq!(shares(&service).encrypted_wrapping_keys.len(), 3);
    let third = find(&service, "third").unwrap().restore(&platform(), &links(&service));
    assert!(third.is_ok());

    let before = shares(&service);
    service.accept(json!([{"name": "trigger_ledger_rekey"}]));
    assert_ne!(shares(&service).wrapped_latest_ledger_secret, before.wrapped_latest_ledger_secret);
    // A removed node gets no share from then on.
    service.accept(json!([{"name": "remove_node", "args": {"node_id": late.id()}}]));
    service.accept(json!([{"name": "trigger_ledger_rekey"}]));
    assert_eq!(shares(&service).encrypted_wrapping_keys.len(), 2);
}

fn sorted<const N: usize>(mut ids: [&NodeId; N]) -> Vec<&NodeId> {
    ids.sort();
    ids.to_vec()
}

#[test]
fn what_a_joiner_says_of_its_sealing_is_checked() {
    let service = sealing_at("first");
    let good = data("second");
    let malformed = "The sealed recovery key is malformed.";
    let cases = [
        (json!([good.0, ""]), "The name of a sealing location has 1 to 256 bytes."),
        (json!([good.0, "x".repeat(257)]), "The name of a sealing location has 1 to 256 bytes."),
        (with(&good, |key| key.tcb_version = "0".to_owned()), malformed),
        (with(&good, |key| key.version = "x".repeat(65)), malformed),
        (with(&good, |key| key.ciphertext = Base64(vec![0; 8193])), malformed),
        (with(&good, |key| key.pubkey = "none".to_owned()), "The sealed recovery key cannot be used: "),
    ];
    for (data, expected) in cases {
        let joiner = Joiner::at("127.0.0.1:11").with("/sealing_recovery_data", data);
        let (status, code, message) = joiner.refusal(&service);
        assert_eq!((status, code.as_str()), (400, "InvalidInput"));
        assert!(message.starts_with(expected), "{message}");
    }
}

fn with(good: &SealingData, change: impl FnOnce(&mut SealedRecoveryKey)) -> serde_json::Value {
    let mut key = good.0.clone();
    change(&mut key);
    json!([key, good.1])
}

/// Opens what the tables hold after a change of them.
fn after(
    service: &Service,
    change: impl FnOnce(&mut SealedRecoveryKey, &mut SealedShares),
) -> Result<(), UnsealError> {
    let tx = service.node.store.begin();
    let (keys, sealed) = (tx.rw(&tables::NODE_SEALED_RECOVERY_KEYS), tx.rw(&tables::SEALED_SHARES));
    let mut key = keys.get(&service.node.node_id).unwrap().unwrap();
    let mut shares = sealed.get().unwrap().unwrap();
    change(&mut key, &mut shares);
    keys.put(&service.node.node_id, &key).unwrap();
    sealed.put(&shares).unwrap();
    let found = SealedSecret::find(&tx, "here").unwrap().unwrap();
    found.restore(&platform(), &links(service)).map(drop)
}

#[test]
fn nothing_that_was_changed_is_opened() {
    let service = sealing_at("here");
    service.open();
    let own = service.node.node_id.clone();
    assert!(after(&service, |_, _| {}).is_ok());
    let flip = |bytes: &mut Base64| *bytes.0.last_mut().unwrap() ^= 1;
    let error = after(&service, |key, _| flip(&mut key.ciphertext));
    assert!(matches!(error, Err(UnsealError::RecoveryKey(_))), "{error:?}");
    let error = after(&service, |key, _| key.pubkey.push('\n'));
    assert!(matches!(error, Err(UnsealError::RecoveryKey(_))), "{error:?}");
    let error = after(&service, |key, _| key.version = "SNP_TCB_v1".to_owned());
    assert!(matches!(error, Err(UnsealError::Scheme { .. })), "{error:?}");
    let error = after(&service, |key, _| key.tcb_version = "0000000000000009".to_owned());
    assert!(matches!(error, Err(UnsealError::Platform(_))), "{error:?}");
    let error = after(&service, |_, shares| flip(shares.encrypted_wrapping_keys.get_mut(&own).unwrap()));
    assert!(matches!(error, Err(UnsealError::Share(_))), "{error:?}");
    let error = after(&service, |_, shares| flip(&mut shares.wrapped_latest_ledger_secret));
    assert!(matches!(error, Err(UnsealError::Unwrap(_))), "{error:?}");
    // A share of another position is no full secret.
    let error = after(&service, |key, shares| {
        let mut share = [1; 44];
        share[0] = 2;
        let public = ccf_crypto::key::PublicKey::from_pem(&key.pubkey).unwrap();
        shares.encrypted_wrapping_keys.insert(own.clone(), Base64(public.oaep_encrypt(&[], &share).unwrap()));
    });
    assert!(matches!(error, Err(UnsealError::NotFull)), "{error:?}");
}

/// Makes the node one that has recovered its own service's public state.
fn recover(service: &Service) {
    let tx = service.node.store.begin();
    let mut info = tx.ro(&tables::SERVICE_INFO).get().unwrap().unwrap();
    info.status = ServiceStatus::Recovering;
    tx.rw(&tables::SERVICE_INFO).put(&info).unwrap();
    tx.rw(&tables::PREVIOUS_SERVICE_IDENTITY).put(&info.cert).unwrap();
    service.node.enter(&tx.commit().unwrap().into_written().unwrap());
    *service.node.phase.lock().unwrap() = NodePhase::PartOfPublicNetwork;
    *service.node.links.lock().unwrap() = links(service);
}

#[test]
fn opening_unseals_or_fails_and_never_falls_back_to_shares() {
    let service = sealing_at("here");
    service.open();
    let sealed = find(&service, "here").unwrap();
    recover(&service);
    let other: Box<dyn DerivedKeys> = Box::new(VirtualKeys::new(Digest([8; 32])));
    *service.node.sealed.lock().unwrap() = Some((sealed.clone(), other));
    let cert = &service.service_cert;
    let args = json!({"previous_service_identity": cert, "next_service_identity": cert});
    let action = json!([{"name": "transition_service_to_open", "args": args}]);
    let proposal = service.proposed(0, action.clone());
    service.vote(0, &proposal, crate::service::YES);
    let answer = service.vote(1, &proposal, crate::service::YES);
    assert_eq!(answer.status(), 500);
    let text = "Unable to open service: Failed to unseal ledger secret for private recovery";
    assert!(answer.error().2.contains(text), "{answer:?}");
    let status = |service: &Service| {
        service.node.store.begin().ro(&tables::SERVICE_INFO).get().unwrap().unwrap().status
    };
    assert_eq!(status(&service), ServiceStatus::Recovering);
    assert!(service.stored("public:ccf.internal.last_recovery_type", &[0; 8]).is_none());

    *service.node.sealed.lock().unwrap() = Some((sealed, Box::new(platform())));
    service.accept(action);
    assert_eq!(status(&service), ServiceStatus::WaitingForRecoveryShares);
    let kind = service.stored("public:ccf.internal.last_recovery_type", &[0; 8]);
    assert_eq!(kind.as_deref(), Some("\"LOCAL_UNSEALING\""));
    let sent = service.node.store.begin().ro(&tables::ENCRYPTED_LEDGER_SECRETS).get().unwrap().unwrap();
    assert_eq!(sent[&service.node.node_id].len(), 1);
    // While only the public state is known nothing is sealed.
    let before = shares(&service);
    let tx = service.node.store.begin();
    service::shuffle_sealed_shares(service.node.as_ref(), &tx).unwrap();
    assert_eq!(tx.ro(&tables::SEALED_SHARES).get().unwrap(), Some(before));
}
