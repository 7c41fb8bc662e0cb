//! From the HTTP server to dispatch: sessions, outcomes, log lines of requests.

use crate::{
    config::Config,
    forwarding::{self, Forwarder},
    http::{ConnectionInfo, HttpVersion, Outcome as HttpOutcome, RequestHandler, Room},
    node_view::RunningNode,
};
use ccf_endpoints::{
    CommitNotice, Decision, Dispatcher, Frontend, InterfaceRules, NodeView, Outcome, Pending, Registry,
    Request, RequestEvent, Response, Session,
};
use ccf_types::Digest;
use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::oneshot, time::timeout};

/// Executes the requests of all interfaces.
pub(crate) struct Requests {
    dispatcher: Dispatcher,
    node: Arc<RunningNode>,
    rules: HashMap<String, Arc<InterfaceRules>>,
    forwarder: Arc<Forwarder>,
    /// How long the primary may take to answer what an interface forwards, where configured.
    patience: HashMap<String, Duration>,
}

impl Requests {
    /// A handler for the interfaces of a configuration, with these rules.
    #[must_use]
    pub(crate) fn new(
        dispatcher: Dispatcher,
        node: Arc<RunningNode>,
        rules: Vec<InterfaceRules>,
        forwarder: Arc<Forwarder>,
        config: &Config,
    ) -> Requests {
        let rules = rules.into_iter().map(|rules| (rules.name.clone(), Arc::new(rules))).collect();
        let configured = config.network.rpc_interfaces.iter();
        let patience = configured
            .filter_map(|(name, it)| Some((name.clone(), Duration::from_millis(it.forwarding_timeout_ms?))))
            .collect();
        Requests { dispatcher, node, rules, forwarder, patience }
    }

    /// The endpoints of the application, if none of them is a script.
    pub(crate) fn native_application(&self) -> Option<&Registry> {
        let application = self.dispatcher.registry(Frontend::App);
        application.dynamic().is_none().then_some(application)
    }

    /// Executes a request of any origin and logs what is to be logged.
    pub(crate) fn dispatch(&self, session: &mut Session, request: &Request) -> Outcome {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let logged = request.path().starts_with(b"/gov/").then(Instant::now);
        let handled = self.dispatcher.handle(request, session, began.as_secs());
        if let Some(event) = &handled.event {
            log(event, logged);
        }
        handled.outcome
    }

    /// What becomes of a response that waits for the fate of its transaction.
    pub(crate) fn decided(&self, pending: Pending) -> impl Future<Output = Decided> + Send + use<> {
        let (tell, told) = oneshot::channel();
        let waiter = move |decision| {
            // Nobody listens any more if the client has gone, or its patience.
            let _ = tell.send(decision);
        };
        self.node.status.when_decided(pending.tx_id, Box::new(waiter));
        let evidence = self.node.evidence_of(pending.tx_id);
        let node = Arc::clone(&self.node);
        async move {
            let fate = match pending.patience() {
                None => told.await.ok().map(Fate::Known),
                Some(patience) => match timeout(patience, told).await {
                    Ok(told) => told.ok().map(Fate::Known),
                    Err(_) => Some(Fate::Open),
                },
            };
            Decided { node, pending, evidence, fate }
        }
    }

    /// A response that waits for the fate of its transaction.
    fn pending(&self, pending: Pending) -> HttpOutcome {
        let decided = self.decided(pending);
        HttpOutcome::Pending(Box::pin(async move {
            decided.await.response().map_or(HttpOutcome::Close, HttpOutcome::Respond)
        }))
    }

    /// Sends a request to the primary, which may take `asked` longer than usual.
    fn forward(&self, session: &Session, request: &Request, asked: Duration) -> HttpOutcome {
        let term = self.node.status.term();
        let patience = self.patience.get(&session.interface().name).copied().unwrap_or(forwarding::TIMEOUT);
        let patience = patience.saturating_add(asked);
        let view = session.view().unwrap_or(term.view);
        let to = forwarding::Destination { primary: term.primary.as_ref(), view: term.view };
        let answer = self.forwarder.forward(to, session, view, request, patience);
        // A view that began since then has not met this request among those that wait.
        let now_in = self.node.status.term().view;
        if now_in != term.view {
            self.forwarder.view_began(now_in);
        }
        HttpOutcome::Pending(Box::pin(answer))
    }
}

/// A response that was held back, and why it need not wait any longer.
pub(crate) struct Decided {
    node: Arc<RunningNode>,
    pending: Pending,
    evidence: (Digest, String),
    /// None if the node stops.
    fate: Option<Fate>,
}

/// What is known of a transaction when its response leaves.
#[derive(Clone, Copy)]
enum Fate {
    Known(Decision),
    /// Nothing was decided in time.
    Open,
}

impl Decided {
    /// The response to send now; none if the session is to end without one.
    pub(crate) fn response(self) -> Option<Response> {
        let Decided { node, pending, evidence: (write_set_digest, commit_evidence), fate } = self;
        let decision = match fate? {
            Fate::Known(decision) => decision,
            Fate::Open => return Some(pending.expire()),
        };
        let (tx_id, claims_digest) = (pending.tx_id, pending.claims_digest);
        let wanted = pending.wants_receipt && decision == Decision::Committed;
        let historical = node.historical().filter(|_| wanted);
        let receipt = historical.and_then(|historical| historical.receipt(tx_id));
        let notice =
            CommitNotice { tx_id, decision, write_set_digest, commit_evidence, claims_digest, receipt };
        pending
            .finish(&notice)
            .map_err(|reason| tracing::warn!("Answering after the commit of {tx_id} failed: {reason}"))
            .ok()
    }
}

impl RequestHandler for Requests {
    type Session = Session;

    fn open_session(&self, connection: &ConnectionInfo) -> Session {
        let name = &*connection.interface;
        let rules = self.rules.get(name).cloned().unwrap_or_else(|| Arc::new(InterfaceRules::open(name)));
        let session = Session::new(connection.session_id, rules, connection.peer_certificate.as_deref());
        match connection.http_version {
            HttpVersion::Http1 => session,
            HttpVersion::Http2 => session.over_http2(),
        }
    }

    fn handle(&self, session: &mut Session, request: Request) -> HttpOutcome {
        match self.dispatch(session, &request) {
            Outcome::Respond(response) => HttpOutcome::Respond(response),
            Outcome::RespondAndClose(response) => HttpOutcome::RespondAndClose(response),
            Outcome::Pending(pending) => self.pending(pending),
            Outcome::Later(later) => {
                HttpOutcome::Pending(Box::pin(async move { HttpOutcome::Respond(later.await) }))
            }
            Outcome::Forward(asked) => self.forward(session, &request, asked),
        }
    }

    fn wait_for_room(&self, request: &Request) -> Option<Room> {
        self.node.backpressure.wait_for_room(request.path()).map(|room| Box::pin(room) as Room)
    }

    fn batch_done(&self) {
        self.node.inbox.burst_done();
    }

    fn turn_done(&self) {
        self.forwarder.flush();
    }
}

fn log(event: &RequestEvent, began: Option<Instant>) {
    match event {
        RequestEvent::Completed { method, full_path, status, attempts } => {
            let template = full_path.strip_prefix("/gov").unwrap_or(full_path);
            let took = began.map_or(0, |began| began.elapsed().as_millis());
            tracing::info!(
                target: "gov",
                "RequestCompletedEvent: {method} {template} {status} {took}ms {attempts} attempt(s)"
            );
        }
        RequestEvent::DispatchFailed { frontend, path, status } => match frontend {
            Frontend::Gov => tracing::info!(target: "gov", "DispatchFailedEvent: {path} {status}"),
            Frontend::App => tracing::info!(target: "app", "DispatchFailedEvent: {path} {status}"),
            Frontend::Node => tracing::info!("DispatchFailedEvent: {path} {status}"),
        },
    }
}
