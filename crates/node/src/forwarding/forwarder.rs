//! The sending end: requests on their way to the primary, and who waits for the answers.

use crate::{
    http::{Outcome, parse_response, request_bytes},
    peers::PeerNetwork,
};
use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse, Version};
use ccf_endpoints::{ErrorCode, ErrorResponse, Request, Response, Session};
use ccf_types::{NodeId, View};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Requests on their way to the primary.
#[derive(Default)]
pub(crate) struct Forwarder {
    peers: OnceLock<PeerNetwork>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// Answers that arrived in the present burst.
    arrived: Mutex<Vec<(Waiting, ForwardedResponse)>>,
}

/// Who is to execute a request, and in which view.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The primary, if it is known.
    pub(crate) primary: Option<&'a NodeId>,
    /// The view it leads.
    pub(crate) view: View,
}

/// A request without an answer yet.
struct Waiting {
    primary: NodeId,
    view: View,
    tell: oneshot::Sender<Result<ForwardedResponse, Lost>>,
}

/// Why there will be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The request never left.
    NotSent,
    /// It may have been executed: the connection ended.
    Connection,
    /// It may have been executed: that primary leads no more.
    View,
}

const NO_CHANNEL: &str = "Unable to establish channel to forward to primary.";

impl Forwarder {
    /// The way to the other nodes; given once.
    pub(crate) fn connect(&self, peers: PeerNetwork) {
        // Given once, at the start.
        let _ = self.peers.set(peers);
    }

    /// Hands a request to the primary, at the latest at the next [`flush`](Self::flush); the future is its answer.
    pub(crate) fn forward(
        self: &Arc<Self>,
        to: Destination<'_>,
        session: &Session,
        active_view: View,
        request: &Request,
        patience: Duration,
    ) -> impl Future<Output = Outcome> + 'static {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = self.send(id, to, session, active_view, request);
        let forwarder = Arc::clone(self);
        async move {
            let (primary, answer) = match sent {
                Ok(sent) => sent,
                Err(reason) => return unavailable(reason),
            };
            let answered = timeout(patience, answer).await;
            match answered {
                Ok(Ok(Ok(answer))) => match parse_response(&answer.response) {
                    Ok(response) if answer.terminate_session => Outcome::RespondAndClose(response),
                    Ok(response) => Outcome::Respond(response),
                    Err(error) => unavailable(&format!("The primary's answer cannot be read: {error}.")),
                },
                Ok(Ok(Err(Lost::NotSent))) => unavailable(NO_CHANNEL),
                Ok(Ok(Err(Lost::View))) => unanswered(&primary, "before another view began"),
                Ok(Ok(Err(Lost::Connection)) | Err(_)) => {
                    unanswered(&primary, "before the connection to it was lost")
                }
                Err(_) => {
                    forwarder.waiting.lock().remove(&id);
                    unanswered(&primary, &format!("after {}ms", patience.as_millis()))
                }
            }
        }
    }

    fn send(
        &self,
        id: u64,
        to: Destination<'_>,
        session: &Session,
        active_view: View,
        request: &Request,
    ) -> Result<(NodeId, oneshot::Receiver<Result<ForwardedResponse, Lost>>), &'static str> {
        let primary = to.primary.ok_or("RPC could not be forwarded to unknown primary.")?;
        let peers = self.peers.get().ok_or(NO_CHANNEL)?;
        let (tell, told) = oneshot::channel();
        self.waiting.lock().insert(id, Waiting { primary: primary.clone(), view: to.view, tell });
        let forwarded = ForwardedRequest {
            version: Version::V3,
            id,
            active_view,
            session: session.id(),
            caller_certificate: session.certificate().map(|it| Bytes::copy_from_slice(it.der())),
            request: request_bytes(request),
        };
        if peers.send_forwarded_request(primary, &forwarded).is_err() {
            self.waiting.lock().remove(&id);
            return Err(NO_CHANNEL);
        }
        Ok((primary.clone(), told))
    }

    /// Sends what was handed over.
    pub(crate) fn flush(&self) {
        if let Some(peers) = self.peers.get() {
            peers.flush();
        }
    }

    /// A node has answered; [`deliver`](Self::deliver) passes it on. Answers that nobody waits for any more, or not from
    /// that node, are dropped.
    pub(crate) fn answered(&self, from: &NodeId, response: ForwardedResponse) {
        let mut waiting = self.waiting.lock();
        let is_asked = waiting.get(&response.id).is_some_and(|waiting| waiting.primary == *from);
        let asked = if is_asked { waiting.remove(&response.id) } else { None };
        drop(waiting);
        if let Some(waiting) = asked {
            self.arrived.lock().push((waiting, response));
        }
    }

    /// Wakes those whose answers have arrived: a worker finds all of a burst at once.
    pub(crate) fn deliver(&self) {
        let arrived = std::mem::take(&mut *self.arrived.lock());
        for (waiting, response) in arrived {
            // The client may have gone.
            let _ = waiting.tell.send(Ok(response));
        }
    }

    /// The connection to a node has ended, or could not be `established`.
    pub(crate) fn disconnected(&self, from: &NodeId, established: bool) {
        let lost = if established { Lost::Connection } else { Lost::NotSent };
        self.give_up(lost, |waiting| waiting.primary == *from);
    }

    /// Primaries of earlier views lead no more.
    pub(crate) fn view_began(&self, view: View) {
        self.give_up(Lost::View, |waiting| waiting.view < view);
    }

    fn give_up(&self, lost: Lost, mut which: impl FnMut(&Waiting) -> bool) {
        let given_up: Vec<_> = self.waiting.lock().extract_if(|_, waiting| which(waiting)).collect();
        for (_, waiting) in given_up {
            // The client may have gone.
            let _ = waiting.tell.send(Err(lost));
        }
    }
}

fn unavailable(reason: &str) -> Outcome {
    Outcome::Respond(ErrorResponse::with_status(503, ErrorCode::InternalError, reason).into_response())
}

/// The primary may have executed the request, or may not (node specification, section 14.3).
fn unanswered(primary: &NodeId, until: &str) -> Outcome {
    let text = format!("Request was forwarded to node {primary}, but no response was received {until}");
    Outcome::Respond(Response::with_body(504, "text/plain", text))
}
