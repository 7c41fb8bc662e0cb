//! The recovery decision protocol between stores: three nodes, each with a service of its own, and what they refuse.

use crate::{join::Joiner, service::Service};
use ccf_crypto::cert::Certificate;
use ccf_endpoints::ErrorResponse;
use ccf_governance::{
    NodePhase,
    decision::{
        Deciding, JoinInstead, Outcome, load,
        message::{Gossip, IAmOpen, Message, Place, Sender, Vote},
        state::{OpenKind, Phase},
    },
    genesis::OwnPlatform,
    recovery::{RecoveredService, create_recovered_service},
    tables::{self, base64::Base64, node::NodeInfo, service::ServiceStatus},
};
use ccf_kv::Tx;
use ccf_types::{Digest, TxId};
use serde_json::json;

const NOW: u64 = 1_800_000_000;

/// A node that has recovered the public state, and its place among others.
struct Recovered {
    service: Service,
    identity: Joiner,
    deciding: Deciding,
}

impl Recovered {
    /// The node at `index` of `count`, whose ledger ends at `last`.
    fn new(index: usize, count: usize, last: TxId) -> Recovered {
        let service = Service::of_one();
        let tx = service.node.store.begin();
        let mut info = tx.ro(&tables::SERVICE_INFO).get().unwrap().unwrap();
        info.status = ServiceStatus::Recovering;
        tx.rw(&tables::SERVICE_INFO).put(&info).unwrap();
        tx.rw(&tables::PREVIOUS_SERVICE_IDENTITY).put(&info.cert).unwrap();
        service.node.enter(&tx.commit().unwrap().into_written().unwrap());
        *service.node.phase.lock().unwrap() = NodePhase::PartOfPublicNetwork;
        let place = |index: usize| Place { name: format!("n{index}"), address: format!("127.0.0.1:{index}") };
        let expected: Vec<Place> = (0..count).map(place).collect();
        let identity = Joiner::at(&expected[index].address);
        let service_cert = Certificate::from_pem(&service.service_cert).unwrap();
        let own = Sender {
            location: place(index),
            quote_info: serde_json::from_value(identity.body["quote_info"].clone()).unwrap(),
            service_cert_der: Base64(service_cert.der().to_vec()),
        };
        let names = expected.iter().map(|place| place.name.clone()).collect();
        let fingerprint = "the service before".to_owned();
        let deciding = Deciding { own, expected, names, last_signed: last, fingerprint };
        Recovered { service, identity, deciding }
    }

    fn execute(
        &self,
        body: impl FnOnce(&Tx) -> Result<Outcome, ErrorResponse>,
    ) -> Result<Outcome, (u16, String, String)> {
        let tx = self.service.node.store.begin();
        let outcome = body(&tx).map_err(|error| (error.status, error.code.to_string(), error.message))?;
        if let Some(written) = tx.commit().unwrap().into_written() {
            self.service.node.enter(&written);
        }
        Ok(outcome)
    }

    fn begin(&self) -> Outcome {
        let key = self.identity.certificate.public_key().unwrap();
        self.execute(|tx| self.deciding.begin(tx, self.service.node.as_ref(), key, NOW)).unwrap()
    }

    fn receive(&self, message: &Message, from: &Recovered) -> Result<Outcome, (u16, String, String)> {
        let node = self.service.node.as_ref();
        self.execute(|tx| self.deciding.receive(tx, node, message, &from.identity.certificate, NOW))
    }

    fn tick(&self) -> Outcome {
        self.execute(|tx| self.deciding.tick(tx, self.service.node.as_ref(), NOW)).unwrap()
    }

    fn phase(&self) -> Phase {
        load(&self.service.node.store.begin()).unwrap().unwrap().phase
    }

    fn status(&self) -> ServiceStatus {
        self.service.node.store.begin().ro(&tables::SERVICE_INFO).get().unwrap().unwrap().status
    }
}

fn three() -> Vec<Recovered> {
    let ends = [TxId::new(2, 10), TxId::new(2, 12), TxId::new(2, 12)];
    (0..3).map(|index| Recovered::new(index, 3, ends[index])).collect()
}

/// Delivers what all send, in rounds, until nothing changes any more.
fn deliver_all(nodes: &[Recovered]) -> Vec<(usize, Outcome)> {
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        for (sender, node) in nodes.iter().enumerate() {
            let state = load(&node.service.node.store.begin()).unwrap().unwrap();
            for (address, message) in node.deciding.outbox(&state) {
                let to = nodes[sender].deciding.expected.iter().position(|p| p.address == address).unwrap();
                assert_ne!(to, sender);
                match nodes[to].receive(&message, node) {
                    Ok(Outcome::Kept) => {}
                    Ok(outcome) => outcomes.push((to, outcome)),
                    Err((status, _, text)) => assert!(
                        status == 500 && text == "This node has already voted for n2"
                            || text == "Node is already open, ignoring iamopen request",
                        "{text}"
                    ),
                }
            }
        }
    }
    outcomes
}

#[test]
fn of_equal_ledgers_the_larger_name_opens_and_the_others_join() {
    let nodes = three();
    for node in &nodes {
        assert_eq!(node.begin(), Outcome::Kept);
    }
    let mut outcomes = deliver_all(&nodes);
    outcomes.sort_by_key(|(to, _)| *to);
    let instead = JoinInstead {
        target: "127.0.0.1:2".to_owned(),
        service_certificate: nodes[2].service.service_cert.clone(),
    };
    let expected = [
        (0, Outcome::Join(instead.clone())),
        (1, Outcome::Join(instead)),
        (2, Outcome::Opened(OpenKind::Quorum)),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!([0, 1, 2].map(|i: usize| nodes[i].phase()), [Phase::Joining, Phase::Joining, Phase::Opening]);
    let waiting = ServiceStatus::WaitingForRecoveryShares;
    let recovering = ServiceStatus::Recovering;
    assert_eq!([0, 1, 2].map(|i: usize| nodes[i].status()), [recovering, recovering, waiting]);
    let stored = |table: &str, key: &[u8]| {
        nodes[2].service.stored(&format!("public:ccf.gov.recovery_decision_protocol.{table}"), key)
    };
    let unit: &[u8] = &[0; 8];
    assert_eq!(stored("sm_state", unit).as_deref(), Some("\"Opening\""));
    assert_eq!(stored("open_kind", unit).as_deref(), Some("\"Quorum\""));
    assert_eq!(stored("chosen_node", unit).as_deref(), Some("\"n2\""));
    assert_eq!(stored("gossip", b"n0").as_deref(), Some("\"2.10\""));
    (0..3).for_each(|_| drop(nodes[2].tick()));
    assert_eq!(nodes[2].phase(), Phase::Open);

    // The next recovery of the service begins anew.
    let tx = nodes[2].service.node.store.begin();
    let (node_id, node): (_, NodeInfo) = tx.ro(&tables::NODES).entries().unwrap().pop().unwrap();
    let recovered = RecoveredService {
        create_tx_id: TxId::new(9, 99),
        service_cert: nodes[2].service.service_cert.clone(),
        service_data: None,
        node_id,
        node,
        node_endorsed_cert: String::new(),
        join_policy: OwnPlatform::Virtual { measurement: String::new(), host_data: String::new() },
        sealing: None,
    };
    create_recovered_service(&tx, &recovered).unwrap();
    assert_eq!(load(&tx).unwrap(), None);
    assert_eq!(tx.ro(&tables::DECISION_NODES).size(), 0);
}

#[test]
fn a_single_expected_node_opens_at_once_and_silence_opens_after_two_timeouts() {
    let alone = Recovered::new(0, 1, TxId::new(2, 3));
    assert_eq!(alone.begin(), Outcome::Opened(OpenKind::Quorum));
    assert_eq!(alone.status(), ServiceStatus::WaitingForRecoveryShares);

    let nodes = three();
    nodes[0].begin();
    assert_eq!(nodes[0].tick(), Outcome::Kept);
    assert_eq!(nodes[0].tick(), Outcome::Opened(OpenKind::Failover));
}

#[test]
fn messages_are_judged_before_they_count() {
    let nodes = three();
    let (receiver, sender) = (&nodes[0], &nodes[1]);
    let gossip = |info: &Sender| Message::Gossip(Gossip { info: info.clone(), txid: TxId::new(2, 12) });
    let good = &sender.deciding.own;
    let refused = |message: &Message, from: &Recovered| receiver.receive(message, from).unwrap_err();
    let (status, code, text) = refused(&gossip(good), sender);
    let expected = "This node cannot do recovery-decision-protocol";
    assert_eq!((status, code.as_str(), text.as_str()), (400, "InvalidNodeState", expected));
    receiver.begin();

    // Evidence of another key, of another program.
    assert_eq!(refused(&gossip(good), &nodes[2]).1, "InvalidQuote");
    let mut foreign = good.clone();
    let evidence =
        json!({"host_data": "0bad", "measurement": "m v1", "report_data": Base64::encode(&[0; 32])});
    foreign.quote_info.quote = Base64(evidence.to_string().into_bytes());
    let (status, _, text) = refused(&gossip(&foreign), sender);
    assert_eq!((status, text.as_str()), (401, "Quote host data is not authorised"));
    let mut unknown = good.clone();
    unknown.location.name = "n9".to_owned();
    assert_eq!(refused(&gossip(&unknown), sender).0, 400);
    assert_eq!(load(&receiver.service.node.store.begin()).unwrap().unwrap().gossip.len(), 1);

    // One node for each location.
    assert_eq!(receiver.receive(&gossip(good), sender), Ok(Outcome::Kept));
    let other = Recovered::new(1, 3, TxId::new(3, 50));
    let (status, code, _) = refused(&gossip(&other.deciding.own), &other);
    assert_eq!((status, code.as_str()), (400, "NodeAlreadyExists"));
    let vote = Message::Vote(Vote { info: other.deciding.own.clone() });
    assert_eq!(refused(&vote, &other).1, "NodeAlreadyExists");

    // Another service than the one this node recovers, a certificate that is none.
    let open = |info: &Sender, fingerprint: &str| {
        let (info, prev_service_fingerprint) = (info.clone(), fingerprint.to_owned());
        Message::IAmOpen(IAmOpen { info, prev_service_fingerprint, txid: TxId::new(2, 12) })
    };
    assert_eq!(refused(&open(good, "another"), sender).0, 400);
    let mut garbage = good.clone();
    garbage.service_cert_der = Base64(vec![1, 2, 3]);
    assert_eq!(refused(&open(&garbage, "the service before"), sender).0, 400);
    assert_eq!(receiver.phase(), Phase::Gossiping);
    let joined = receiver.receive(&open(good, "the service before"), sender);
    assert!(matches!(joined, Ok(Outcome::Join(_))), "{joined:?}");
    let digest = sender.identity.certificate.public_key().unwrap().id();
    let row = receiver.service.node.store.begin().ro(&tables::DECISION_NODES).get(&"n1".to_owned());
    assert_eq!(row.unwrap().unwrap().public_key, Digest(*digest.as_bytes()));
}
