//! Requests that a backup hands to the primary, and those that this node executes for others (node specification,
//! section 14.3; consensus specification, section 12).

use crate::{
    http::{Outcome, parse_request, parse_response, request_bytes, response_bytes},
    node_view::RunningNode,
    peers::PeerNetwork,
    request_handler::Requests,
};
use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse, Version};
use ccf_endpoints::{
    ErrorCode, ErrorResponse, Method, Origin, Outcome as Dispatched, Request, Response, Session,
};
use ccf_types::{NodeId, View};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Forwarded requests of other nodes that may wait to be executed; what comes beyond times out at its sender.
const WAITING_MAX: usize = 4096;

/// How long the primary may take unless the interface says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// Requests on their way to the primary.
#[derive(Default)]
pub(crate) struct Forwarder {
    peers: OnceLock<PeerNetwork>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
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

    /// Hands a request to the primary; the future is its answer.
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

    /// A node has answered. Answers that nobody waits for any more, or not from that node, are dropped.
    pub(crate) fn answered(&self, from: &NodeId, response: ForwardedResponse) {
        let answered = {
            let mut waiting = self.waiting.lock();
            let is_asked = waiting.get(&response.id).is_some_and(|waiting| waiting.primary == *from);
            if is_asked { waiting.remove(&response.id) } else { None }
        };
        if let Some(waiting) = answered {
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

/// Executes what other nodes forward, on threads of its own.
#[derive(Clone)]
pub(crate) struct ForwardedWork(Sender<Job>);

type Job = Box<dyn FnOnce(&Executor) + Send>;

/// What executing needs.
struct Executor {
    requests: Arc<Requests>,
    node: Arc<RunningNode>,
    peers: PeerNetwork,
}

impl ForwardedWork {
    /// A queue for `threads` threads, which [`start`](ForwardedQueue::start) once the node can execute requests.
    pub(crate) fn new() -> (ForwardedWork, ForwardedQueue) {
        let (sender, receiver) = bounded(WAITING_MAX);
        (ForwardedWork(sender), ForwardedQueue(receiver))
    }

    /// A request that `from` forwarded.
    pub(crate) fn take(&self, from: &NodeId, request: ForwardedRequest) {
        let from = from.clone();
        let work = self.clone();
        let job: Job = Box::new(move |executor| executor.execute(&work, from, &request));
        if let Err(TrySendError::Full(_)) = self.0.try_send(job) {
            tracing::debug!("A forwarded request is dropped: too many wait");
        }
    }
}

/// The taking end.
pub(crate) struct ForwardedQueue(Receiver<Job>);

impl ForwardedQueue {
    /// Starts the threads. They end with the process.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        self,
        threads: usize,
        requests: &Arc<Requests>,
        node: &Arc<RunningNode>,
        peers: &PeerNetwork,
    ) -> io::Result<()> {
        for index in 0..threads.max(1) {
            let queue = self.0.clone();
            let executor =
                Executor { requests: Arc::clone(requests), node: Arc::clone(node), peers: peers.clone() };
            // Scripts need as much stack here as on the workers of clients.
            let thread = thread::Builder::new().name(format!("forwarded-{index}")).stack_size(4 << 20);
            thread.spawn(move || {
                while let Ok(job) = queue.recv() {
                    job(&executor);
                    executor.node.inbox.burst_done();
                }
            })?;
        }
        Ok(())
    }
}

impl Executor {
    fn execute(&self, work: &ForwardedWork, from: NodeId, forwarded: &ForwardedRequest) {
        let Ok(request) = parse_request(&forwarded.request) else {
            let response =
                ErrorResponse::invalid_input("The forwarded request cannot be read.").into_response();
            return self.answer(&from, forwarded, response, Method::Get, false);
        };
        let method = request.method();
        let mut session =
            Session::internal(forwarded.session, Origin::Forwarded, forwarded.caller_certificate.as_deref());
        if forwarded.active_view != View::UNKNOWN {
            session = session.begun_in(forwarded.active_view);
        }
        match self.requests.dispatch(&mut session, &request) {
            Dispatched::Respond(response) => self.answer(&from, forwarded, response, method, false),
            Dispatched::RespondAndClose(response) => self.answer(&from, forwarded, response, method, true),
            // Dispatch forwards nothing twice.
            Dispatched::Forward => {}
            Dispatched::Pending(pending) => {
                let (work, forwarded) = (work.clone(), forwarded.clone());
                self.requests.when_decided(pending, move |response| {
                    let job: Job = Box::new(move |executor: &Executor| {
                        if let Some(response) = response {
                            executor.answer(&from, &forwarded, response, method, false);
                        }
                    });
                    // A full queue costs the sender a timeout.
                    let _ = work.0.try_send(job);
                });
            }
        }
    }

    fn answer(&self, to: &NodeId, to_what: &ForwardedRequest, response: Response, method: Method, end: bool) {
        let answer = ForwardedResponse {
            version: to_what.version,
            id: to_what.id,
            terminate_session: end,
            session: to_what.session,
            response: response_bytes(&response, method),
        };
        // What is lost costs the sender a timeout.
        let _ = self.peers.send_forwarded_response(to, &answer);
    }
}
