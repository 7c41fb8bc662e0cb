//! The executing end: requests of other nodes, on threads of their own, and short ones on the thread that received them.

use super::{
    callers::Callers,
    prompt::{self, BURST, Promptness, from_target},
    queue::Queue,
};
use crate::{
    http::{parse_request, response_bytes},
    node_view::RunningNode,
    peers::PeerNetwork,
    request_handler::{Decided, Requests},
    vital::Vital,
};
use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse};
use ccf_endpoints::{
    EndpointDefinition, ErrorResponse, Frontend, Method, Origin, Outcome as Dispatched, Response, Session,
};
use ccf_types::{NodeId, View};
use parking_lot::Mutex;
use std::{io, sync::Arc, thread, time::Instant};

/// Scripts need as much stack here as on the workers of clients.
const STACK_BYTES: usize = 4 << 20;

/// Executes what other nodes forward.
#[derive(Clone)]
pub(crate) struct ForwardedWork {
    queue: Arc<Queue<Job>>,
    /// Of the thread that receives; none if no request is short.
    prompt: Arc<Mutex<Option<Executor>>>,
}

/// What is to be done, and for whom.
enum Job {
    Execute(NodeId, ForwardedRequest),
    /// A response that was held back until a commit.
    Answer(Box<HeldBack>),
}

impl ForwardedWork {
    /// A queue without threads.
    pub(crate) fn new() -> ForwardedWork {
        ForwardedWork { queue: Arc::new(Queue::new()), prompt: Arc::default() }
    }

    /// A request that `from` forwarded; [`end_of_burst`](Self::end_of_burst) has it executed.
    pub(crate) fn take(&self, from: &NodeId, request: ForwardedRequest) {
        let bytes = request.request.len();
        if !self.queue.push(Job::Execute(from.clone(), request), bytes) {
            tracing::debug!("A forwarded request is dropped: too many wait");
        }
    }

    /// All requests of a burst were taken, by this thread: it executes short ones, the others do the rest.
    pub(crate) fn end_of_burst(&self) {
        if let Some(executor) = &mut *self.prompt.lock() {
            executor.work_promptly();
        }
        self.queue.wake();
    }

    /// Starts the threads, once the node can execute requests. They end with the process.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        &self,
        threads: usize,
        requests: &Arc<Requests>,
        node: &Arc<RunningNode>,
        peers: &PeerNetwork,
    ) -> io::Result<()> {
        let promptness = Arc::new(Promptness::default());
        let executor = || Executor {
            queue: Arc::clone(&self.queue),
            promptness: Arc::clone(&promptness),
            requests: Arc::clone(requests),
            node: Arc::clone(node),
            peers: peers.clone(),
            callers: Callers::default(),
        };
        // Scripts take their time.
        if requests.native_application().is_some() {
            *self.prompt.lock() = Some(executor());
        }
        for index in 0..threads.max(1) {
            let (queue, mut executor) = (Arc::clone(&self.queue), executor());
            let thread = thread::Builder::new().name(format!("forwarded-{index}")).stack_size(STACK_BYTES);
            thread.spawn(move || {
                let _vital = Vital::new("forwarded requests");
                queue.work(|job| match job {
                    Some(job) => {
                        executor.wait_for_room(&job);
                        executor.perform(job, Instant::now());
                    }
                    None => executor.pause(),
                })
            })?;
        }
        Ok(())
    }
}

/// What was held back, who asked for it, and how it need not wait any longer.
struct HeldBack {
    from: NodeId,
    asked: ForwardedRequest,
    method: Method,
    decided: Decided,
}

/// What executing needs.
struct Executor {
    queue: Arc<Queue<Job>>,
    promptness: Arc<Promptness>,
    requests: Arc<Requests>,
    node: Arc<RunningNode>,
    peers: PeerNetwork,
    callers: Callers,
}

impl Executor {
    /// Executes requests that are waiting, as long as they are short, and sends the answers.
    fn work_promptly(&mut self) {
        let began = Instant::now();
        let mut now = began;
        while now.saturating_duration_since(began) < BURST
            && let Some(job) = self.queue.take_if(|job| self.is_prompt(job, now))
        {
            now = self.perform(job, now);
        }
        if now > began {
            self.pause();
        }
    }

    /// Sends what was answered, and wakes who works on what was written.
    fn pause(&self) {
        self.peers.flush();
        self.node.inbox.burst_done();
    }

    /// Whether a job is likely to be short, and there is room for it: the thread that receives never waits for room, which
    /// comes with what it reads. Answers may need receipts out of files.
    fn is_prompt(&self, job: &Job, now: Instant) -> bool {
        let Job::Execute(_, request) = job else { return false };
        self.endpoint(request).is_some_and(|endpoint| self.promptness.is_short(endpoint, now))
            && self.node.backpressure.has_room(Frontend::App)
    }

    /// The endpoint of a native application that is to execute a request.
    fn endpoint(&self, forwarded: &ForwardedRequest) -> Option<&Arc<EndpointDefinition>> {
        prompt::endpoint(self.requests.native_application()?, &forwarded.request)
    }

    /// Sleeps while there is back-pressure on what a request may write.
    fn wait_for_room(&self, job: &Job) {
        if let Job::Execute(_, request) = job {
            self.node.backpressure.sleep_until_room(from_target(&request.request), || self.pause());
        }
    }

    /// Performs what begins at a moment, and returns when it was done.
    fn perform(&mut self, job: Job, began: Instant) -> Instant {
        match job {
            Job::Execute(from, request) => {
                self.execute(from, &request);
                let done = Instant::now();
                if let Some(endpoint) = self.endpoint(&request) {
                    self.promptness.note(endpoint, done.saturating_duration_since(began), done);
                }
                done
            }
            Job::Answer(held) => {
                let HeldBack { from, asked, method, decided } = *held;
                if let Some(response) = decided.response() {
                    self.send(&from, &answer(&asked, &response, method, false));
                }
                Instant::now()
            }
        }
    }

    fn execute(&mut self, from: NodeId, forwarded: &ForwardedRequest) {
        let Ok(request) = parse_request(&forwarded.request) else {
            let response =
                ErrorResponse::invalid_input("The forwarded request cannot be read.").into_response();
            return self.send(&from, &answer(forwarded, &response, Method::Get, false));
        };
        let method = request.method();
        let caller = forwarded.caller_certificate.as_deref().map(|der| self.callers.get(der));
        let mut session = Session::of_caller(forwarded.session, Origin::Forwarded, caller);
        if forwarded.active_view != View::UNKNOWN {
            session = session.begun_in(forwarded.active_view);
        }
        match self.requests.dispatch(&mut session, &request) {
            Dispatched::Respond(response) => self.send(&from, &answer(forwarded, &response, method, false)),
            Dispatched::RespondAndClose(response) => {
                self.send(&from, &answer(forwarded, &response, method, true));
            }
            // Dispatch forwards nothing twice, and nothing that each node serves itself.
            Dispatched::Forward(_) | Dispatched::Later(_) => {}
            Dispatched::Pending(pending) => {
                let asked = ForwardedRequest { request: Bytes::new(), ..forwarded.clone() };
                let queue = Arc::clone(&self.queue);
                let decided = self.requests.decided(pending);
                self.peers.spawn(async move {
                    let held = HeldBack { from, asked, method, decided: decided.await };
                    // A full queue costs the sender a timeout.
                    if queue.push(Job::Answer(Box::new(held)), 0) {
                        queue.wake();
                    }
                });
            }
        }
    }

    fn send(&self, to: &NodeId, answer: &ForwardedResponse) {
        // What is lost costs the sender a timeout.
        let _ = self.peers.send_forwarded_response(to, answer);
    }
}

fn answer(to: &ForwardedRequest, response: &Response, method: Method, end: bool) -> ForwardedResponse {
    ForwardedResponse {
        version: to.version,
        id: to.id,
        terminate_session: end,
        session: to.session,
        response: response_bytes(response, method),
    }
}
