//! Nodes that join and leave: every check in its order, what is written, what is told to whom.

use crate::service::{Node, Service, encryption_key};
use ccf_crypto::{
    cert::{Certificate, CertificateKind, Name, SigningRequest, Validity, parse_valid_from, self_signed},
    key::{Curve, EcKeyPair},
};
use ccf_endpoints::ErrorResponse;
use ccf_governance::{
    NodePhase,
    join::{
        JoinDecision, Joining, NodeMembership, decide,
        message::{CoseSignaturesConfig, JoinResponse, LedgerSignMode},
        parse_request,
    },
    recovery::{SecretsForNode, secrets_for_node},
    retirement,
    tables::{base64::Base64, node::NodeStatus, service::ServiceStatus},
};
use ccf_kv::Tx;
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{NodeId, SeqNo};
use serde_json::{Value, json};
use std::sync::Arc;

impl NodeMembership for Node {
    fn startup_seqno(&self) -> SeqNo {
        *self.startup_seqno.lock().unwrap()
    }
    fn ledger_secrets(&self, _: &Tx) -> Option<LedgerSecrets> {
        let mut all = LedgerSecrets::default();
        for secret in self.secrets.lock().unwrap().iter() {
            all.add(Arc::clone(secret)).unwrap();
        }
        Some(all)
    }
    fn last_recovered_signed_seqno(&self) -> SeqNo {
        SeqNo(7)
    }
    fn cose_signatures(&self) -> CoseSignaturesConfig {
        CoseSignaturesConfig { issuer: "i".to_owned(), subject: "s".to_owned() }
    }
    fn primary(&self) -> Option<NodeId> {
        Some(self.node_id.clone())
    }
    fn node_id(&self) -> &NodeId {
        &self.node_id
    }
}

/// 2027-01-15.
const NOW_MS: u64 = 1_800_000_000_000;

/// A node that wants to join.
pub(crate) struct Joiner {
    key: EcKeyPair,
    pub(crate) certificate: Certificate,
    pub(crate) body: Value,
}

impl Joiner {
    pub(crate) fn at(address: &str) -> Joiner {
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let name = Name::parse("CN=CCF Node").unwrap();
        let validity = Validity::from_days(parse_valid_from("2026-05-01T00:00:00Z").unwrap(), 3).unwrap();
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity).unwrap();
        let quote = json!({
            "host_data": "00ff",
            "measurement": "m v1",
            "report_data": Base64::encode(key.public_key().id().as_bytes()),
        });
        let body = json!({
            "node_info_network": {
                "node_to_node_interface": {"bind_address": "0.0.0.0:1", "published_address": address},
                "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:4", "max_open_sessions_soft": 7}},
                "nodehost": "an old release says so"
            },
            "quote_info": {"endorsements": "", "format": "Insecure_Virtual", "quote": Base64::encode(quote.to_string().as_bytes())},
            "public_encryption_key": encryption_key().public_key().to_pem(),
            "startup_seqno": 0,
            "certificate_signing_request": SigningRequest::create(&key, &name, &[]).unwrap().to_pem(),
            "node_data": {"rack": 1},
            "consensus_type": "CFT",
        });
        Joiner { key, certificate, body }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.public_key().node_id()
    }

    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Joiner {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.body.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    /// Evidence with these members replaced.
    fn with_evidence(self, members: Value) -> Joiner {
        let quote = Base64::decode(self.body["quote_info"]["quote"].as_str().unwrap()).unwrap();
        let mut quote: Value = serde_json::from_slice(&quote.0).unwrap();
        for (name, value) in members.as_object().unwrap() {
            quote[name] = value.clone();
        }
        quote.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.with("/quote_info/quote", json!(Base64::encode(quote.to_string().as_bytes())))
    }

    fn decide(&self, service: &Service, is_primary: bool) -> Result<JoinDecision, ErrorResponse> {
        self.decide_at(service, is_primary, NOW_MS)
    }

    fn decide_at(
        &self,
        service: &Service,
        is_primary: bool,
        now_ms: u64,
    ) -> Result<JoinDecision, ErrorResponse> {
        let tx = service.node.store.begin();
        let request = parse_request(self.body.to_string().as_bytes())?;
        let joining = Joining { certificate: &self.certificate, request, is_primary, now_ms };
        let decision = decide(&tx, service.node.as_ref(), joining)?;
        commit(service, tx);
        Ok(decision)
    }

    pub(crate) fn join(&self, service: &Service) -> Box<JoinResponse> {
        match self.decide(service, true).unwrap() {
            JoinDecision::Answer(answer) => answer,
            JoinDecision::AskPrimary => panic!("asked the primary"),
        }
    }

    /// Status, code and message of the refusal.
    pub(crate) fn refusal(&self, service: &Service) -> (u16, String, String) {
        let before = service.last_seqno();
        let error = self.decide(service, true).unwrap_err();
        assert_eq!(service.last_seqno(), before, "a refusal writes nothing");
        (error.status, error.code.to_string(), error.message)
    }
}

fn row(service: &Service, id: &NodeId) -> Value {
    let text = service.stored("public:ccf.gov.nodes.info", id.as_str().as_bytes());
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

fn commit(service: &Service, tx: Tx) {
    if let Some(written) = tx.commit().unwrap().into_written() {
        service.node.enter(&written);
    }
}

/// Tells the store that everything so far is committed by the network.
fn commit_globally(service: &Service) {
    service.node.store.compact(service.last_seqno());
}

#[test]
fn a_node_is_trusted_at_once_while_the_service_is_opening() {
    let service = Service::of_one();
    let joiner = Joiner::at("node1:99");
    let id = joiner.id();
    assert!(matches!(joiner.decide(&service, false), Ok(JoinDecision::AskPrimary)));
    let answer = joiner.join(&service);
    let json = serde_json::to_value(&answer).unwrap();
    let secret = service.node.secrets.lock().unwrap()[0].clone();
    let endorsed = service.stored("public:ccf.gov.nodes.endorsed_certificates", id.as_str().as_bytes());
    let endorsed = endorsed.unwrap();
    assert_eq!(
        json,
        json!({
            "network_info": {
                "cose_signatures_config": {"issuer": "i", "subject": "s"},
                "endorsed_certificate": endorsed,
                "identity": {
                    "cert": service.service_cert,
                    "priv_key": *service.node.service_key.to_pkcs8_pem().unwrap(),
                },
                "last_recovered_signed_idx": 7,
                "ledger_secrets": [[1, {"raw_key": Base64::encode(secret.danger_raw())}]],
                "public_only": false,
                "service_status": "Opening",
            },
            "node_id": id,
            "node_status": "Trusted",
        })
    );
    let certificate = Certificate::from_pem(&endorsed).unwrap();
    assert_eq!(certificate.validity(), joiner.certificate.validity(), "dates of the self-signed certificate");
    assert!(!certificate.is_ca());
    assert_eq!(certificate.spki_der(), joiner.key.public_key().spki_der());
    let service_cert = Certificate::from_pem(&service.service_cert).unwrap();
    certificate.verify_signed_by(service_cert.public_key().unwrap()).unwrap();
    assert_eq!(
        row(&service, &id),
        json!({
            "certificate_signing_request": joiner.body["certificate_signing_request"],
            "code_digest": hex::encode("m v1"),
            "encryption_pub_key": joiner.body["public_encryption_key"],
            "ledger_secret_seqno": 1,
            "node_data": {"rack": 1},
            "node_to_node_interface": {"bind_address": "0.0.0.0:1", "published_address": "node1:99"},
            "public_key": joiner.key.public_key().to_pem(),
            "quote_info": joiner.body["quote_info"],
            "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:4", "max_open_sessions_soft": 7}},
            "status": "Trusted",
        })
    );
    // Asking again gives the same answer, on a backup too, and writes nothing.
    let before = service.last_seqno();
    let again = joiner.decide(&service, false).unwrap();
    let JoinDecision::Answer(again) = again else { panic!("known nodes are answered anywhere") };
    assert_eq!(serde_json::to_value(&again).unwrap(), json);
    assert_eq!(service.last_seqno(), before);
    // Debug output shows no secret.
    let shown = format!("{again:?}");
    assert!(shown.contains("SecretText(..)") && shown.contains("RawSecret(..)"), "{shown}");
    let read: JoinResponse = serde_json::from_value(json).unwrap();
    let (from, message) = &read.network_info.as_ref().unwrap().ledger_secrets[0];
    assert_eq!(message.to_secret(*from).danger_raw(), secret.danger_raw());
}

#[test]
fn a_node_of_an_open_service_waits_for_the_members() {
    let service = Service::of_one();
    service.activate_all();
    service.open();
    let joiner = Joiner::at("node1:99");
    let id = joiner.id();
    let pending = joiner.join(&service);
    assert_eq!(serde_json::to_value(&pending).unwrap(), json!({"node_id": id, "node_status": "Pending"}));
    assert_eq!(row(&service, &id)["pending_last_seen"], NOW_MS);
    assert_eq!(row(&service, &id).get("ledger_secret_seqno"), None);
    assert_eq!(service.stored("public:ccf.gov.nodes.endorsed_certificates", id.as_str().as_bytes()), None);
    // A poll writes only once in a while, and never on a backup.
    let before = service.last_seqno();
    joiner.join(&service);
    joiner.decide_at(&service, false, NOW_MS + 45 * 60 * 1000).unwrap();
    assert_eq!(service.last_seqno(), before);
    joiner.decide_at(&service, true, NOW_MS + 45 * 60 * 1000).unwrap();
    assert_eq!(row(&service, &id)["pending_last_seen"], NOW_MS + 45 * 60 * 1000);

    // A rekey before the node is trusted reaches it; one afterwards comes through the ledger.
    let second = Arc::new(LedgerSecret::random(SeqNo(30), Some(SeqNo(29))).unwrap());
    service.node.secrets.lock().unwrap().push(second);
    service.accept(json!([{"name": "transition_node_to_trusted",
        "args": {"node_id": id, "valid_from": "2026-06-01T00:00:00Z", "validity_period_days": 100}}]));
    let third = Arc::new(LedgerSecret::random(SeqNo(40), Some(SeqNo(39))).unwrap());
    service.node.secrets.lock().unwrap().push(third);
    let trusted = joiner.join(&service).network_info.unwrap();
    let known: Vec<u64> = trusted.ledger_secrets.iter().map(|(from, _)| from.0).collect();
    assert_eq!(known, [1, 30]);
    assert_eq!(trusted.ledger_secrets[1].1.previous_secret_stored_version, Some(SeqNo(29)));
    assert_eq!(trusted.service_status, Some(ServiceStatus::Open));
    let endorsed = Certificate::from_pem(&trusted.endorsed_certificate.unwrap()).unwrap();
    let expected = Validity::from_days(parse_valid_from("2026-06-01T00:00:00Z").unwrap(), 100).unwrap();
    assert_eq!(endorsed.validity(), expected);
}

#[test]
fn refusals_in_their_order_and_words() {
    let service = Service::of_one();
    let own = serde_json::from_str::<Value>(
        &service.stored("public:ccf.gov.nodes.info", service.node_id.as_bytes()).unwrap(),
    )
    .unwrap();
    let other_key = EcKeyPair::generate(Curve::P384).unwrap();
    let other_csr = SigningRequest::create(&other_key, &Name::parse("CN=x").unwrap(), &[]).unwrap().to_pem();
    let quote = |text: &str| (401, "InvalidQuote", text.to_owned());
    let input = |text: &str| (400, "InvalidInput", text.to_owned());
    // Each joiner has the faults of all rows from its own on, so that the order shows.
    type Fault = Box<dyn Fn(Joiner) -> Joiner>;
    let evidence = |members: Value| -> Fault { Box::new(move |j| j.with_evidence(members.clone())) };
    let field =
        |pointer: &'static str, value: Value| -> Fault { Box::new(move |j| j.with(pointer, value.clone())) };
    let taken = own["node_to_node_interface"]["published_address"].clone();
    let cases: Vec<(Fault, (u16, &str, String))> = vec![
        (
            field("/node_info_network/node_to_node_interface/published_address", taken.clone()),
            (
                400,
                "NodeAlreadyExists",
                format!(
                    "A node with the same published node address {} already exists (node id: {}).",
                    taken.as_str().unwrap(),
                    service.node_id
                ),
            ),
        ),
        (evidence(json!({"measurement": 5})), quote("Quote could not be verified")),
        (evidence(json!({"host_data": null})), quote("Quote does not contain trusted host data")),
        (evidence(json!({"host_data": "00fe"})), quote("Quote host data is not authorised")),
        (evidence(json!({"measurement": "m v2"})), quote("Quote does not contain known enclave measurement")),
        (
            evidence(json!({"report_data": Base64::encode(&[7; 32])})),
            quote("Quote report data does not match the hash of the public key for this node"),
        ),
        (
            field("/certificate_signing_request", json!(other_csr)),
            (400, "CSRPublicKeyInvalid", "Public key in CSR does not match TLS client identity.".to_owned()),
        ),
        (
            field("/public_encryption_key", json!(other_key.public_key().to_pem())),
            input("The public encryption key cannot be used: not an RSA public key"),
        ),
    ];
    for first in 0..cases.len() {
        let mut joiner = Joiner::at("node1:99");
        // Later faults first: of two on one member the earlier case counts.
        for (fault, _) in cases[first..].iter().rev() {
            joiner = fault(joiner);
        }
        let (status, code, message) = &cases[first].1;
        assert_eq!(joiner.refusal(&service), (*status, (*code).to_owned(), message.clone()), "case {first}");
    }
    for (format, text) in [
        ("OE_SGX_v1", "Quote could not be verified"),
        (
            "AMD_SEV_SNP_v1",
            "Quote could not be verified: evidence of SEV-SNP is not supported by this release",
        ),
    ] {
        let joiner = Joiner::at("node1:99").with("/quote_info/format", json!(format));
        assert_eq!(joiner.refusal(&service), (401, "InvalidQuote".to_owned(), text.to_owned()));
    }
    let nowhere = Joiner::at("nowhere").refusal(&service);
    assert_eq!(nowhere.2, "The published node address nowhere is not of the form host:port.");

    *service.node.startup_seqno.lock().unwrap() = SeqNo(12);
    let old = Joiner::at("node1:99").with("/startup_seqno", json!(11));
    let text = "Node requested to join from seqno 11 which is older than this node startup seqno 12. \
                A snapshot at least as recent as 12 must be used instead.";
    assert_eq!(old.refusal(&service), (400, "StartupSeqnoIsOld".to_owned(), text.to_owned()));
    let unsaid = Joiner::at("node1:99").with("/startup_seqno", Value::Null);
    assert_eq!(unsaid.join(&service).node_status, NodeStatus::Trusted);
    *service.node.phase.lock().unwrap() = NodePhase::Other;
    let text = "Target node should be part of network to accept new nodes.";
    assert_eq!(old.refusal(&service), (500, "InternalError".to_owned(), text.to_owned()));
}

#[test]
fn bodies_that_are_no_requests() {
    let joiner = Joiner::at("node1:99");
    assert_eq!(
        parse_request(b"{}").unwrap_err().message,
        "At #/: Missing required field 'node_info_network' in object: {}"
    );
    for (key, shown) in
        [("startup_seqno", "Missing required field 'startup_seqno'"), ("quote_info", "'quote_info'")]
    {
        let mut body = joiner.body.clone();
        body.as_object_mut().unwrap().remove(key);
        let error = parse_request(body.to_string().as_bytes()).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "InvalidInput"));
        assert!(error.message.contains(shown), "{}", error.message);
    }
    for odd in ["", "[]", "{", "null", "7"] {
        let error = parse_request(odd.as_bytes()).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "InvalidInput"), "{odd}");
    }
    let body = joiner.with("/startup_seqno", json!(-1)).body;
    assert_eq!(parse_request(body.to_string().as_bytes()).unwrap_err().status, 400);
}

#[test]
fn a_network_that_signs_with_cose_only_refuses_nodes_that_sign_both_ways() {
    struct CoseOnly<'a>(&'a Node);
    impl ccf_governance::NodeGovernance for CoseOnly<'_> {
        fn root_at(&self, tx_id: ccf_types::TxId) -> Option<ccf_types::Digest> {
            self.0.root_at(tx_id)
        }
        fn phase(&self) -> NodePhase {
            self.0.phase()
        }
        fn latest_ledger_secret(&self, tx: &Tx) -> Option<Arc<LedgerSecret>> {
            self.0.latest_ledger_secret(tx)
        }
        fn service_key(&self) -> Option<Arc<EcKeyPair>> {
            self.0.service_key()
        }
        fn request_chunk(&self, _: ccf_types::TxId) {}
        fn request_snapshot(&self, _: ccf_types::TxId) {}
    }
    impl NodeMembership for CoseOnly<'_> {
        fn startup_seqno(&self) -> SeqNo {
            SeqNo::NONE
        }
        fn ledger_secrets(&self, tx: &Tx) -> Option<LedgerSecrets> {
            self.0.ledger_secrets(tx)
        }
        fn last_recovered_signed_seqno(&self) -> SeqNo {
            SeqNo::NONE
        }
        fn cose_signatures(&self) -> CoseSignaturesConfig {
            CoseSignaturesConfig::default()
        }
        fn ledger_sign_mode(&self) -> LedgerSignMode {
            LedgerSignMode::CoseOnly
        }
        fn primary(&self) -> Option<NodeId> {
            None
        }
        fn node_id(&self) -> &NodeId {
            self.0.node_id()
        }
    }
    let service = Service::of_one();
    let attempt = |mode: Value| {
        let joiner = Joiner::at("node1:99").with("/ledger_sign_mode", mode);
        let tx = service.node.store.begin();
        let request = parse_request(joiner.body.to_string().as_bytes()).unwrap();
        let joining = Joining { certificate: &joiner.certificate, request, is_primary: true, now_ms: NOW_MS };
        decide(&tx, &CoseOnly(&service.node), joining).map(|_| ()).map_err(|e| (e.status, e.message))
    };
    let text = "This network does not accept nodes running in Dual signing mode. The joining node must use COSE-only signing.";
    assert_eq!(attempt(json!("Dual")), Err((400, text.to_owned())));
    for accepted in [json!("CoseOnly"), json!("CoseAllowDualJoin"), Value::Null] {
        assert_eq!(attempt(accepted), Ok(()));
    }
}

#[test]
fn retirement_from_the_proposal_to_the_removal() {
    let service = Service::of_one();
    let (first, second) = (Joiner::at("node1:99"), Joiner::at("node2:99"));
    first.join(&service);
    service.activate_all();
    service.open();
    second.join(&service);
    commit_globally(&service);

    // A pending node is deleted, a trusted one becomes retired.
    service.accept(json!([{"name": "remove_node", "args": {"node_id": second.id()}}]));
    assert_eq!(row(&service, &second.id()), Value::Null);
    service.accept(json!([{"name": "remove_node", "args": {"node_id": first.id()}}]));
    assert_eq!(row(&service, &first.id())["status"], "Retired");
    let text = "Joining node is not in expected state (Retired).";
    assert_eq!(first.refusal(&service), (400, "InvalidNodeState".to_owned(), text.to_owned()));
    // The address is free again.
    assert_eq!(Joiner::at("node1:99").join(&service).node_status, NodeStatus::Pending);

    let mark = || {
        let tx = service.node.store.begin();
        let marked = retirement::set_retired_committed(&tx).unwrap();
        commit(&service, tx);
        marked
    };
    let remove = |id: &NodeId| {
        let tx = service.node.store.begin();
        let removed = retirement::remove_node(&tx, id).map_err(|error| error.to_string());
        commit(&service, tx);
        removed
    };
    let removable = || {
        let nodes = retirement::removable_nodes(&service.node.store.begin()).unwrap();
        nodes.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert!(mark().is_empty(), "not committed yet");
    assert_eq!(remove(&first.id()), Err("Node is not completely retired".to_owned()));
    commit_globally(&service);
    assert_eq!(mark(), [first.id()]);
    assert_eq!(row(&service, &first.id())["retired_committed"], true);
    assert!(mark().is_empty());
    assert_eq!(remove(&first.id()), Err("Node is not completely retired".to_owned()), "not committed yet");
    assert!(removable().is_empty());
    commit_globally(&service);
    assert_eq!(removable(), [first.id()]);
    assert_eq!(remove(&first.id()), Ok(()));
    assert_eq!(row(&service, &first.id()), Value::Null);
    let key = first.id();
    assert_eq!(service.stored("public:ccf.gov.nodes.endorsed_certificates", key.as_str().as_bytes()), None);
    assert_eq!(remove(&first.id()), Err("No such node".to_owned()));
}

#[test]
fn retired_nodes_get_new_secrets_until_their_retirement_is_committed() {
    let service = Service::of_one();
    let joiner = Joiner::at("node1:99");
    joiner.join(&service);
    service.activate_all();
    service.open();
    commit_globally(&service);
    service.accept(json!([{"name": "remove_node", "args": {"node_id": joiner.id()}}]));
    let rekey_reaches = |id: &NodeId| {
        service.accept(json!([{"name": "trigger_ledger_rekey", "args": null}]));
        let value = service.stored("public:ccf.internal.encrypted_ledger_secrets", &[0; 8]).unwrap();
        let at = service.last_seqno();
        match secrets_for_node(value.as_bytes(), at, id, encryption_key()).unwrap() {
            SecretsForNode::Rekeyed(secret) => {
                assert_eq!((secret.from(), secret.previous_stored_at()), (at.next(), Some(at)));
                true
            }
            SecretsForNode::Nothing => false,
            SecretsForNode::Restored(_) => panic!("a rekey restores nothing"),
        }
    };
    assert!(rekey_reaches(&joiner.id()));
    commit_globally(&service);
    let tx = service.node.store.begin();
    retirement::set_retired_committed(&tx).unwrap();
    commit(&service, tx);
    assert!(rekey_reaches(&joiner.id()), "not committed yet");
    commit_globally(&service);
    assert!(!rekey_reaches(&joiner.id()));
    assert!(rekey_reaches(&service.node.node_id));
}

#[test]
fn pending_nodes_are_forgotten_when_they_stop_polling() {
    let service = Service::of_one();
    service.activate_all();
    service.open();
    let joiner = Joiner::at("node1:99");
    joiner.join(&service);
    let sweep = |now: u64, timeout: u64| {
        let tx = service.node.store.begin();
        let forgotten = retirement::remove_expired_pending(&tx, now, timeout).unwrap();
        commit(&service, tx);
        forgotten
    };
    let hour = 3_600_000;
    assert!(sweep(NOW_MS + 100 * hour, 0).is_empty());
    assert!(sweep(NOW_MS + hour, hour).is_empty());
    // A time in the future is replaced.
    assert!(sweep(NOW_MS - 5, hour).is_empty());
    assert_eq!(row(&service, &joiner.id())["pending_last_seen"], NOW_MS - 5);
    assert_eq!(sweep(NOW_MS + hour, hour), [joiner.id()]);
    assert_eq!(row(&service, &joiner.id()), Value::Null);
    // Trusted nodes are not touched.
    assert_eq!(row(&service, &service.node.node_id)["status"], "Trusted");
}
