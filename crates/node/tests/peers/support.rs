//! Nodes of a service, each with a network and a record of what it received.

use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse};
use ccf_crypto::{
    cert::{Certificate, CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    key::{Curve, EcKeyPair},
};
use ccf_node::peers::{PeerEvents, PeerNetwork, PeerSettings};
use ccf_types::NodeId;
use parking_lot::{Condvar, Mutex};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// Long enough for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Consensus(NodeId, Vec<u8>, Vec<u8>),
    Request(NodeId, ForwardedRequest),
    Response(NodeId, ForwardedResponse),
}

/// What a node received.
#[derive(Default)]
pub(crate) struct Record {
    got: Mutex<Vec<Got>>,
    more: Condvar,
    /// Peers to which the connection ended, and whether there had been one.
    pub(crate) disconnected: Mutex<Vec<(NodeId, bool)>>,
}

impl Record {
    fn add(&self, got: Got) {
        self.got.lock().push(got);
        self.more.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<Got> {
        self.got.lock().clone()
    }

    /// Waits until the record satisfies `done`; false if it does not in time.
    pub(crate) fn wait(&self, done: impl Fn(&[Got]) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut got = self.got.lock();
        while !done(&got) {
            if self.more.wait_until(&mut got, end).timed_out() {
                return done(&got);
            }
        }
        true
    }
}

impl PeerEvents for Record {
    fn consensus(&self, from: &NodeId, message: &[u8], entries: Bytes) {
        self.add(Got::Consensus(from.clone(), message.to_vec(), entries.to_vec()));
    }

    fn forwarded_request(&self, from: &NodeId, request: ForwardedRequest) {
        self.add(Got::Request(from.clone(), request));
    }

    fn forwarded_response(&self, from: &NodeId, response: ForwardedResponse) {
        self.add(Got::Response(from.clone(), response));
    }

    fn disconnected(&self, from: &NodeId, established: bool) {
        self.disconnected.lock().push((from.clone(), established));
    }
}

/// Issues certificates.
pub(crate) struct Service {
    pub(crate) key: EcKeyPair,
    pub(crate) certificate: Certificate,
}

/// A key and its certificate.
pub(crate) struct Member {
    pub(crate) key: EcKeyPair,
    pub(crate) certificate: Certificate,
}

fn validity() -> Validity {
    Validity::from_days(OffsetDateTime::now_utc(), 1).unwrap()
}

impl Service {
    pub(crate) fn new() -> Service {
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let name = Name::parse("CN=service").unwrap();
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity()).unwrap();
        Service { key, certificate }
    }

    pub(crate) fn member(&self) -> Member {
        let key = EcKeyPair::generate(Curve::P384).unwrap();
        let request = SigningRequest::create(&key, &Name::parse("CN=node").unwrap(), &[]).unwrap();
        let issuer = Issuer::new(&self.certificate, &self.key).unwrap();
        let certificate = issuer.endorse(&request, CertificateKind::Leaf, &validity()).unwrap();
        Member { key, certificate }
    }

    /// A node that is part of the service.
    pub(crate) fn node(&self) -> Node {
        let node = self.joiner();
        node.join(self);
        node
    }

    /// A node that does not know the service yet.
    pub(crate) fn joiner(&self) -> Node {
        Node::start(self.member(), settings(), TcpListener::bind("127.0.0.1:0").unwrap())
    }
}

pub(crate) fn settings() -> PeerSettings {
    PeerSettings {
        message_limit: 23_726_566,
        election_timeout: Duration::from_secs(5),
        connection_timeout: Duration::from_secs(2),
        client_interface: None,
    }
}

/// A network and its record.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) member: Member,
    pub(crate) address: SocketAddr,
    pub(crate) network: PeerNetwork,
    pub(crate) record: Arc<Record>,
}

impl Node {
    pub(crate) fn start(member: Member, settings: PeerSettings, listener: TcpListener) -> Node {
        let id = member.key.public_key().node_id();
        let record = Arc::new(Record::default());
        let address = listener.local_addr().unwrap();
        let events = Arc::clone(&record);
        let network = PeerNetwork::start(settings, listener, id.clone(), events).unwrap();
        Node { id, member, address, network, record }
    }

    pub(crate) fn join(&self, service: &Service) {
        let certificate = service.certificate.clone();
        self.network.set_identity(&self.member.key, self.member.certificate.clone(), certificate).unwrap();
    }

    pub(crate) fn knows(&self, other: &Node) {
        self.network.add_peer(&other.id, &other.address.to_string());
    }

    /// Sends `number` as a consensus message.
    pub(crate) fn send(&self, to: &Node, number: u64, entries: &[&'static [u8]]) {
        let entries = entries.iter().map(|entry| Bytes::from_static(entry));
        let _ = self.network.send_consensus(&to.id, &message(number), entries);
    }

    /// Sends `number` now and then until it arrives: messages may be lost, and the reader's record tells.
    pub(crate) fn send_until_received(&self, to: &Node, number: u64) {
        let expected = Got::Consensus(self.id.clone(), message(number), Vec::new());
        let arrived = eventually(|| {
            self.send(to, number, &[]);
            to.record.all().contains(&expected)
        });
        assert!(arrived, "{:?} {:?}", self.network.counters(), to.network.counters());
    }
}

/// An append-entries message that differs from others by `number`.
pub(crate) fn message(number: u64) -> Vec<u8> {
    let mut message = vec![0; 57];
    message[8..16].copy_from_slice(&number.to_le_bytes());
    message
}

/// The numbers of consensus messages from a node, in order.
pub(crate) fn numbers(got: &[Got], from: &NodeId) -> Vec<u64> {
    let number = |got: &Got| match got {
        Got::Consensus(sender, message, _) if sender == from => {
            Some(u64::from_le_bytes(message[8..16].try_into().unwrap()))
        }
        _ => None,
    };
    got.iter().filter_map(number).collect()
}

/// Asks every few milliseconds.
pub(crate) fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Passes bytes on between a node and a listener it can see, and keeps a copy of those towards the listener.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    pub(crate) copy: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub(crate) fn before(target: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let copy = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&copy);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { return };
                let (mut near_in, mut near_out) = (near.try_clone().unwrap(), near);
                let (mut far_in, mut far_out) = (far.try_clone().unwrap(), far);
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || {
                    pass(&mut near_in, &mut far_out, |bytes| keep.lock().extend(bytes))
                });
                std::thread::spawn(move || pass(&mut far_in, &mut near_out, |_| {}));
            }
        });
        Tap { address, copy }
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(std::net::Shutdown::Write);
        }
        see(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}
