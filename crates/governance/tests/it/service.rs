//! A service in memory: one node without network, disk or clock.

use ccf_attestation::DerivedKeys;
use ccf_crypto::{
    cert::{CertificateKind, Issuer, Name, SigningRequest, Validity, parse_valid_from, self_signed},
    cose::{MemberRequest, MessageType},
    hash::sha256,
    key::{Curve, EcKeyPair, RsaKeyPair},
};
use ccf_endpoints::{
    CommitRecord, Dispatcher, Frontend, HeadersBuilder, InterfaceRules, Method, NodeView, NotReplicated,
    Outcome, Registry, Request, Response, Role, Session,
};
use ccf_governance::{
    Governance, NodeGovernance, NodePhase, constitution_texts,
    genesis::{Genesis, InitialConfiguration, NewMember, OwnPlatform, create_service},
    recovery::SecretLinks,
    sealing::{SealedSecret, UnsealError},
    tables::{
        self,
        base64::Base64,
        node::{NetInterface, NodeInfo, NodeStatus, QuoteFormat, QuoteInfo},
        service::NodeSignature,
    },
};
use ccf_js::{Console, GovernanceScripts};
use ccf_kv::{Store, Tx, Written};
use ccf_ledger::{
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_types::{Digest, MemberId, NodeId, SeqNo, TxId, View};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

pub(crate) const VERSION: &str = "api-version=2024-07-01";
pub(crate) const YES: &str = "export function vote (proposal, proposerId) { return true }";
pub(crate) const NO: &str = "export function vote (proposal, proposerId) { return false }";

/// A member with its keys.
pub(crate) struct Member {
    pub(crate) key: EcKeyPair,
    pub(crate) cert: String,
    pub(crate) id: MemberId,
    pub(crate) encryption: Option<&'static RsaKeyPair>,
}

impl Member {
    pub(crate) fn new(name: &str, curve: Curve, with_encryption_key: bool) -> Member {
        let key = EcKeyPair::generate(curve).unwrap();
        let name = Name::parse(&format!("CN={name}")).unwrap();
        let cert = self_signed(&key, &name, &[], CertificateKind::Ca, &days(365)).unwrap();
        let encryption = with_encryption_key.then(encryption_key);
        Member { key, id: cert.member_id(), cert: cert.to_pem(), encryption }
    }

    pub(crate) fn sign(&self, kind: MessageType, at: u64, proposal: Option<&str>, payload: &[u8]) -> Vec<u8> {
        MemberRequest::sign(&self.key, self.id.as_str(), kind, at, proposal, payload).unwrap()
    }
}

pub(crate) fn days(days: u64) -> Validity {
    Validity::from_days(parse_valid_from("2026-01-01T00:00:00Z").unwrap(), days).unwrap()
}

/// What the node did with committed transactions.
#[derive(Default)]
pub(crate) struct Log {
    /// Table names, by transaction.
    pub(crate) tables: BTreeMap<SeqNo, Vec<String>>,
    pub(crate) chunks: Vec<TxId>,
    pub(crate) snapshots: Vec<TxId>,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    tree: Mutex<MerkleTree>,
    pub(crate) log: Mutex<Log>,
    /// The last is the latest.
    pub(crate) secrets: Mutex<Vec<Arc<LedgerSecret>>>,
    pub(crate) service_key: Arc<EcKeyPair>,
    pub(crate) phase: Mutex<NodePhase>,
    pub(crate) links: Mutex<SecretLinks>,
    /// What the node may unseal, and with what.
    pub(crate) sealed: Mutex<Option<(SealedSecret, Box<dyn DerivedKeys>)>>,
    pub(crate) startup_seqno: Mutex<SeqNo>,
    pub(crate) node_id: NodeId,
}

impl Node {
    /// A node over this store that holds these keys.
    pub(crate) fn over(
        store: Store,
        secret: LedgerSecret,
        service_key: EcKeyPair,
        node_id: NodeId,
    ) -> Arc<Node> {
        Arc::new(Node {
            store,
            tree: Mutex::new(MerkleTree::new()),
            log: Mutex::default(),
            secrets: Mutex::new(vec![Arc::new(secret)]),
            service_key: Arc::new(service_key),
            phase: Mutex::new(NodePhase::PartOfNetwork),
            links: Mutex::default(),
            sealed: Mutex::default(),
            startup_seqno: Mutex::new(SeqNo::NONE),
            node_id,
        })
    }

    pub(crate) fn enter(&self, written: &Written) {
        let mut tree = self.tree.lock().unwrap();
        tree.append(sha256(&written.tx_id.seqno.0.to_le_bytes()));
        let names = written.write_set.maps().iter().map(|map| map.name().to_string()).collect();
        self.log.lock().unwrap().tables.insert(written.tx_id.seqno, names);
    }
}

impl NodeView for Node {
    fn role(&self) -> Role {
        Role::Primary
    }
    fn view(&self) -> View {
        View::FIRST
    }
    fn committed(&self) -> TxId {
        self.store.tx_id()
    }
    fn view_of(&self, seqno: SeqNo) -> Option<View> {
        (seqno.0 > 0 && seqno <= self.store.version()).then_some(View::FIRST)
    }
    fn view_history(&self, _: View) -> Vec<TxId> {
        Vec::new()
    }
    fn is_open(&self, frontend: Frontend) -> bool {
        frontend == Frontend::Gov
    }
    fn replicate(&self, record: CommitRecord) -> Result<(), NotReplicated> {
        self.enter(&record.written);
        Ok(())
    }
    fn redirect_address(&self, _: Role, _: &InterfaceRules) -> Option<String> {
        None
    }
}

impl NodeGovernance for Node {
    fn root_at(&self, tx_id: TxId) -> Option<Digest> {
        self.tree.lock().unwrap().root_of(tx_id.seqno.0 + 1).ok()
    }
    fn phase(&self) -> NodePhase {
        *self.phase.lock().unwrap()
    }
    fn latest_ledger_secret(&self, _: &Tx) -> Option<Arc<LedgerSecret>> {
        self.secrets.lock().unwrap().last().cloned()
    }
    fn service_key(&self) -> Option<Arc<EcKeyPair>> {
        Some(Arc::clone(&self.service_key))
    }
    fn request_chunk(&self, tx_id: TxId) {
        self.log.lock().unwrap().chunks.push(tx_id);
    }
    fn request_snapshot(&self, tx_id: TxId) {
        self.log.lock().unwrap().snapshots.push(tx_id);
    }
    fn secret_links(&self) -> SecretLinks {
        self.links.lock().unwrap().clone()
    }
    fn unsealed_secrets(&self) -> Option<Result<LedgerSecrets, UnsealError>> {
        let sealed = self.sealed.lock().unwrap();
        sealed.as_ref().map(|(secret, platform)| secret.restore(&**platform, &self.secret_links()))
    }
}

/// The RSA key of the node and of all members: making such keys is slow.
pub(crate) fn encryption_key() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(2048).unwrap())
}

pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    dispatcher: Dispatcher,
    session: Mutex<Session>,
    pub(crate) members: Vec<Member>,
    pub(crate) service_cert: String,
    pub(crate) node_id: String,
    clock: Mutex<u64>,
}

/// An answer, its body read as JSON if it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.response.headers.get(name).map(ccf_endpoints::HeaderValue::to_text)
    }
    pub(crate) fn tx_id(&self) -> Option<String> {
        self.header("x-ms-ccf-transaction-id")
    }
    /// Status, code and message of an error.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let error = &self.json["error"];
        (self.status(), error["code"].as_str().unwrap_or(""), error["message"].as_str().unwrap_or(""))
    }
}

impl Service {
    pub(crate) fn new(members: Vec<Member>) -> Service {
        Service::with_constitution(
            members,
            &constitution_texts::join_files(&constitution_texts::DEFAULT_VIRTUAL),
        )
    }

    /// A service with the default constitution and one member, who holds an encryption key.
    pub(crate) fn of_one() -> Service {
        Service::new(vec![Member::new("member0", Curve::P384, true)])
    }

    /// Three members of whom the first two hold an encryption key; two shares recover.
    pub(crate) fn of_three() -> Service {
        let curves = [(Curve::P384, true), (Curve::P256, true), (Curve::P521, false)];
        let member =
            |(i, (curve, key)): (usize, (Curve, bool))| Member::new(&format!("member{i}"), curve, key);
        Service::new(curves.into_iter().enumerate().map(member).collect())
    }

    pub(crate) fn with_constitution(members: Vec<Member>, constitution: &str) -> Service {
        let service_key = EcKeyPair::generate(Curve::P384).unwrap();
        let name = Name::parse("CN=CCF Service").unwrap();
        let service_cert = self_signed(&service_key, &name, &[], CertificateKind::Ca, &days(90)).unwrap();
        let node_key = EcKeyPair::generate(Curve::P384).unwrap();
        let node_name = Name::parse("CN=CCF Node").unwrap();
        let csr = SigningRequest::create(&node_key, &node_name, &[]).unwrap();
        let issuer = Issuer::new(&service_cert, &service_key).unwrap();
        let node_cert = issuer.endorse(&csr, CertificateKind::Leaf, &days(90)).unwrap().to_pem();
        let quote = json!({"measurement": "m v1", "report_data": "cmVwb3J0", "host_data": "00ff"});
        let node = NodeInfo {
            cert: None,
            certificate_signing_request: Some(csr.to_pem()),
            code_digest: Some("6d207631".to_owned()),
            encryption_pub_key: encryption_key().public_key().to_pem(),
            ledger_secret_seqno: None,
            node_data: None,
            node_to_node_interface: NetInterface::at("127.0.0.1:1", "127.0.0.1:1"),
            pending_last_seen: None,
            public_key: Some(node_key.public_key().to_pem()),
            quote_info: QuoteInfo {
                endorsed_tcb: None,
                endorsements: Base64::default(),
                format: QuoteFormat::InsecureVirtual,
                quote: Base64(quote.to_string().into_bytes()),
                uvm_endorsements: None,
            },
            retired_committed: false,
            rpc_interfaces: BTreeMap::from([(
                "main".to_owned(),
                NetInterface {
                    app_protocol: Some("HTTP2".to_owned()),
                    ..NetInterface::at("127.0.0.1:2", "127.0.0.1:2")
                },
            )]),
            status: NodeStatus::Pending,
        };
        let new_member = |m: &Member| NewMember {
            certificate: m.cert.clone(),
            encryption_public_key: m.encryption.as_ref().map(|key| key.public_key().to_pem()),
            ..NewMember::default()
        };
        let node_id = node_key.public_key().node_id();
        let genesis = Genesis {
            create_tx_id: TxId::new(2, 1),
            service_cert: service_cert.to_pem(),
            service_data: None,
            configuration: InitialConfiguration::default(),
            constitution: constitution.to_owned(),
            members: members.iter().map(new_member).collect(),
            node_id: node_id.clone(),
            node,
            node_endorsed_cert: node_cert,
            sealing: None,
            join_policy: OwnPlatform::Virtual {
                measurement: "m v1".to_owned(),
                host_data: "00ff".to_owned(),
            },
        };

        let store = Store::new();
        store.set_primary(View::FIRST);
        let secret = LedgerSecret::random(SeqNo(1), None).unwrap();
        let node = Node::over(store.clone(), secret, service_key, node_id.clone());
        let tx = store.begin();
        create_service(&tx, &genesis).unwrap();
        node.enter(&tx.commit().unwrap().into_written().unwrap());

        let mut gov = Registry::new(Frontend::Gov);
        let scripts = GovernanceScripts::new(Console::silent());
        let as_node: Arc<dyn NodeGovernance> = Arc::clone(&node) as _;
        Arc::new(Governance::new(as_node, scripts)).install(&mut gov).unwrap();
        let view: Arc<dyn NodeView> = Arc::clone(&node) as _;
        let (app, node_api) = (Registry::new(Frontend::App), Registry::new(Frontend::Node));
        let session = Session::new(1, Arc::new(InterfaceRules::open("main")), None);
        let service = Service {
            dispatcher: Dispatcher::new(store, view, app, gov, node_api),
            node,
            session: Mutex::new(session),
            members,
            service_cert: service_cert.to_pem(),
            node_id: node_id.to_string(),
            clock: Mutex::new(1_800_000_000),
        };
        service.emit_signature();
        service
    }

    /// A signature transaction, as far as governance can tell.
    pub(crate) fn emit_signature(&self) -> Digest {
        let tree = self.node.tree.lock().unwrap();
        let (root, blob) = (tree.root(), tree.to_blob());
        drop(tree);
        let tx = self.node.store.begin();
        tx.rw(&tables::TREE).put(&blob).unwrap();
        let signature = NodeSignature {
            cert: None,
            commit_seqno: SeqNo::NONE,
            commit_view: View::UNKNOWN,
            hashed_nonce: Digest::ZERO,
            node: NodeId::from_text(&self.node_id),
            root,
            seqno: SeqNo(1),
            sig: Base64::default(),
            view: View::FIRST,
        };
        tx.rw(&tables::SIGNATURES).put(&signature).unwrap();
        self.node.enter(&tx.commit().unwrap().into_written().unwrap());
        root
    }

    pub(crate) fn handle(&self, request: &Request) -> Answer {
        let mut session = self.session.lock().unwrap();
        let handled = self.dispatcher.handle(request, &mut session, 1_800_000_000);
        let (Outcome::Respond(response) | Outcome::RespondAndClose(response)) = handled.outcome else {
            panic!("unexpected outcome {:?}", handled.outcome)
        };
        let json = serde_json::from_slice(&response.body).unwrap_or_default();
        Answer { response, json }
    }

    /// GET below `/gov`, of the current api-version.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.get_exact(&format!("{path}{mark}{VERSION}"))
    }

    pub(crate) fn get_exact(&self, target: &str) -> Answer {
        self.handle(&Request::simple(Method::Get, &format!("/gov{target}")))
    }

    /// POST of a body below `/gov`, of the current api-version.
    pub(crate) fn post(&self, path: &str, body: Vec<u8>) -> Answer {
        self.post_with(&format!("{path}?{VERSION}"), &[("content-type", "application/cose")], body)
    }

    pub(crate) fn post_with(&self, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut builder = HeadersBuilder::default();
        for (name, value) in headers {
            builder.push(name.as_bytes(), value.as_bytes());
        }
        let request = Request::simple(Method::Post, &format!("/gov{target}"));
        self.handle(&request.with_headers(builder.finish()).with_body(body))
    }

    /// Seconds, later each time.
    pub(crate) fn now(&self) -> u64 {
        let mut clock = self.clock.lock().unwrap();
        *clock += 1;
        *clock
    }

    pub(crate) fn member(&self, i: usize) -> &Member {
        &self.members[i]
    }

    pub(crate) fn id(&self, i: usize) -> &str {
        self.members[i].id.as_str()
    }

    pub(crate) fn update_digest(&self, i: usize) -> Answer {
        let body = self.member(i).sign(MessageType::StateDigest, self.now(), None, b"");
        self.post(&format!("/members/state-digests/{}:update", self.id(i)), body)
    }

    pub(crate) fn ack_with(&self, i: usize, payload: &[u8]) -> Answer {
        let body = self.member(i).sign(MessageType::Ack, self.now(), None, payload);
        self.post(&format!("/members/state-digests/{}:ack", self.id(i)), body)
    }

    /// Update and acknowledge.
    pub(crate) fn activate(&self, i: usize) {
        let digest = self.update_digest(i);
        assert_eq!(digest.status(), 200, "{digest:?}");
        let ack = self.ack_with(i, &digest.response.body);
        assert_eq!(ack.status(), 204, "{ack:?}");
    }

    pub(crate) fn activate_all(&self) {
        (0..self.members.len()).for_each(|i| self.activate(i));
    }

    pub(crate) fn propose_text(&self, i: usize, text: &str) -> Answer {
        let body = self.member(i).sign(MessageType::Proposal, self.now(), None, text.as_bytes());
        self.post("/members/proposals:create", body)
    }

    pub(crate) fn propose(&self, i: usize, actions: Value) -> Answer {
        self.propose_text(i, &json!({"actions": actions}).to_string())
    }

    /// A proposal that must be acceptable: its ID.
    pub(crate) fn proposed(&self, i: usize, actions: Value) -> String {
        let answer = self.propose(i, actions);
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json["proposalId"].as_str().unwrap().to_owned()
    }

    pub(crate) fn vote(&self, i: usize, proposal: &str, ballot: &str) -> Answer {
        let payload = json!({"ballot": ballot}).to_string();
        let body = self.member(i).sign(MessageType::Ballot, self.now(), Some(proposal), payload.as_bytes());
        self.post(&format!("/members/proposals/{proposal}/ballots/{}:submit", self.id(i)), body)
    }

    pub(crate) fn withdraw(&self, i: usize, proposal: &str) -> Answer {
        let body = self.member(i).sign(MessageType::Withdrawal, self.now(), Some(proposal), b"");
        self.post(&format!("/members/proposals/{proposal}:withdraw"), body)
    }

    /// Proposes and lets all members vote for it, until it is accepted.
    pub(crate) fn accept(&self, actions: Value) {
        let id = self.proposed(0, actions);
        for i in 0..self.members.len() {
            let answer = self.vote(i, &id, YES);
            assert_eq!(answer.status(), 200, "{answer:?}");
            if answer.json["proposalState"] == "Accepted" {
                return;
            }
        }
        panic!("not accepted");
    }

    pub(crate) fn open(&self) {
        let args = json!({"next_service_identity": self.service_cert});
        self.accept(json!([{"name": "transition_service_to_open", "args": args}]));
    }

    /// The text of a value in the store.
    pub(crate) fn stored(&self, table: &str, key: &[u8]) -> Option<String> {
        let name = ccf_types::MapName::parse(table).unwrap();
        let value = self.node.store.begin().raw(&name).get(key)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    pub(crate) fn last_seqno(&self) -> SeqNo {
        self.node.store.version()
    }
}
