//! Clients' side of a node: TLS, HTTP/1.1, HTTP/2, sessions and the worker threads that own them (node
//! specification, section 14).
//!
//! A [`Server`] accepts connections on the node's interfaces and hands each to one worker thread, which owns
//! it until it closes: decryption, parsing, execution, answer. A worker is a single-threaded runtime, so
//! that the order of a session's requests is the order of their execution and no lock or thread change lies
//! between a request and its answer. What requests mean is the [`RequestHandler`]'s business; nothing here
//! knows an endpoint, a transaction or a certificate's owner.
//!
//! Pipelined requests are executed back to back and answered with one write, see [`h1`].

mod acceptor;
mod connection;
mod h1;
mod h2;
mod handler;
mod limits;
mod metrics;
mod serve;
mod server;
mod session;
mod settings;
mod tls;
mod worker;

pub(crate) use h1::{parse_request, parse_response, request_bytes, response_bytes};
pub use handler::{ConnectionInfo, HttpVersion, Outcome, PendingOutcome, RequestHandler, Room};
pub use metrics::{InterfaceMetrics, SessionMetrics};
pub use server::{BindError, Interface, Server, StartError};
pub use settings::{AppProtocol, Authority, InterfaceSettings, ServerSettings, SizeLimit};
pub(crate) use tls::provider as tls_provider;
pub use tls::{TlsIdentity, TlsIdentityError};

/// Entrances for fuzz targets and benches; no part of the API.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::h1::fuzzing::*;
}
