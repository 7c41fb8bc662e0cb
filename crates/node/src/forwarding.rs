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
    waiting: Mutex<HashMap<u64, oneshot::Sender<ForwardedResponse>>>,
}

impl Forwarder {
    /// The way to the other nodes; given once.
    pub(crate) fn connect(&self, peers: PeerNetwork) {
        // Given once, at the start.
        let _ = self.peers.set(peers);
    }

    /// Hands a request to the primary; the future is its answer.
    pub(crate) fn forward(
        self: &Arc<Self>,
        primary: Option<&NodeId>,
        session: &Session,
        active_view: View,
        request: &Request,
        patience: Duration,
    ) -> impl Future<Output = Outcome> + 'static {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = self.send(id, primary, session, active_view, request);
        let forwarder = Arc::clone(self);
        async move {
            let (primary, answer) = match sent {
                Ok(sent) => sent,
                Err(reason) => return unavailable(reason),
            };
            let answered = timeout(patience, answer).await;
            forwarder.waiting.lock().remove(&id);
            match answered {
                Ok(Ok(answer)) => match parse_response(&answer.response) {
                    Ok(response) if answer.terminate_session => Outcome::RespondAndClose(response),
                    Ok(response) => Outcome::Respond(response),
                    Err(error) => unavailable(&format!("The primary's answer cannot be read: {error}.")),
                },
                Ok(Err(_)) | Err(_) => {
                    let text = format!(
                        "Request was forwarded to node {primary}, but no response was received after {}ms",
                        patience.as_millis()
                    );
                    Outcome::Respond(Response::with_body(504, "text/plain", text))
                }
            }
        }
    }

    fn send(
        &self,
        id: u64,
        primary: Option<&NodeId>,
        session: &Session,
        active_view: View,
        request: &Request,
    ) -> Result<(NodeId, oneshot::Receiver<ForwardedResponse>), &'static str> {
        let primary = primary.ok_or("RPC could not be forwarded to unknown primary.")?;
        let no_channel = "Unable to establish channel to forward to primary.";
        let peers = self.peers.get().ok_or(no_channel)?;
        let (tell, told) = oneshot::channel();
        self.waiting.lock().insert(id, tell);
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
            return Err(no_channel);
        }
        Ok((primary.clone(), told))
    }

    /// The primary has answered. Answers that nobody waits for any more are dropped.
    pub(crate) fn answered(&self, response: ForwardedResponse) {
        if let Some(waiting) = self.waiting.lock().remove(&response.id) {
            let _ = waiting.send(response);
        }
    }
}

fn unavailable(reason: &str) -> Outcome {
    Outcome::Respond(ErrorResponse::with_status(503, ErrorCode::InternalError, reason).into_response())
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
