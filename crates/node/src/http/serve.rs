//! The life of an HTTP/1.1 session.
//!
//! All complete requests that have been received are executed one after the other, their answers gathered in one
//! buffer, and sent together when no further complete request is there.

use super::{
    connection::{Connection, ConnectionError, Fill},
    h1::{self, Decoder, RequestError},
    handler::{ConnectionInfo, HttpVersion, Outcome, RequestHandler},
    limits::{BURST_ANSWER_BYTES_MAX, BURST_REQUESTS_MAX, IDLE_BUFFER_BYTES_MAX, LONG_BODY_PIECE_BYTES},
    metrics::{self, InterfaceCounters},
    session::{Phase, SessionControl, Stop},
    tls::PeerCertificates,
    worker::WorkerContext,
};
use crate::http::server::InterfaceState;
use ccf_endpoints::{ErrorCode, ErrorResponse, LongBody, Method, Response};
use std::{net::SocketAddr, rc::Rc, sync::Arc};
use tokio::net::TcpStream;

/// A session before its handshake.
pub(crate) struct NewSession<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) interface: Arc<InterfaceState>,
    pub(crate) worker: Rc<WorkerContext>,
    pub(crate) control: Rc<SessionControl>,
    pub(crate) peer_address: SocketAddr,
    /// The interface has more sessions than its soft cap: the first request is refused.
    pub(crate) refused: bool,
}

impl<H: RequestHandler> NewSession<H> {
    pub(crate) fn info(&self, version: HttpVersion, peer: PeerCertificates) -> ConnectionInfo {
        ConnectionInfo {
            session_id: self.control.id,
            interface: self.interface.name.clone(),
            http_version: version,
            peer_address: self.peer_address,
            peer_certificate: peer.leaf,
            peer_chain: peer.chain,
            worker: self.worker.index,
        }
    }
}

/// The answer to the first request of a session over the soft cap (node specification, section 14.5).
pub(crate) fn session_cap_response() -> Response {
    ErrorResponse::new(
        ErrorCode::SessionCapExhausted,
        "Service is currently busy and unable to serve new connections",
    )
    .into_response()
}

/// Counts a refused request.
pub(crate) fn count_refusal(counters: &InterfaceCounters, error: &RequestError) {
    metrics::count(match error {
        RequestError::Malformed { .. } => &counters.parsing,
        RequestError::BodyTooLarge => &counters.payload_too_large,
        RequestError::NameTooLarge { .. }
        | RequestError::ValueTooLarge { .. }
        | RequestError::TooManyHeaders
        | RequestError::HeadTooLarge { .. } => &counters.header_too_large,
    });
}

/// How a session goes on after a burst.
enum Next {
    /// More bytes are needed.
    Read,
    /// More requests are there, but others should have their turn.
    Yield,
    /// Nothing more will be answered.
    Close,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<H: RequestHandler>(
    new: NewSession<H>,
    socket: TcpStream,
    tls: Option<Arc<super::tls::Configurations>>,
) -> Result<(), ConnectionError> {
    let mut connection = Connection::new(socket, tls, new.control.clone(), new.worker.scratch.clone());
    let mut decoder = Decoder::new(new.interface.limits.clone());
    let peer = match connection.handshake(decoder.buffer_mut()).await {
        Ok(peer) => peer,
        Err(error) => {
            // The alert has been sent; let the client read it.
            connection.close(true).await;
            return Err(error);
        }
    };
    let control = new.control.clone();
    control.set_midway(None);
    let mut session = Session {
        state: (!new.refused).then(|| new.handler.open_session(&new.info(HttpVersion::Http1, peer))),
        new,
        connection,
        decoder,
        answers: Vec::new(),
    };
    let result = session.run().await;
    let linger = result.is_ok();
    session.connection.close(linger).await;
    result
}

struct Session<H: RequestHandler> {
    new: NewSession<H>,
    connection: Connection,
    decoder: Decoder,
    /// Answers not sent yet.
    answers: Vec<u8>,
    /// The handler's state; `None` if the session is refused.
    state: Option<H::Session>,
}

impl<H: RequestHandler> Session<H> {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        let control = self.new.control.clone();
        loop {
            let next = self.burst().await?;
            self.send_answers().await?;
            match next {
                Next::Close => return Ok(()),
                Next::Yield => tokio::task::yield_now().await,
                Next::Read => {
                    self.decoder.shrink(IDLE_BUFFER_BYTES_MAX);
                    let midway = self.decoder.is_midway().then(|| self.decoder.held_bytes());
                    control.set_midway(midway);
                    control.enter(Phase::Waiting);
                    if self.connection.fill(self.decoder.buffer_mut()).await? != Fill::Some {
                        return Ok(());
                    }
                }
            }
            if control.stop() == Some(Stop::TimedOut) {
                return Err(ConnectionError::TimedOut);
            }
        }
    }

    /// Executes the requests that are complete.
    async fn burst(&mut self) -> Result<Next, ConnectionError> {
        for executed in 0..BURST_REQUESTS_MAX {
            let decoded = match self.decoder.next() {
                Ok(Some(decoded)) => decoded,
                Ok(None) => {
                    if self.decoder.take_expects_continue() {
                        self.answers.extend_from_slice(h1::CONTINUE);
                    }
                    if executed > 0 {
                        self.new.handler.batch_done();
                    }
                    return Ok(Next::Read);
                }
                Err(error) => {
                    count_refusal(&self.new.interface.counters, &error);
                    h1::encode(&mut self.answers, &self.new.interface.limits.response(&error), false);
                    self.new.handler.batch_done();
                    return Ok(Next::Close);
                }
            };
            let is_head = decoded.request.method() == Method::Head;
            if self.state.is_none() {
                h1::encode(&mut self.answers, &session_cap_response(), is_head);
                return Ok(Next::Close);
            }
            if let Some(room) = self.new.handler.wait_for_room(&decoded.request) {
                self.new.handler.batch_done();
                self.send_answers().await?;
                self.new.control.enter(Phase::Executing);
                room.await;
                self.new.control.enter(Phase::Waiting);
            }
            let Some(state) = &mut self.state else { return Ok(Next::Close) };
            let mut outcome = self.new.handler.handle(state, decoded.request);
            while let Outcome::Pending(pending) = outcome {
                // Others may have to act before this one can complete, and earlier answers need not wait.
                self.new.handler.batch_done();
                self.new.control.enter(Phase::Executing);
                self.new.worker.waits();
                self.send_answers().await?;
                self.new.control.enter(Phase::Executing);
                outcome = pending.await;
                self.new.control.enter(Phase::Waiting);
            }
            let (answer, close) = match outcome {
                Outcome::Respond(response) => (Some(response), decoded.close),
                Outcome::RespondAndClose(response) => (Some(response), true),
                Outcome::Close | Outcome::Pending(_) => (None, true),
            };
            if let Some(response) = &answer {
                h1::encode(&mut self.answers, response, is_head);
            }
            let sent = answer.filter(|answer| !is_head && answer.body_bytes() > 0);
            if let Some(body) = sent.and_then(|answer| answer.long_body) {
                self.new.handler.batch_done();
                self.send_long(&body).await?;
            }
            if close {
                self.new.handler.batch_done();
                return Ok(Next::Close);
            }
            if self.answers.len() >= BURST_ANSWER_BYTES_MAX {
                break;
            }
        }
        self.new.handler.batch_done();
        Ok(Next::Yield)
    }

    /// Sends a body piece by piece, others having their turns between two of them. If it breaks off, so does the session:
    /// the client, who knows the length, sees it.
    async fn send_long(&mut self, body: &LongBody) -> Result<(), ConnectionError> {
        self.send_answers().await?;
        let mut sent = 0;
        loop {
            let piece = body.piece(sent, LONG_BODY_PIECE_BYTES)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.new.control.enter(Phase::Waiting);
            self.connection.send(&piece).await?;
            sent += piece.len() as u64;
            tokio::task::yield_now().await;
            if self.new.control.stop() == Some(Stop::TimedOut) {
                return Err(ConnectionError::TimedOut);
            }
        }
    }

    async fn send_answers(&mut self) -> Result<(), ConnectionError> {
        if self.answers.is_empty() {
            return Ok(());
        }
        self.new.control.enter(Phase::Waiting);
        self.connection.send(&self.answers).await?;
        self.new.worker.attention.worked();
        self.answers.clear();
        if self.answers.capacity() > IDLE_BUFFER_BYTES_MAX {
            self.answers = Vec::new();
        }
        Ok(())
    }
}
