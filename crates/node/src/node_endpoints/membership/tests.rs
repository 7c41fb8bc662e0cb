//! Joining over real sockets: a primary and a backup with the endpoint, and the joining side.

use super::install;
use crate::{
    http::{
        Authority, ConnectionInfo, HttpVersion, Interface, InterfaceSettings, Outcome, RequestHandler,
        Server, ServerSettings, TlsIdentity,
    },
    join::{JoinError, JoinParameters, Joined, SnapshotSource, join},
};
use ccf_crypto::{
    cert::{
        Certificate, CertificateKind, Issuer, Name, SigningRequest, SubjectAltName, Validity, self_signed,
    },
    key::{Curve, EcKeyPair, RsaKeyPair},
};
use ccf_endpoints::{
    Dispatcher, Frontend, HeadersBuilder, InterfaceRules, Method, Origin, Outcome as Dispatched, Registry,
    Request, Response, Session, testing::TestNode,
};
use ccf_governance::{
    NodeGovernance, NodePhase,
    join::{
        NodeMembership,
        message::{CoseSignaturesConfig, JoinRequest, JoinerInterfaces},
    },
    tables::{
        self,
        base64::Base64,
        node::{NetInterface, NodeInfo, NodeStatus, QuoteFormat, QuoteInfo},
        policy::CodeStatus,
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_kv::{Store, Tx};
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{Digest, NodeId, SeqNo, TxId, View};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use time::OffsetDateTime;

static ENCRYPTION: LazyLock<String> =
    LazyLock::new(|| RsaKeyPair::generate(2048).unwrap().public_key().to_pem());

/// What the endpoint asks of its node.
struct Host {
    id: NodeId,
    service_key: Arc<EcKeyPair>,
    secret: Arc<LedgerSecret>,
    startup: AtomicU64,
    primary: Mutex<Option<NodeId>>,
    public_only: AtomicBool,
}

impl NodeGovernance for Host {
    fn root_at(&self, _: TxId) -> Option<Digest> {
        None
    }
    fn phase(&self) -> NodePhase {
        if self.public_only.load(SeqCst) { NodePhase::PartOfPublicNetwork } else { NodePhase::PartOfNetwork }
    }
    fn latest_ledger_secret(&self, _: &Tx) -> Option<Arc<LedgerSecret>> {
        Some(Arc::clone(&self.secret))
    }
    fn service_key(&self) -> Option<Arc<EcKeyPair>> {
        Some(Arc::clone(&self.service_key))
    }
    fn request_chunk(&self, _: TxId) {}
    fn request_snapshot(&self, _: TxId) {}
}

impl NodeMembership for Host {
    fn startup_seqno(&self) -> SeqNo {
        SeqNo(self.startup.load(SeqCst))
    }
    fn ledger_secrets(&self, _: &Tx) -> Option<LedgerSecrets> {
        let mut all = LedgerSecrets::default();
        all.add(Arc::clone(&self.secret)).unwrap();
        Some(all)
    }
    fn last_recovered_signed_seqno(&self) -> SeqNo {
        SeqNo(77)
    }
    fn cose_signatures(&self) -> CoseSignaturesConfig {
        CoseSignaturesConfig { issuer: "i".to_owned(), subject: "s".to_owned() }
    }
    fn primary(&self) -> Option<NodeId> {
        self.primary.lock().unwrap().clone()
    }
    fn node_id(&self) -> &NodeId {
        &self.id
    }
}

struct Handler(Dispatcher);

impl RequestHandler for Handler {
    type Session = Session;

    fn open_session(&self, connection: &ConnectionInfo) -> Session {
        let rules = Arc::new(InterfaceRules::open(&*connection.interface));
        let session = Session::new(connection.session_id, rules, connection.peer_certificate.as_deref());
        if connection.http_version == HttpVersion::Http2 { session.over_http2() } else { session }
    }

    fn handle(&self, session: &mut Session, request: Request) -> Outcome {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        match self.0.handle(&request, session, now).outcome {
            Dispatched::Respond(response) | Dispatched::RespondAndClose(response) => {
                Outcome::Respond(response)
            }
            other => panic!("{other:?}"),
        }
    }

    fn batch_done(&self) {}
}

/// A node of the service.
struct Peer {
    host: Arc<Host>,
    store: Store,
    view: Arc<TestNode>,
    handler: Arc<Handler>,
    certificate: Certificate,
    address: String,
    _server: Server,
}

struct Network {
    service_cert: String,
    primary: Peer,
    backup: Peer,
}

fn days(days: u64) -> Validity {
    Validity::from_days(OffsetDateTime::now_utc() - time::Duration::hours(1), days).unwrap()
}

fn quote_of(key: &EcKeyPair, host_data: &str) -> QuoteInfo {
    let quote = serde_json::json!({
        "host_data": host_data,
        "measurement": "m v1",
        "report_data": Base64::encode(key.public_key().id().as_bytes()),
    });
    QuoteInfo {
        endorsed_tcb: None,
        endorsements: Base64::default(),
        format: QuoteFormat::InsecureVirtual,
        quote: Base64(quote.to_string().into_bytes()),
        uvm_endorsements: None,
    }
}

impl Network {
    fn new(status: ServiceStatus, http2: bool) -> Network {
        let key = Arc::new(EcKeyPair::generate(Curve::P384).unwrap());
        let name = Name::parse("CN=CCF Service").unwrap();
        let cert = self_signed(&key, &name, &[], CertificateKind::Ca, &days(2)).unwrap();
        let secret = Arc::new(LedgerSecret::random(SeqNo(1), None).unwrap());
        let mut peers: Vec<Peer> = (0..2).map(|_| Peer::new(&cert, &key, &secret, http2)).collect();
        let rows: Vec<(NodeId, NodeInfo)> = peers.iter().map(Peer::row).collect();
        let primary = rows[0].0.clone();
        for peer in &peers {
            peer.store.set_primary(View::FIRST);
            let tx = peer.store.begin();
            let info = ServiceInfo {
                cert: cert.to_pem(),
                current_service_create_txid: Some(TxId::new(2, 1)),
                previous_service_identity_version: None,
                recovery_count: Some(0),
                service_data: None,
                status,
            };
            tx.rw(&tables::SERVICE_INFO).put(&info).unwrap();
            tx.rw(&tables::VIRTUAL_HOST_DATA).insert(&"00ff".to_owned()).unwrap();
            let measurements = tx.rw(&tables::VIRTUAL_MEASUREMENTS);
            measurements.put(&"m v1".to_owned(), &CodeStatus::AllowedToJoin).unwrap();
            for (id, row) in &rows {
                tx.rw(&tables::NODES).put(id, row).unwrap();
            }
            tx.commit().unwrap();
            *peer.host.primary.lock().unwrap() = Some(primary.clone());
        }
        let backup = peers.pop().unwrap();
        backup.store.set_backup();
        backup.view.primary.store(false, SeqCst);
        Network { service_cert: cert.to_pem(), primary: peers.pop().unwrap(), backup }
    }

    fn joiner(&self, target: &Peer) -> JoinParameters {
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let name = Name::parse("CN=CCF Node").unwrap();
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &days(1)).unwrap();
        let address = format!("node.example:{}", 1000 + u32::from(certificate.serial()[0]));
        JoinParameters {
            target: target.address.clone(),
            service_certificate: self.service_cert.clone(),
            certificate: certificate.to_pem(),
            private_key: key.to_pkcs8_pem().unwrap(),
            http2: false,
            request: JoinRequest {
                certificate_signing_request: Some(SigningRequest::create(&key, &name, &[]).unwrap().to_pem()),
                code_transparent_statement: None,
                ledger_sign_mode: None,
                node_data: None,
                node_info_network: JoinerInterfaces {
                    node_to_node_interface: NetInterface::at(&address, &address),
                    rpc_interfaces: BTreeMap::new(),
                },
                public_encryption_key: ENCRYPTION.clone(),
                quote_info: quote_of(&key, "00ff"),
                sealing_recovery_data: None,
                startup_seqno: Some(SeqNo(0)),
            },
            retry_timeout: Duration::from_millis(5),
            follow_redirect: true,
        }
    }
}

impl Peer {
    fn new(
        service: &Certificate,
        service_key: &Arc<EcKeyPair>,
        secret: &Arc<LedgerSecret>,
        http2: bool,
    ) -> Peer {
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let names = [SubjectAltName::from_host("elsewhere.example").unwrap()];
        let request = SigningRequest::create(&key, &Name::parse("CN=CCF Node").unwrap(), &names).unwrap();
        let issuer = Issuer::new(service, service_key).unwrap();
        let certificate = issuer.endorse(&request, CertificateKind::Leaf, &days(1)).unwrap();
        let host = Arc::new(Host {
            id: key.public_key().node_id(),
            service_key: Arc::clone(service_key),
            secret: Arc::clone(secret),
            startup: AtomicU64::new(0),
            primary: Mutex::new(None),
            public_only: AtomicBool::new(false),
        });
        let store = Store::new();
        let view = Arc::new(TestNode::default());
        let mut registry = Registry::new(Frontend::Node);
        install(&mut registry, &(Arc::clone(&host) as Arc<dyn NodeMembership>)).unwrap();
        let (app, gov) = (Registry::new(Frontend::App), Registry::new(Frontend::Gov));
        let handler =
            Arc::new(Handler(Dispatcher::new(store.clone(), Arc::clone(&view) as _, app, gov, registry)));
        let mut settings = InterfaceSettings::new("main");
        if http2 {
            settings.protocol = crate::http::AppProtocol::Http2;
        }
        let interface = Interface::bind(settings, "127.0.0.1:0").unwrap();
        let address = interface.address().to_string();
        let server = Server::start(
            &ServerSettings { workers: 1, ..ServerSettings::default() },
            vec![interface],
            &handler,
        );
        let server = server.unwrap();
        let identity = TlsIdentity::from_pem(&certificate.to_pem(), &key.to_pkcs8_pem().unwrap()).unwrap();
        server.set_certificate(Authority::Service, &identity).unwrap();
        Peer { host, store, view, handler, certificate, address, _server: server }
    }

    fn row(&self) -> (NodeId, NodeInfo) {
        let info = NodeInfo {
            cert: None,
            certificate_signing_request: None,
            code_digest: None,
            encryption_pub_key: ENCRYPTION.clone(),
            ledger_secret_seqno: None,
            node_data: None,
            node_to_node_interface: NetInterface::at(&self.address, &self.address),
            pending_last_seen: None,
            public_key: None,
            quote_info: quote_of(&self.host.service_key, "00ff"),
            retired_committed: false,
            rpc_interfaces: BTreeMap::from([(
                "main".to_owned(),
                NetInterface::at("0.0.0.0:0", &self.address),
            )]),
            status: NodeStatus::Trusted,
        };
        (self.host.id.clone(), info)
    }

    fn change(&self, id: &NodeId, change: impl FnOnce(&mut NodeInfo)) {
        let tx = self.store.begin();
        let nodes = tx.rw(&tables::NODES);
        let mut info = nodes.get(id).unwrap().unwrap();
        change(&mut info);
        nodes.put(id, &info).unwrap();
        tx.commit().unwrap();
    }

    /// Executes a request without a socket.
    fn ask(&self, path: &str, session: &mut Session, body: &str) -> Response {
        let headers = HeadersBuilder::default().finish();
        let request =
            Request::simple(Method::Post, path).with_headers(headers).with_body(body.as_bytes().to_vec());
        match self.handler.handle(session, request) {
            Outcome::Respond(response) => response,
            _ => panic!("no answer"),
        }
    }
}

fn client(certificate: Option<&[u8]>) -> Session {
    Session::new(1, Arc::new(InterfaceRules::open("main")), certificate)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The outcome, or nothing if joining goes on.
fn try_join(parameters: JoinParameters) -> Option<Result<Joined, JoinError>> {
    run(async { tokio::time::timeout(Duration::from_millis(500), join(parameters, None)).await.ok() })
}

fn id_of(parameters: &JoinParameters) -> NodeId {
    Certificate::from_pem(&parameters.certificate).unwrap().public_key().unwrap().node_id()
}

#[test]
fn a_node_joins_through_a_backup() {
    let network = Network::new(ServiceStatus::Recovering, false);
    network.primary.host.public_only.store(true, SeqCst);
    let mut parameters = network.joiner(&network.backup);
    parameters.retry_timeout = Duration::from_millis(1);
    let own = Certificate::from_pem(&parameters.certificate).unwrap();
    let joined = run(join(parameters, None)).unwrap();
    assert_eq!(joined.service_certificate, network.service_cert);
    let service_key = &network.primary.host.service_key;
    assert_eq!(joined.service_key.public_key(), service_key.public_key());
    assert_eq!(joined.service_status, ServiceStatus::Recovering);
    assert_eq!(joined.cose_signatures.issuer, "i");
    assert!(joined.public_only);
    assert_eq!((joined.last_recovered_signed_seqno, joined.startup_seqno), (SeqNo(77), SeqNo(0)));
    let secret = joined.ledger_secrets.latest().unwrap();
    assert_eq!(secret.danger_raw(), network.primary.host.secret.danger_raw());
    let endorsed = Certificate::from_pem(&joined.endorsed_certificate).unwrap();
    assert_eq!(endorsed.validity(), own.validity());
    // It waits in vain if it may not go where it is led.
    let mut parameters = network.joiner(&network.backup);
    parameters.follow_redirect = false;
    assert!(try_join(parameters).is_none());
}

#[test]
fn a_backup_leads_to_the_same_interface_of_the_primary_or_says_why_not() {
    let network = Network::new(ServiceStatus::Open, false);
    let parameters = network.joiner(&network.backup);
    let body = serde_json::to_string(&parameters.request).unwrap();
    let own = Certificate::from_pem(&parameters.certificate).unwrap();
    let ask = |session: &mut Session| {
        let response = network.backup.ask("/node/join", session, &body);
        let json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let error = json["error"]["message"].as_str().unwrap().to_owned();
        let location = response.headers.get("location").map(ccf_endpoints::HeaderValue::to_text);
        (response.status, error, location)
    };
    let location = format!("https://{}/node/join", network.primary.address);
    let text = "Node is not primary; cannot handle write".to_owned();
    assert_eq!(ask(&mut client(Some(own.der()))), (308, text, Some(location)));
    let error = |text: &str| (500, text.to_owned(), None);
    let mut internal = Session::internal(1, Origin::Internal, Some(own.der()));
    assert_eq!(ask(&mut internal), error("Cannot redirect non-RPC request"));
    let mut other = Session::new(1, Arc::new(InterfaceRules::open("other")), Some(own.der()));
    let id = network.primary.host.id.clone();
    let text = format!(
        "Cannot redirect request. Received on RPC interface other, which is not present on target node {id}"
    );
    assert_eq!(ask(&mut other), error(&text));
    assert_eq!(ask(&mut client(None)).0, 500);
    *network.backup.host.primary.lock().unwrap() = Some(NodeId::from_text("gone"));
    let text = "Cannot find node info to produce redirect response for node gone";
    assert_eq!(ask(&mut client(Some(own.der()))), error(text));
    *network.backup.host.primary.lock().unwrap() = None;
    assert_eq!(ask(&mut client(Some(own.der()))), error("Primary unknown"));
}

#[test]
fn a_pending_node_asks_until_it_is_trusted() {
    let network = Network::new(ServiceStatus::Open, true);
    let mut parameters = network.joiner(&network.primary);
    parameters.http2 = true;
    let id = id_of(&parameters);
    let endorsed = parameters.certificate.clone();
    let joined = run(async {
        let (mut asking, mut polls) = (Box::pin(join(parameters, None)), 0);
        loop {
            if let Ok(joined) = tokio::time::timeout(Duration::from_millis(30), &mut asking).await {
                return joined.unwrap();
            }
            let row = network.primary.store.begin().ro(&tables::NODES).get(&id).unwrap();
            polls += u32::from(row.is_some());
            if polls == 3 {
                assert!(row.unwrap().pending_last_seen.is_some());
                let tx = network.primary.store.begin();
                tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).put(&id, &endorsed).unwrap();
                tx.commit().unwrap();
                network.primary.change(&id, |info| info.status = NodeStatus::Trusted);
            }
            assert!(polls < 100, "trusted, and not told so");
        }
    });
    assert_eq!(joined.endorsed_certificate, endorsed);
    assert_eq!(joined.service_status, ServiceStatus::Open);
    assert!(!joined.public_only);
}

#[test]
fn what_ends_joining_and_what_does_not() {
    let network = Network::new(ServiceStatus::Opening, false);
    let mut stranger = network.joiner(&network.primary);
    let quote: &mut QuoteInfo = &mut stranger.request.quote_info;
    quote.quote = Base64(String::from_utf8(quote.quote.0.clone()).unwrap().replace("00ff", "00fe").into());
    let error = try_join(stranger).unwrap().unwrap_err().to_string();
    let expected = format!(
        "Join request to {} returned 401 Bad Request: {{\"error\":{{\"code\":\"InvalidQuote\",\"message\":\"Quote host data is not authorised\"}}}}. Shutting down node gracefully.",
        network.primary.address
    );
    assert_eq!(error, expected);

    let mut elsewhere = network.joiner(&network.primary);
    elsewhere.service_certificate = Network::new(ServiceStatus::Opening, false).service_cert;
    let error = try_join(elsewhere).unwrap().unwrap_err().to_string();
    let start = format!("Early error when joining existing network at {}: ", network.primary.address);
    assert!(error.starts_with(&start) && error.contains("invalid cert on handshake"), "{error}");
    assert!(error.ends_with("Shutting down node gracefully..."), "{error}");

    let mut nobody = network.joiner(&network.primary);
    nobody.target = "127.0.0.1:1".to_owned();
    assert!(try_join(nobody).is_none());
    *network.backup.host.primary.lock().unwrap() = None;
    assert!(try_join(network.joiner(&network.backup)).is_none(), "500 may pass");
}

#[test]
fn a_node_with_an_old_snapshot_fetches_another() {
    struct Fetches(Vec<String>);
    impl SnapshotSource for Fetches {
        fn fetch<'a>(
            &'a mut self,
            target: &'a str,
        ) -> Pin<Box<dyn Future<Output = Option<SeqNo>> + Send + 'a>> {
            self.0.push(target.to_owned());
            // The first attempt fails.
            let found = (self.0.len() > 1).then_some(SeqNo(50));
            Box::pin(std::future::ready(found))
        }
    }
    let network = Network::new(ServiceStatus::Opening, false);
    network.primary.host.startup.store(40, SeqCst);
    let mut source = Fetches(Vec::new());
    let parameters = network.joiner(&network.primary);
    let joined = run(join(parameters, Some(&mut source))).unwrap();
    assert_eq!(joined.startup_seqno, SeqNo(50));
    assert_eq!(source.0, vec![network.primary.address.clone(); 2]);
    let error = try_join(network.joiner(&network.primary)).unwrap().unwrap_err();
    assert!(matches!(error, JoinError::Refused { status: 400, .. }), "{error}");
}

#[test]
fn only_nodes_may_finish_retirements_and_only_the_node_itself_forgets_joiners() {
    let network = Network::new(ServiceStatus::Open, false);
    let primary = &network.primary;
    let (id, _) = network.backup.row();
    primary.change(&id, |info| info.status = NodeStatus::Retired);
    primary.store.compact(primary.store.version());
    let retired = "/node/network/nodes/set_retired_committed";
    let expired = "/node/network/nodes/remove_expired_pending";
    let stranger = Certificate::from_pem(&network.joiner(primary).certificate).unwrap();
    for path in [retired, expired] {
        assert_eq!(primary.ask(path, &mut client(None), "").status, 401);
        assert_eq!(primary.ask(path, &mut client(Some(stranger.der())), "").status, 401);
    }
    let by = |peer: &Peer| client(Some(peer.certificate.der()));
    let refused = primary.ask(expired, &mut by(&network.backup), "");
    assert_eq!(refused.status, 401);
    assert!(String::from_utf8_lossy(&refused.body).contains("Only the node itself can call this endpoint."));
    assert_eq!(primary.ask(expired, &mut by(primary), "").status, 200);
    assert_eq!(primary.ask(retired, &mut by(primary), "").status, 200);
    let row = primary.store.begin().ro(&tables::NODES).get(&id).unwrap().unwrap();
    assert!(row.retired_committed);
}
