//! A throwaway HTTPS server: answers every request at once with a canned body. One thread per connection.
//!
//! It stands for the fastest service there could be, so that the load generator's own ceiling can be measured, and it
//! misbehaves on request: the path decides.

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const ANSWER_BODY: &str = "{\"msg\":\"abcdefghijklmnopqrst\"}";

/// After a write, so long until `/app/tx` says Committed.
pub(crate) const COMMIT_DELAY: Duration = Duration::from_millis(20);

/// A running server; it serves until the test process ends.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
}

pub(crate) fn certificate_file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/server_cert.pem"))
}

pub(crate) fn key_file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/server_key.pem"))
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let certificate = CertificateDer::from_pem_file(certificate_file()).unwrap();
        let key = PrivateKeyDer::from_pem_file(key_file()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TestServer { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&server.requests);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, requests) = (Arc::clone(&config), Arc::clone(&requests));
                thread::spawn(move || serve(socket, config, &requests));
            }
        });
        server
    }
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>, requests: &AtomicU64) {
    socket.set_nodelay(true).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 * 1024];
    let mut last_write = Instant::now();
    loop {
        let Ok(count @ 1..) = stream.read(&mut chunk) else { return };
        inbox.extend_from_slice(&chunk[..count]);
        let mut start = 0;
        while let Some(head) = memchr::memmem::find(&inbox[start..], b"\r\n\r\n") {
            let head = &inbox[start..start + head + 4];
            let body = ccf_cli::bench::wire::header(head, b"content-length")
                .map_or(0, |text| std::str::from_utf8(text).unwrap().parse::<usize>().unwrap());
            if inbox.len() < start + head.len() + body {
                break;
            }
            requests.fetch_add(1, Ordering::Relaxed);
            if head.starts_with(b"GET /close ") {
                return;
            }
            if head.starts_with(b"GET /stall ") {
                thread::sleep(Duration::from_millis(200));
            }
            if head.starts_with(b"POST") {
                last_write = Instant::now();
            }
            let status = if head.starts_with(b"GET /missing ") { "404 Not Found" } else { "200 OK" };
            let body_out = match head.starts_with(b"GET /app/tx?transaction_id=2.") {
                true if last_write.elapsed() >= COMMIT_DELAY => "{\"status\":\"Committed\"}",
                true => "{\"status\":\"Pending\"}",
                false => ANSWER_BODY,
            };
            write!(
                outbox,
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: application/json\r\nx-ms-ccf-transaction-id: 2.17\r\n\r\n{body_out}",
                body_out.len()
            )
            .unwrap();
            start += head.len() + body;
        }
        inbox.drain(..start);
        if stream.write_all(&outbox).is_err() {
            return;
        }
        outbox.clear();
    }
}
