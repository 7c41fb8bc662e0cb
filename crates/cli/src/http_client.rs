//! A small HTTPS client for talking to a service: one connection, one request at a time, HTTP/1.1 or HTTP/2.
//!
//! Blocking, because what uses it (sandbox, member commands, tests) is a sequence of steps. Answers are bounded.

use crate::tls::{self, TlsFiles, TlsSetupError};
use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// No request of these commands takes longer than this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP version that an interface speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// The name in a node's configuration (`app_protocol`).
    #[must_use]
    pub fn configuration_name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP1",
            Protocol::Http2 => "HTTP2",
        }
    }

    fn alpn(self) -> &'static str {
        match self {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A file or the address cannot be used.
    #[error(transparent)]
    Setup(#[from] TlsSetupError),
    /// The address is not `host:port`.
    #[error("'{0}' must be HOST:PORT, for example 127.0.0.1:8000")]
    Address(String),
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// What the operating system or TLS said.
        reason: io::Error,
    },
    /// The connection broke, or the other side does not speak HTTP.
    #[error("no answer from {address}: {reason}")]
    Http {
        /// Who did not answer.
        address: String,
        /// What hyper said.
        reason: hyper::Error,
    },
    /// Nothing came in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The body is larger than is read.
    #[error("the answer of {0} is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge(String),
    /// A path or header cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text; bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The transaction that the answer is about.
    #[must_use]
    pub fn tx_id(&self) -> Option<&str> {
        self.headers.get("x-ms-ccf-transaction-id")?.to_str().ok()
    }

    /// Status and the service's own words, for an error message.
    #[must_use]
    pub fn refusal(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => {
                let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
                let reasons = details.iter().filter_map(|detail| detail["message"].as_str());
                let reasons: String = reasons.map(|reason| format!("\n  {reason}")).collect();
                format!("{} {code}: {message}{reasons}", self.status.as_u16())
            }
            _ => format!("{} {}", self.status, self.text()).trim_end().to_owned(),
        }
    }
}

/// A client of one address.
pub struct HttpClient {
    runtime: Runtime,
    address: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    protocol: Protocol,
    connection: Option<Connection>,
    patience: Duration,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl HttpClient {
    /// A client of `address` (`host:port`, an `https://` in front is allowed). Connects at the first request.
    ///
    /// # Errors
    /// [`ClientError::Setup`] and [`ClientError::Address`].
    pub fn new(address: &str, files: &TlsFiles, protocol: Protocol) -> Result<Self, ClientError> {
        let address = address.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let host = match address.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            _ => return Err(ClientError::Address(address)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|reason| ClientError::Connect { address: address.clone(), reason })?;
        Ok(HttpClient {
            name: tls::server_name(host)?,
            tls: tls::client_config(files, &[protocol.alpn()])?,
            runtime,
            address,
            protocol,
            connection: None,
            patience: REQUEST_TIMEOUT,
        })
    }

    /// Waits so long for each answer from now on, instead of a minute.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where this client connects to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer; a refusal is an answer.
    pub fn get(&mut self, path: &str) -> Result<Reply, ClientError> {
        self.send("GET", path, None, Bytes::new())
    }

    /// `POST path` with a body.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer; a refusal is an answer.
    pub fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, ClientError> {
        self.send("POST", path, Some(content_type), body.into())
    }

    /// Any request.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer; a refusal is an answer.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let content_type = content_type.map(|value| (CONTENT_TYPE.as_str(), value));
        self.send_with(method, path, content_type.as_slice(), body)
    }

    /// Any request with any headers, as (name, value).
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer; a refusal is an answer.
    pub fn send_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let target = match self.protocol {
            Protocol::Http1 => path.to_owned(),
            Protocol::Http2 => format!("https://{}{path}", self.address),
        };
        let mut request = Request::builder().method(method).uri(target);
        if self.protocol == Protocol::Http1 {
            request = request.header("host", &self.address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body))?;
        let connection = self.connection.take();
        let exchange = exchange(connection, &self.address, &self.name, &self.tls, self.protocol, request);
        let (connection, reply) = self.runtime.block_on(async {
            timeout(self.patience, exchange).await.map_err(|_| ClientError::Timeout(self.address.clone()))?
        })?;
        self.connection = Some(connection);
        Ok(reply)
    }
}

async fn exchange(
    connection: Option<Connection>,
    address: &str,
    name: &ServerName<'static>,
    tls: &Arc<ClientConfig>,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
) -> Result<(Connection, Reply), ClientError> {
    let broken = |reason| ClientError::Http { address: address.to_owned(), reason };
    let mut reusable = connection;
    if let Some(connection) = &mut reusable
        && !connection.is_ready().await
    {
        reusable = None;
    }
    let mut connection = match reusable {
        Some(connection) => connection,
        None => connect(address, name, tls, protocol).await?,
    };
    let response = match &mut connection {
        Connection::Http1(sender) => sender.send_request(request).await.map_err(broken)?,
        Connection::Http2(sender) => sender.send_request(request).await.map_err(broken)?,
    };
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| {
        match e.is::<LengthLimitError>() {
            true => ClientError::TooLarge(address.to_owned()),
            false => ClientError::Connect { address: address.to_owned(), reason: io::Error::other(e) },
        }
    })?;
    Ok((connection, Reply { status: head.status, headers: head.headers, body: body.to_bytes() }))
}

async fn connect(
    address: &str,
    name: &ServerName<'static>,
    tls: &Arc<ClientConfig>,
    protocol: Protocol,
) -> Result<Connection, ClientError> {
    let refused = |reason| ClientError::Connect { address: address.to_owned(), reason };
    let broken = |reason| ClientError::Http { address: address.to_owned(), reason };
    let secured = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name.clone(), socket).await
    };
    let stream = timeout(CONNECT_TIMEOUT, secured)
        .await
        .map_err(|_| ClientError::Timeout(address.to_owned()))?
        .map_err(refused)?;
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let (sender, driver) = http1::handshake(io).await.map_err(broken)?;
            tokio::spawn(driver);
            Ok(Connection::Http1(sender))
        }
        Protocol::Http2 => {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
            tokio::spawn(driver);
            Ok(Connection::Http2(sender))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for address in ["localhost", "127.0.0.1:port", "", "https://127.0.0.1/"] {
            let result = HttpClient::new(address, &TlsFiles::default(), Protocol::Http1);
            assert!(matches!(result, Err(ClientError::Address(_))), "{address}");
        }
        let client = HttpClient::new("https://[::1]:8000/", &TlsFiles::default(), Protocol::Http2).unwrap();
        assert_eq!(client.address(), "[::1]:8000");
    }

    #[test]
    fn a_refusal_is_told_in_the_services_words() {
        let reply = |status: u16, body: &'static str| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let odata = r#"{"error":{"code":"InvalidAuthenticationInfo","message":"No.","details":[{"message":"who?"}]}}"#;
        assert_eq!(reply(401, odata).refusal(), "401 InvalidAuthenticationInfo: No.\n  who?");
        assert_eq!(reply(503, "").refusal(), "503 Service Unavailable");
    }
}
