//! GET requests to nodes of a service, over connections that are kept. Certificate and host name are checked.

use super::answer::{Answer, Place};
use crate::http::tls_provider;
use bytes::Bytes;
use ccf_crypto::cert::Certificate;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request,
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{fmt::Display, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest time for one part: four mebibytes at some hundred kilobytes a second.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The largest answer taken: a part, or an error in words.
const ANSWER_BYTES_MAX: usize = 5 << 20;

pub(super) struct PeerClient {
    tls: TlsConnector,
    /// The last connection, and where it leads.
    connection: Option<(String, Connection)>,
}

enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl PeerClient {
    /// A client that believes nodes of this service.
    pub(super) fn new(service: &Certificate) -> Result<PeerClient, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(service.der().to_vec())).map_err(|e| e.to_string())?;
        let mut config = ClientConfig::builder_with_provider(tls_provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        Ok(PeerClient { tls: TlsConnector::from(Arc::new(config)), connection: None })
    }

    /// Asks for what is there, or for bytes `range.0` to `range.1`, inclusive, of it.
    pub(super) async fn get(&mut self, place: &Place, range: Option<(u64, u64)>) -> Result<Answer, String> {
        match tokio::time::timeout(REQUEST_TIME_MAX, self.exchange(place, range)).await {
            Ok(result) => result.map_err(|reason| format!("{}: {reason}", place.address)),
            Err(_) => {
                self.connection = None;
                let seconds = REQUEST_TIME_MAX.as_secs();
                Err(format!("{}: no answer within {seconds} s", place.address))
            }
        }
    }

    async fn exchange(&mut self, place: &Place, range: Option<(u64, u64)>) -> Result<Answer, String> {
        let text = |error: &dyn Display| error.to_string();
        let kept = self.connection.take().filter(|(address, _)| *address == place.address);
        let mut connection = match kept {
            Some((_, mut kept)) => match kept.is_ready().await {
                true => kept,
                false => self.connect(&place.address).await?,
            },
            None => self.connect(&place.address).await?,
        };
        let request = Request::get(match &connection {
            Connection::Http1(_) => place.path.clone(),
            Connection::Http2(_) => format!("https://{}{}", place.address, place.path),
        });
        let request = match &connection {
            Connection::Http1(_) => request.header(header::HOST, &place.address),
            Connection::Http2(_) => request,
        };
        let request = match range {
            Some((from, to)) => request.header(header::RANGE, format!("bytes={from}-{to}")),
            None => request,
        };
        let request = request.body(Empty::new()).map_err(|e| text(&e))?;
        let response = match &mut connection {
            Connection::Http1(sender) => sender.send_request(request).await,
            Connection::Http2(sender) => sender.send_request(request).await,
        };
        let (head, body) = response.map_err(|e| text(&e))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| text(&e))?;
        self.connection = Some((place.address.clone(), connection));
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }

    async fn connect(&self, address: &str) -> Result<Connection, String> {
        let text = |error: &dyn Display| error.to_string();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|e| text(&e))?;
        let socket = TcpStream::connect(address).await.map_err(|e| text(&e))?;
        socket.set_nodelay(true).map_err(|e| text(&e))?;
        let stream = self.tls.connect(name, socket).await.map_err(|e| text(&e))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        // Drivers end with their connections.
        if is_http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(|e| text(&e))?;
            tokio::spawn(driver);
            Ok(Connection::Http2(sender))
        } else {
            let (sender, driver) = http1::handshake(io).await.map_err(|e| text(&e))?;
            tokio::spawn(driver);
            Ok(Connection::Http1(sender))
        }
    }
}

impl Connection {
    /// Whether the other side has kept it open since the last request.
    async fn is_ready(&mut self) -> bool {
        match self {
            Connection::Http1(sender) => sender.ready().await.is_ok(),
            Connection::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}
