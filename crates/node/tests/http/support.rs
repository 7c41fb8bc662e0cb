//! A server with an echoing handler, and blocking clients for it.

use bytes::Bytes;
use ccf_endpoints::{BodySource, LongBody, Request, Response};
use ccf_node::http::{
    Authority, ConnectionInfo, HttpVersion, Interface, InterfaceSettings, Outcome, RequestHandler, Room,
    Server, ServerSettings, TlsIdentity,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// Answers with what it was asked, and does as the path says.
#[derive(Default)]
pub(crate) struct Echo {
    pub batches: AtomicUsize,
    pub requests: AtomicUsize,
    pub connections: Mutex<Vec<ConnectionInfo>>,
    /// Those who wait at `/wait`.
    pub waiting: Mutex<Vec<tokio::sync::oneshot::Sender<()>>>,
    /// While it is set, requests wait for room like those at `/wait`.
    pub is_full: AtomicBool,
    /// The answer at `/long`.
    pub long: Long,
}

/// A body that is made as it is read.
#[derive(Clone, Default)]
pub(crate) struct Long {
    /// Where the last piece that was read ends.
    pub read: Arc<AtomicU64>,
    /// The longest piece.
    pub longest: Arc<AtomicUsize>,
    /// Nothing can be read from here on, if it is set.
    pub broken_at: Arc<AtomicU64>,
}

/// Bytes of it.
pub(crate) const LONG_BYTES: u64 = 200 << 20;

impl BodySource for Long {
    fn bytes(&self) -> u64 {
        LONG_BYTES
    }

    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let end = at + len as u64;
        let broken_at = self.broken_at.load(SeqCst);
        if broken_at > 0 && end > broken_at {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.read.store(end, SeqCst);
        self.longest.fetch_max(len, SeqCst);
        Ok((at..end).map(|at| at.to_le_bytes()[2]).collect::<Vec<u8>>().into())
    }
}

impl RequestHandler for Echo {
    type Session = Option<Vec<u8>>;

    fn open_session(&self, connection: &ConnectionInfo) -> Self::Session {
        self.connections.lock().unwrap().push(connection.clone());
        connection.peer_certificate.as_ref().map(|c| c.to_vec())
    }

    fn handle(&self, session: &mut Self::Session, request: Request) -> Outcome {
        self.requests.fetch_add(1, SeqCst);
        let mut text =
            format!("{} {}\n", request.method(), String::from_utf8_lossy(request.target())).into_bytes();
        match request.path() {
            b"/close" => return Outcome::RespondAndClose(Response::with_body(200, "text/plain", text)),
            b"/drop" => return Outcome::Close,
            b"/panic" => panic!("asked to"),
            b"/stuck" => loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            },
            b"/wait" => {
                let (go, wait) = tokio::sync::oneshot::channel();
                self.waiting.lock().unwrap().push(go);
                return Outcome::Pending(Box::pin(async move {
                    let _ = wait.await;
                    Outcome::Respond(Response::with_body(200, "text/plain", text))
                }));
            }
            b"/long" => {
                let mut response = Response::status(200);
                response.set_long_body("application/octet-stream", LongBody::new(self.long.clone()));
                return Outcome::Respond(response);
            }
            b"/certificate" => text = session.clone().unwrap_or_default(),
            b"/headers" => {
                for (name, value) in request.headers().iter() {
                    text.extend_from_slice(name.as_bytes());
                    text.push(b'=');
                    text.extend_from_slice(value);
                    text.push(b'\n');
                }
            }
            _ => text.extend_from_slice(request.body()),
        }
        Outcome::Respond(Response::with_body(200, "text/plain", text))
    }

    fn wait_for_room(&self, _: &Request) -> Option<Room> {
        let (go, wait) = tokio::sync::oneshot::channel();
        self.is_full.load(SeqCst).then(|| {
            self.waiting.lock().unwrap().push(go);
            Box::pin(async move { drop(wait.await) }) as Room
        })
    }

    fn batch_done(&self) {
        self.batches.fetch_add(1, SeqCst);
    }
}

impl Echo {
    /// Lets the requests at `/wait` go on, as soon as there are this many.
    pub(crate) fn release(&self, count: usize) {
        until(|| self.waiting.lock().unwrap().len() >= count);
        for go in self.waiting.lock().unwrap().drain(..) {
            let _ = go.send(());
        }
    }
}

/// Waits for a condition; fails the test if it does not come true.
pub(crate) fn until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain");
}

/// A running server with one interface.
pub(crate) struct Running {
    pub echo: Arc<Echo>,
    pub server: Server,
    pub address: SocketAddr,
}

/// Starts a server; with a certificate if the interface wants one.
pub(crate) fn start(change: impl FnOnce(&mut InterfaceSettings, &mut ServerSettings)) -> Running {
    let running = start_without_certificate(change);
    running.server.set_certificate(Authority::Service, &identity(&rcgen::PKCS_ECDSA_P384_SHA384)).unwrap();
    running
}

pub(crate) fn start_without_certificate(
    change: impl FnOnce(&mut InterfaceSettings, &mut ServerSettings),
) -> Running {
    let mut interface = InterfaceSettings::new("main");
    let mut server = ServerSettings { workers: 2, ..ServerSettings::default() };
    change(&mut interface, &mut server);
    let interface = Interface::bind(interface, "127.0.0.1:0").unwrap();
    let address = interface.address();
    let echo = Arc::new(Echo::default());
    let server = Server::start(&server, vec![interface], &echo).unwrap();
    Running { echo, server, address }
}

/// Plain HTTP on the interface.
pub(crate) fn plain(interface: &mut InterfaceSettings, _: &mut ServerSettings) {
    interface.authority = Authority::Unsecured;
}

/// PEM of a self-signed certificate and its key.
pub(crate) fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub(crate) fn identity(algorithm: &'static rcgen::SignatureAlgorithm) -> TlsIdentity {
    let (certificate, key) = certificate(algorithm);
    TlsIdentity::from_pem(&certificate, &key).unwrap()
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// How a client greets.
#[derive(Clone)]
pub(crate) struct Hello {
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub alpn: Vec<Vec<u8>>,
    pub certificate: Option<(String, String)>,
}

impl Default for Hello {
    fn default() -> Self {
        Hello { versions: rustls::ALL_VERSIONS, alpn: Vec::new(), certificate: None }
    }
}

impl Hello {
    pub(crate) fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect(),
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }

    pub(crate) fn connect(&self, address: SocketAddr) -> Tls {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(self.config()), name).unwrap();
        StreamOwned::new(connection, tcp(address))
    }
}

pub(crate) fn tls(address: SocketAddr) -> Tls {
    Hello::default().connect(address)
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// Reads one answer with a body of the length it says.
pub(crate) fn answer(stream: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse::<usize>().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

/// Sends bytes and reads one answer.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream).unwrap()
}

/// Whether the server has closed; anything else it sends fails the test.
pub(crate) fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
        Err(error) => assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof),
            "{error}"
        ),
    }
    assert_eq!(String::from_utf8_lossy(&rest), "");
    true
}

/// The protocol version a session was opened with.
pub(crate) fn versions(echo: &Echo) -> Vec<HttpVersion> {
    echo.connections.lock().unwrap().iter().map(|c| c.http_version).collect()
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
