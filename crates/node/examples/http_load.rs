//! What serving costs without any work behind it: TLS, parsing, session handling, encoding.
//!
//! Runs a server whose handler answers every request at once, and clients in the same process, over loopback.
//! Prints throughput, latency and the CPU time that the worker threads took per request.
//!
//! `cargo run --release -p ccf-node --example http_load -- [connections] [pipeline] [seconds] [tls|plain]`
#![allow(clippy::print_stdout)] // it prints its figures

use ccf_endpoints::{Request, Response};
use ccf_node::http::{
    Authority, ConnectionInfo, Interface, InterfaceSettings, Outcome, RequestHandler, Server, ServerSettings,
    TlsIdentity,
};
use ccf_types::{SeqNo, TxId, View};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nothing;

impl RequestHandler for Nothing {
    type Session = u64;

    fn open_session(&self, _: &ConnectionInfo) -> u64 {
        0
    }

    fn handle(&self, session: &mut u64, request: Request) -> Outcome {
        *session += 1;
        assert_eq!(request.body().len(), 41, "the whole body arrives");
        let mut response = Response::with_body(200, "application/json", "true");
        response
            .headers
            .set("x-ms-ccf-transaction-id", TxId { view: View(2), seqno: SeqNo(1_000_000 + *session) });
        Outcome::Respond(response)
    }
}

const REQUEST: &[u8] = b"POST /app/log/private HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n\
    content-type: application/json\r\ncontent-length: 41\r\n\r\n{\"id\":12345,\"msg\":\"twenty characters...\"}";

const RESPONSE_END: &[u8] = b"\r\n\r\ntrue";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: usize| args.get(at).map_or(default, |a| a.parse().expect("a number"));
    let (connections, pipeline, seconds) = (number(1, 4), number(2, 100), number(3, 5));
    let secure = args.get(4).is_none_or(|a| a != "plain");

    let mut settings = InterfaceSettings::new("main");
    settings.authority = if secure { Authority::Service } else { Authority::Unsecured };
    let interface = Interface::bind(settings, "127.0.0.1:0").expect("a free port");
    let address = interface.address();
    let server_settings = ServerSettings { workers: number(5, 2), ..ServerSettings::default() };
    let server = Server::start(&server_settings, vec![interface], &Arc::new(Nothing)).expect("threads");
    let (certificate, key) = certificate();
    server
        .set_certificate(Authority::Service, &TlsIdentity::from_pem(&certificate, &key).expect("usable"))
        .expect("usable");

    let ready = Arc::new(Barrier::new(connections + 1));
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let ready = ready.clone();
            thread::Builder::new()
                .name("client".to_owned())
                .spawn(move || {
                    if secure {
                        let stream = tls_client(address);
                        client(stream, pipeline, Duration::from_secs(seconds as u64), &ready)
                    } else {
                        let stream = TcpStream::connect(address).expect("connects");
                        stream.set_nodelay(true).expect("set");
                        client(stream, pipeline, Duration::from_secs(seconds as u64), &ready)
                    }
                })
                .expect("a thread")
        })
        .collect();
    ready.wait();
    let cpu_before = worker_cpu();
    let start = Instant::now();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.join().expect("no panic"));
    }
    let elapsed = start.elapsed();
    let cpu = worker_cpu() - cpu_before;
    let requests = latencies.len() * pipeline;
    latencies.sort_unstable();
    let at = |p: f64| latencies[((latencies.len() - 1) as f64 * p) as usize];
    println!(
        "{connections} x {pipeline} {}: {:.0} requests/s, worker CPU {:.2} us per request, round trip p50 {:?} p99 {:?}",
        if secure { "TLS" } else { "plain" },
        requests as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / requests as f64,
        at(0.5),
        at(0.99),
    );
    server.stop(Duration::from_secs(1));
}

fn client(mut stream: impl Read + Write, pipeline: usize, time: Duration, ready: &Barrier) -> Vec<Duration> {
    let batch = REQUEST.repeat(pipeline);
    let mut buffer = vec![0; 256 << 10];
    // All answers have the same length, once it is known.
    stream.write_all(REQUEST).expect("sent");
    let mut length = 0;
    while !buffer[..length].ends_with(RESPONSE_END) {
        length += stream.read(&mut buffer[length..]).expect("received");
    }
    ready.wait();
    let start = Instant::now();
    let mut latencies = Vec::with_capacity(1 << 20);
    while start.elapsed() < time {
        let sent = Instant::now();
        stream.write_all(&batch).expect("sent");
        let mut received = 0;
        while received < length * pipeline {
            let read = stream.read(&mut buffer).expect("received");
            assert_ne!(read, 0, "the server does not close");
            received += read;
        }
        assert_eq!(received, length * pipeline);
        latencies.push(sent.elapsed());
    }
    latencies
}

fn worker_cpu() -> Duration {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("worker") {
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

fn tls_client(address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let (pem, key) = certificate();
    let identity = {
        use rustls::pki_types::pem::PemObject;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        (vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"))
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(identity.0, identity.1)
        .expect("usable");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    connection.set_buffer_limit(None);
    let socket = TcpStream::connect(address).expect("connects");
    socket.set_nodelay(true).expect("set");
    StreamOwned::new(connection, socket)
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
