//! From the HTTP server to dispatch: sessions, outcomes, log lines of requests.

use crate::{
    http::{ConnectionInfo, HttpVersion, Outcome as HttpOutcome, RequestHandler},
    node_view::RunningNode,
};
use ccf_endpoints::{
    CommitNotice, Dispatcher, ErrorCode, ErrorResponse, Frontend, InterfaceRules, Outcome, Pending, Request,
    RequestEvent, Session,
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;

/// Executes the requests of all interfaces.
pub(crate) struct Requests {
    dispatcher: Dispatcher,
    node: Arc<RunningNode>,
    rules: HashMap<String, Arc<InterfaceRules>>,
}

impl Requests {
    /// A handler for interfaces with these rules, by name.
    #[must_use]
    pub(crate) fn new(
        dispatcher: Dispatcher,
        node: Arc<RunningNode>,
        rules: Vec<InterfaceRules>,
    ) -> Requests {
        let rules = rules.into_iter().map(|rules| (rules.name.clone(), Arc::new(rules))).collect();
        Requests { dispatcher, node, rules }
    }

    /// A response that waits for the fate of its transaction.
    fn pending(&self, pending: Pending, session_id: u64) -> HttpOutcome {
        let (tell, told) = oneshot::channel();
        let tx_id = pending.tx_id;
        // Nobody listens any more if the client has gone.
        let waiter = move |decision| {
            let _ = tell.send(decision);
        };
        self.node.status.when_decided(tx_id, Box::new(waiter));
        let (write_set_digest, commit_evidence) = self.node.evidence_of(tx_id);
        HttpOutcome::Pending(Box::pin(async move {
            let Ok(decision) = told.await else {
                return HttpOutcome::Close;
            };
            let claims_digest = pending.claims_digest;
            let notice = CommitNotice { tx_id, decision, write_set_digest, commit_evidence, claims_digest };
            match pending.finish(&notice) {
                Ok(response) => HttpOutcome::Respond(response),
                Err(reason) => {
                    tracing::warn!(
                        "Answering after the commit of {tx_id} failed: {reason}. Closing session {session_id}."
                    );
                    HttpOutcome::Close
                }
            }
        }))
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
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let logged = request.path().starts_with(b"/gov/").then(Instant::now);
        let handled = self.dispatcher.handle(&request, session, began.as_secs());
        if let Some(event) = &handled.event {
            log(event, logged);
        }
        match handled.outcome {
            Outcome::Respond(response) => HttpOutcome::Respond(response),
            Outcome::RespondAndClose(response) => HttpOutcome::RespondAndClose(response),
            Outcome::Pending(pending) => self.pending(pending, session.id()),
            Outcome::Forward => {
                // A one-node network has no primary to forward to but itself.
                let reason = "RPC could not be forwarded to unknown primary.";
                HttpOutcome::Respond(
                    ErrorResponse::with_status(503, ErrorCode::InternalError, reason).into_response(),
                )
            }
        }
    }

    fn batch_done(&self) {
        self.node.inbox.burst_done();
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
