//! The border to the node: who connected, what to answer.

use bytes::Bytes;
use ccf_endpoints::{Request, Response};
use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

/// Executes requests. One handler serves all workers; what belongs to one client lives in its `Session`.
pub trait RequestHandler: Send + Sync + 'static {
    /// State of one session. It never leaves the worker thread it was opened on.
    type Session: 'static;

    /// A client finished its handshake. Not called for connections refused by a session cap.
    fn open_session(&self, connection: &ConnectionInfo) -> Self::Session;

    /// Executes one request. Requests of one HTTP/1.1 session come strictly one after the other: the next one
    /// is not executed before a pending outcome is known. On HTTP/2 a pending outcome does not hold up the
    /// session's other requests.
    ///
    /// This runs on the worker: it must not block.
    fn handle(&self, session: &mut Self::Session, request: Request) -> Outcome;

    /// Asked before each request: a future if the node has too much work in hand to take the request at this moment. The
    /// session reads nothing more until it ends, and then has the request executed whether or not that has changed.
    fn wait_for_room(&self, request: &Request) -> Option<Room> {
        let _ = request;
        None
    }

    /// Called after each burst of requests that were buffered together, before their answers are sent, and
    /// before waiting for a pending outcome: the place to wake other threads once per burst.
    fn batch_done(&self) {}

    /// Called on the worker once its sessions that had something to do have done it, if some of them wait for a pending
    /// outcome: the place to send what they gathered for other nodes.
    fn turn_done(&self) {}
}

/// What becomes of a request.
pub enum Outcome {
    /// Send this answer.
    Respond(Response),
    /// Send this answer, then close the session.
    RespondAndClose(Response),
    /// Close the session without an answer.
    Close,
    /// The answer is not known yet: another node or the global commit decides.
    Pending(PendingOutcome),
}

/// A future of the outcome. It is polled on the worker only; whatever completes it may live elsewhere.
pub type PendingOutcome = Pin<Box<dyn Future<Output = Outcome> + 'static>>;

/// Ends when a request may be executed.
pub type Room = Pin<Box<dyn Future<Output = ()> + 'static>>;

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Respond(response) => f.debug_tuple("Respond").field(response).finish(),
            Outcome::RespondAndClose(response) => f.debug_tuple("RespondAndClose").field(response).finish(),
            Outcome::Close => f.write_str("Close"),
            Outcome::Pending(_) => f.write_str("Pending"),
        }
    }
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Outcome::Respond(response)
    }
}

/// The protocol a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1 (and 1.0).
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is known of a client once its handshake is over.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Unique in this process, from 1.
    pub session_id: u64,
    /// Name of the interface that accepted the connection.
    pub interface: Arc<str>,
    /// The protocol spoken on it.
    pub http_version: HttpVersion,
    /// The client's address.
    pub peer_address: SocketAddr,
    /// The client's certificate in DER. It is well-formed and the client has proved possession of its
    /// key; nothing else about it has been checked (cryptography specification, section 5).
    pub peer_certificate: Option<Bytes>,
    /// Certificates the client sent beside its own, in DER, as sent and wholly unchecked.
    pub peer_chain: Vec<Bytes>,
    /// Index of the worker thread that owns the session, from 0.
    pub worker: usize,
}
