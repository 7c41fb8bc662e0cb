//! What an operator can set about serving clients (node specification, sections 3.2, 3.3 and 14).

use std::time::Duration;

/// Settings common to all interfaces.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Number of worker threads, at least 1.
    pub workers: usize,
    /// Sessions without traffic for longer than this are closed; `None`: never.
    pub idle_timeout: Option<Duration>,
}

impl Default for ServerSettings {
    /// One worker per available core, at most [`ServerSettings::WORKERS_MAX`]; idle after 60 s.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        ServerSettings {
            workers: cores.min(ServerSettings::WORKERS_MAX),
            idle_timeout: Some(Duration::from_secs(60)),
        }
    }
}

impl ServerSettings {
    /// The most worker threads a node runs (node specification, section 3.2, `worker_threads`).
    pub const WORKERS_MAX: usize = 23;
}

/// Settings of one interface.
#[derive(Clone, Debug)]
pub struct InterfaceSettings {
    /// Name in the configuration.
    pub name: String,
    /// HTTP version served.
    pub protocol: AppProtocol,
    /// Whose certificate is presented.
    pub authority: Authority,
    /// From this many open sessions on, a new one is answered 503 and closed.
    pub max_open_sessions_soft: usize,
    /// From this many open sessions on, a new connection is closed at once.
    pub max_open_sessions_hard: usize,
    /// Largest request body.
    pub max_body_size: SizeLimit,
    /// Largest header name and largest header value.
    pub max_header_size: SizeLimit,
    /// Most headers of a request.
    pub max_headers_count: usize,
    /// HTTP/2: most concurrent streams of a session.
    pub max_concurrent_streams_count: u32,
    /// HTTP/2: initial flow control window of a stream, bytes.
    pub initial_window_size: u32,
    /// HTTP/2: largest frame accepted, bytes.
    pub max_frame_size: u32,
}

impl InterfaceSettings {
    /// The default limits for an interface of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> InterfaceSettings {
        InterfaceSettings {
            name: name.into(),
            protocol: AppProtocol::Http1,
            authority: Authority::Service,
            max_open_sessions_soft: 1000,
            max_open_sessions_hard: 1010,
            max_body_size: SizeLimit::new(1 << 20, "1MB"),
            max_header_size: SizeLimit::new(16 << 10, "16KB"),
            max_headers_count: 256,
            max_concurrent_streams_count: 100,
            initial_window_size: 64 << 10,
            max_frame_size: 16 << 10,
        }
    }
}

/// A size in bytes with the text that stood in the configuration, which refusals quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeLimit {
    /// Bytes; exactly this many are accepted.
    pub bytes: usize,
    /// As configured, e.g. `1MB`.
    pub text: String,
}

impl SizeLimit {
    /// A limit and its text.
    #[must_use]
    pub fn new(bytes: usize, text: impl Into<String>) -> SizeLimit {
        SizeLimit { bytes, text: text.into() }
    }
}

/// HTTP version of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Who vouches for the node on an interface (node specification, section 14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The node's self-signed certificate.
    Node,
    /// The certificate endorsed by the service.
    Service,
    /// Nobody: plain HTTP.
    Unsecured,
    /// Accepted in configurations, never gets a certificate, so every connection is closed.
    Acme,
}
