//! HTTP/2, with hyper's client.

use crate::support::*;
use bytes::Bytes;
use ccf_node::http::{AppProtocol, Authority, HttpVersion, SizeLimit};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(crate) fn h2(interface: &mut ccf_node::http::InterfaceSettings) {
    interface.protocol = AppProtocol::Http2;
    interface.max_body_size = SizeLimit::new(2048, "2KB");
    interface.max_header_size = SizeLimit::new(1024, "1KB");
    interface.max_headers_count = 20;
}

pub(crate) async fn connect(address: SocketAddr, secure: bool) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(address).await.unwrap();
    if secure {
        let hello = Hello { alpn: vec![b"h2".to_vec()], ..Hello::default() };
        let connector = tokio_rustls::TlsConnector::from(Arc::new(hello.config()));
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        greet(TokioIo::new(stream)).await
    } else {
        greet(TokioIo::new(socket)).await
    }
}

async fn greet(
    io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn post(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::post(format!("https://h.example{path}")).body(Full::new(Bytes::from(body))).unwrap()
}

pub(crate) async fn ask2(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> (u16, String) {
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().get("date").is_none());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn requests_are_answered_and_show_their_pseudo_headers() {
    for secure in [true, false] {
        let running = start(|interface, _| {
            h2(interface);
            if !secure {
                interface.authority = Authority::Unsecured;
            }
        });
        run(async {
            let mut sender = connect(running.address, secure).await;
            assert_eq!(
                ask2(&mut sender, post("/a?b=1", b"hi".to_vec())).await,
                (200, "POST /a?b=1\nhi".into())
            );
            let mut request = post("/headers", Vec::new());
            request.headers_mut().insert("x-y", "z".parse().unwrap());
            let (_, text) = ask2(&mut sender, request).await;
            for line in [":authority=h.example", ":method=POST", ":path=/headers", ":scheme=https", "x-y=z"] {
                assert!(text.lines().any(|l| l == line), "{line} in {text}");
            }
            assert!(!text.contains("\nhost="));
        });
        assert_eq!(versions(&running.echo), vec![HttpVersion::Http2]);
    }
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let running = start(|interface, _| h2(interface));
    run(async {
        let mut sender = connect(running.address, true).await;
        let mut other = sender.clone();
        let slow = tokio::spawn(async move { ask2(&mut other, post("/wait", Vec::new())).await });
        tokio::task::yield_now().await;
        for _ in 0..20 {
            assert_eq!(ask2(&mut sender, post("/fast", Vec::new())).await.0, 200);
        }
        assert!(!slow.is_finished());
        running.echo.release(1);
        assert_eq!(slow.await.unwrap(), (200, "POST /wait\n".into()));
    });
}

/// A stream that keeps what comes in.
struct Recorded {
    stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.received.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        result
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The types of the frames in `bytes` (RFC 9113, section 4.1).
fn frame_types(bytes: &[u8]) -> Vec<u8> {
    let (mut types, mut rest) = (Vec::new(), bytes);
    while let [a, b, c, kind, ..] = rest {
        types.push(*kind);
        rest = rest.get(9 + u32::from_be_bytes([0, *a, *b, *c]) as usize..).unwrap_or_default();
    }
    types
}

/// A refusal is answered like any request; only then the session says that it ends. Clients drop what comes for a
/// stream after the word that the connection ends.
#[test]
fn refusals_are_answered_before_the_session_ends() {
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let mut long = post("/a", Vec::new());
    long.headers_mut().insert("x", "v".repeat(1025).parse().unwrap());
    for (request, expected) in [(post("/a", vec![b'b'; 300_000]), 413), (long, 431)] {
        let running = start(|interface, _| {
            h2(interface);
            interface.authority = Authority::Unsecured;
        });
        run(async {
            let received = Arc::new(Mutex::new(Vec::new()));
            let stream = TcpStream::connect(running.address).await.unwrap();
            let mut sender = greet(TokioIo::new(Recorded { stream, received: received.clone() })).await;
            assert_eq!(ask2(&mut sender, request).await.0, expected);
            while sender.ready().await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let types = frame_types(&received.lock().unwrap());
            let first = |kind| types.iter().position(|found| *found == kind);
            assert!(first(HEADERS).is_some() && first(GOAWAY).is_some(), "{types:?}");
            assert!(first(HEADERS) < first(GOAWAY), "{types:?}");
        });
    }
}

#[test]
fn the_limits_are_those_of_http1() {
    let running = start(|interface, _| h2(interface));
    let with_headers = |names: &mut dyn Iterator<Item = (String, usize)>| {
        let mut request = post("/a", Vec::new());
        for (name, length) in names {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, "v".repeat(length).parse().unwrap());
        }
        request
    };
    run(async {
        let mut sender = connect(running.address, true).await;
        assert_eq!(ask2(&mut sender, post("/a", vec![b'b'; 2048])).await.0, 200);
        for (request, status, text) in [
            (post("/a", vec![b'b'; 2049]), 413, "HTTP request body is too large (max size allowed: 2KB)"),
            (
                with_headers(&mut [("x".to_owned(), 1025)].into_iter()),
                431,
                "Header value for 'x' is too large (max size allowed: 1KB)",
            ),
            (
                with_headers(&mut (0..21).map(|i| (format!("h{i}"), 1))),
                431,
                "Too many headers (max number allowed: 20)",
            ),
        ] {
            let mut sender = connect(running.address, true).await;
            let (got, body) = ask2(&mut sender, request).await;
            assert_eq!(got, status);
            assert!(body.contains(text), "{body}");
            // The session ends after a refusal.
            while sender.ready().await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    });
    let metrics = running.server.metrics();
    let main = &metrics.interfaces[0];
    assert_eq!((main.errors_request_payload_too_large, main.errors_request_header_too_large), (1, 2));
}

#[test]
fn stopping_ends_http2_sessions() {
    let running = start(|interface, _| h2(interface));
    run(async {
        let mut sender = connect(running.address, true).await;
        ask2(&mut sender, post("/a", Vec::new())).await;
        let server = running.server;
        let stop = tokio::task::spawn_blocking(move || {
            let start = std::time::Instant::now();
            server.stop(std::time::Duration::from_secs(10));
            start.elapsed()
        });
        assert!(stop.await.unwrap() < std::time::Duration::from_secs(8));
        assert!(sender.ready().await.is_err());
    });
}
