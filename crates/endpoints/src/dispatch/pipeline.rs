//! The steps of a request, in their observable order.

use super::{
    CommitRecord, Handled, NodeView, Outcome, Pending, RequestEvent, Role,
    guarantee::{self, Guarantee},
};
use crate::{
    authn::{AuthnInput, authenticate},
    context::EndpointContext,
    endpoint::{EndpointDefinition, ForwardingRequired, Frontend, RedirectionStrategy},
    error::{ErrorCode, ErrorResponse},
    http::{HeaderValue, Method, Request, Response},
    registry::{DispatchError, Registry},
    route::{Captures, Params},
    session::{Origin, Session},
};
use ccf_kv::{CommitError, Committed, Store, Tx};
use ccf_types::{Digest, TxId};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// Executions of one request at most, when it keeps conflicting with others.
pub const COMMIT_ATTEMPTS_MAX: u32 = 30;

/// The response header with the transaction ID.
pub const TX_ID_HEADER: &str = "x-ms-ccf-transaction-id";

/// Runs requests against the store: one for the whole node, shared by its workers.
pub struct Dispatcher {
    store: Store,
    node: Arc<dyn NodeView>,
    app: Registry,
    gov: Registry,
    node_api: Registry,
}

/// What one execution came to.
#[expect(clippy::large_enum_variant)] // the large one is the usual one
enum Attempt {
    Done(Outcome),
    Conflict,
}

/// The endpoint of a request: installed ones are borrowed from their registry.
enum Found<'a> {
    Installed(&'a EndpointDefinition, Captures),
    Dynamic(Arc<EndpointDefinition>, Captures),
}

impl Found<'_> {
    fn endpoint(&self) -> &EndpointDefinition {
        match self {
            Found::Installed(endpoint, _) => endpoint,
            Found::Dynamic(endpoint, _) => endpoint,
        }
    }
}

/// Everything about a request that stays the same when it is executed again.
struct Call<'a> {
    request: &'a Request,
    now: u64,
    frontend: Frontend,
    registry: &'a Registry,
    /// The path below the frontend's prefix.
    path: &'a [u8],
    attempts: u32,
    event: Option<RequestEvent>,
}

impl Dispatcher {
    /// The dispatcher of a node. Each registry must belong to the frontend it is passed for.
    #[must_use]
    pub fn new(
        store: Store,
        node: Arc<dyn NodeView>,
        app: Registry,
        gov: Registry,
        node_api: Registry,
    ) -> Dispatcher {
        Dispatcher { store, node, app, gov, node_api }
    }

    /// The registry of a frontend.
    #[must_use]
    pub fn registry(&self, frontend: Frontend) -> &Registry {
        match frontend {
            Frontend::App => &self.app,
            Frontend::Gov => &self.gov,
            Frontend::Node => &self.node_api,
        }
    }

    /// The store that requests run against.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Executes a request. `now` is the time in seconds since the Unix epoch, as certificates see it.
    pub fn handle(&self, request: &Request, session: &mut Session, now: u64) -> Handled {
        let (frontend, path) = Frontend::of_path(request.path());
        let registry = self.registry(frontend);
        let mut call = Call { request, now, frontend, registry, path, attempts: 0, event: None };
        while call.attempts < COMMIT_ATTEMPTS_MAX {
            call.attempts += 1;
            let outcome = match self.attempt(&mut call, session) {
                Ok(Attempt::Done(outcome)) => outcome,
                Ok(Attempt::Conflict) => continue,
                Err(error) => Outcome::Respond(error.into_response()),
            };
            return Handled { outcome, event: call.event };
        }
        let message =
            format!("Transaction continued to conflict after {COMMIT_ATTEMPTS_MAX} attempts. Retry later.");
        let error = ErrorResponse::new(ErrorCode::TransactionCommitAttemptsExceedLimit, message)
            .with_header("retry-after", "3");
        Handled { outcome: Outcome::Respond(error.into_response()), event: call.event }
    }

    fn attempt(&self, call: &mut Call<'_>, session: &mut Session) -> Result<Attempt, ErrorResponse> {
        let node = self.node.as_ref();
        let role = node.role();
        if call.frontend != Frontend::Node && role == Role::Primary && node.too_many_pending() {
            let message = "Too many transactions are waiting to be committed by the service.";
            return Err(ErrorResponse::new(ErrorCode::TooManyPendingTransactions, message));
        }
        if !node.is_open(call.frontend) {
            return Err(ErrorResponse::new(ErrorCode::FrontendNotOpen, "Frontend is not open."));
        }

        let tx = self.store.begin();
        let found = match find(call, &tx) {
            Ok(Ok(found)) => found,
            Ok(Err(response)) => {
                call.dispatch_failed(response.status);
                return Ok(Attempt::Done(Outcome::Respond(response)));
            }
            Err(error) => {
                let response = ErrorResponse::internal(format!("Exception: {error}")).into_response();
                call.dispatch_failed(response.status);
                return Ok(Attempt::Done(Outcome::RespondAndClose(response)));
            }
        };
        let endpoint = found.endpoint();
        if session.origin() == Origin::Client
            && let Some(refusal) = interface_refusal(session, endpoint)
        {
            return Ok(Attempt::Done(Outcome::Respond(refusal)));
        }
        let guarantee = Guarantee::of(call.request, endpoint)?;
        if let Some(outcome) = self.elsewhere(call, session, endpoint, role, guarantee)? {
            return Ok(Attempt::Done(outcome));
        }

        let input = AuthnInput { tx: &tx, request: call.request, session, now: call.now };
        let caller = authenticate(&endpoint.authn, &input)?;
        let captures = match &found {
            Found::Installed(_, captures) | Found::Dynamic(_, captures) => captures.clone(),
        };
        let Ok(template) = &endpoint.template else {
            return Err(ErrorResponse::internal("The endpoint's path is no template."));
        };
        let mut context = EndpointContext {
            tx,
            response: Response::default(),
            request: call.request,
            session,
            endpoint,
            registry: call.registry,
            params: Params::new(template, call.path, captures),
            caller,
            node,
            now: call.now,
            claims_digest: None,
            apply_writes: None,
            on_local_commit: None,
            on_global_commit: None,
            wants_receipt: false,
            later: None,
        };
        // A panic of an endpoint ends its request, not the worker; the transaction is dropped with the context.
        let result = catch_unwind(AssertUnwindSafe(|| (endpoint.handler)(&mut context)));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => context.response = error.into_response(),
            Err(_) => return Err(ErrorResponse::internal("The endpoint panicked.")),
        }
        if let Some(later) = context.later.take() {
            drop(context);
            let lost = self.check_consistency(session);
            return Ok(Attempt::Done(lost.unwrap_or(Outcome::Later(later))));
        }
        let executed = Executed::of(context);
        let outcome = self.conclude(executed, session, guarantee)?;
        if call.frontend == Frontend::Gov {
            call.completed(endpoint, &outcome);
        }
        Ok(outcome)
    }

    /// Redirects or forwards, if the request is not to be executed here.
    fn elsewhere(
        &self,
        call: &Call<'_>,
        session: &mut Session,
        endpoint: &EndpointDefinition,
        role: Role,
        guarantee: Guarantee,
    ) -> Result<Option<Outcome>, ErrorResponse> {
        let linearizable = guarantee.linearizable && endpoint.forwarding != ForwardingRequired::Never;
        if guarantee.linearizable && !linearizable && role == Role::Backup {
            let message = "Each node answers this request itself: a backup cannot answer it linearizably.";
            return Err(ErrorResponse::new(ErrorCode::NotImplemented, message));
        }
        if session.origin() == Origin::Client && session.interface().redirects {
            let to = match (endpoint.redirection, role) {
                (RedirectionStrategy::ToPrimary, Role::Backup) => Role::Primary,
                (_, Role::Backup) if linearizable => Role::Primary,
                (RedirectionStrategy::ToBackup, Role::Primary) => Role::Backup,
                _ => return Ok(None),
            };
            return self.redirect(call, session, to).map(Some);
        }
        let forward = match endpoint.forwarding {
            ForwardingRequired::Always => true,
            ForwardingRequired::Sometimes => session.forwarded || linearizable,
            ForwardingRequired::Never => false,
        };
        if role == Role::Primary || !forward {
            return Ok(None);
        }
        if session.is_http2() {
            let message = "Request cannot be forwarded to primary on HTTP/2 interface.";
            return Err(ErrorResponse::new(ErrorCode::NotImplemented, message));
        }
        if session.origin() == Origin::Forwarded {
            return Err(ErrorResponse::new(ErrorCode::RequestAlreadyForwarded, "RPC was already forwarded."));
        }
        if let Some(lost) = self.check_consistency(session) {
            return Ok(Some(lost));
        }
        session.forwarded = true;
        Ok(Some(Outcome::Forward(guarantee.wait_for_commit.unwrap_or_default())))
    }

    fn redirect(&self, call: &Call<'_>, session: &Session, to: Role) -> Result<Outcome, ErrorResponse> {
        let Some(address) = self.node.redirect_address(to, session.interface()) else {
            let (code, message) = match to {
                Role::Primary => (
                    ErrorCode::PrimaryNotFound,
                    "Request should be redirected to primary, but receiving node does not know current primary address",
                ),
                Role::Backup => (
                    ErrorCode::BackupNotFound,
                    "Request should be redirected to backup, but receiving node does not know any current backup address",
                ),
            };
            return Err(ErrorResponse::new(code, message));
        };
        let mut response = Response::status(307);
        let target = String::from_utf8_lossy(call.request.target());
        response.headers.set("location", format!("https://{address}{target}"));
        Ok(Outcome::Respond(response))
    }

    /// The first request of a session fixes its view; later ones must find the same.
    fn check_consistency(&self, session: &mut Session) -> Option<Outcome> {
        let now = self.node.view();
        let started = *session.view.get_or_insert(now);
        if started == now {
            return None;
        }
        let message = format!(
            "Potential loss of session consistency on session {}. Started in view {started}, now in view {now}. Closing session.",
            session.id()
        );
        let error = ErrorResponse::new(ErrorCode::SessionConsistencyLost, message);
        Some(Outcome::RespondAndClose(error.into_response()))
    }

    /// Commits what an execution wrote, if it is to be kept, and finishes the response.
    fn conclude(
        &self,
        executed: Executed,
        session: &mut Session,
        guarantee: Guarantee,
    ) -> Result<Attempt, ErrorResponse> {
        if let Some(lost) = self.check_consistency(session) {
            return Ok(Attempt::Done(lost));
        }
        let Executed {
            tx,
            mut response,
            claims_digest,
            on_local_commit,
            on_global_commit,
            wants_receipt,
            apply_writes,
            ..
        } = executed;
        if !apply_writes {
            // Nothing is kept, but what the answer says was read: that something is absent, say.
            let read = (response.status < 500).then(|| guarantee.wait_after_read()).flatten();
            let outcome = match read {
                Some(patience) => {
                    let read = TxId { view: tx.commit_view(), ..tx.read_tx_id() };
                    self.confirm(read, response, patience)?
                }
                None => Outcome::Respond(response),
            };
            return Ok(Attempt::Done(outcome));
        }
        if tx.written_bytes() > self.node.transaction_bytes_max() {
            let message = "The transaction writes more than the service accepts in one transaction.";
            return Err(ErrorResponse::new(ErrorCode::TransactionTooLarge, message));
        }
        // Asking for the view opens the transaction's state, which a request that reads nothing does not do by itself.
        let view = guarantee.wait_after_read().map(|_| tx.commit_view());
        let (tx_id, wrote) = match tx.commit() {
            Ok(committed) => {
                let (tx_id, wrote) = (committed.tx_id(), matches!(committed, Committed::Wrote(_)));
                if let Committed::Wrote(written) = committed {
                    let record = CommitRecord { written, claims_digest };
                    self.node.replicate(record).map_err(|_| not_replicated())?;
                }
                (tx_id, wrote)
            }
            Err(CommitError::Conflict) => return Ok(Attempt::Conflict),
            Err(CommitError::NotReplicated(_)) => return Err(not_replicated()),
            Err(error) => return Err(ErrorResponse::internal(error.to_string())),
        };
        let Some(tx_id) = tx_id else { return Ok(Attempt::Done(Outcome::Respond(response))) };
        match on_local_commit {
            None => {
                response.headers.set(TX_ID_HEADER, tx_id);
            }
            Some(callback) => {
                if let Err(error) = callback(&mut response, tx_id) {
                    let mut failed = ErrorResponse::internal(error.message).into_response();
                    failed.headers.set(TX_ID_HEADER, tx_id);
                    response = failed;
                }
            }
        }
        let outcome = match on_global_commit {
            Some(callback) => Outcome::Pending(Pending {
                tx_id,
                claims_digest,
                wants_receipt,
                response,
                callback,
                patience: None,
            }),
            None if wrote => match guarantee.wait_after_write() {
                Some(patience) => Outcome::Pending(guarantee::committed(
                    tx_id,
                    claims_digest,
                    response,
                    patience,
                    guarantee.receipt,
                )),
                None => Outcome::Respond(response),
            },
            None => match guarantee.wait_after_read() {
                Some(patience) => {
                    let view = view.unwrap_or(tx_id.view);
                    self.confirm(TxId { view, ..tx_id }, response, patience)?
                }
                None => Outcome::Respond(response),
            },
        };
        Ok(Attempt::Done(outcome))
    }

    /// Holds back what was read until this node is known to have been primary after that. `read` is the last transaction
    /// that was seen, with the view in which the state was read: a later view may have lost what was seen.
    fn confirm(&self, read: TxId, response: Response, patience: Duration) -> Result<Outcome, ErrorResponse> {
        let barrier = self.node.barrier();
        if barrier.view != read.view {
            let message = "What was read could not be confirmed: another primary took over.";
            return Err(ErrorResponse::new(ErrorCode::TransactionReplicationFailed, message));
        }
        // If the log was cut back meanwhile, its next transaction comes before what was seen and proves nothing.
        let barrier = TxId { seqno: barrier.seqno.max(read.seqno.next()), ..barrier };
        Ok(Outcome::Pending(guarantee::confirmed(barrier, response, patience)))
    }
}

/// What is left of a context after its handler ran, free of borrows.
struct Executed {
    tx: Tx,
    response: Response,
    apply_writes: bool,
    claims_digest: Digest,
    on_local_commit: Option<crate::context::LocalCommitCallback>,
    on_global_commit: Option<crate::context::GlobalCommitCallback>,
    wants_receipt: bool,
}

impl Executed {
    fn of(context: EndpointContext<'_>) -> Executed {
        Executed {
            apply_writes: context.apply_writes.unwrap_or_else(|| context.response.is_success()),
            tx: context.tx,
            response: context.response,
            claims_digest: context.claims_digest.unwrap_or(Digest::ZERO),
            on_local_commit: context.on_local_commit,
            on_global_commit: context.on_global_commit,
            wants_receipt: context.wants_receipt,
        }
    }
}

impl Call<'_> {
    #[cold]
    fn dispatch_failed(&mut self, status: u16) {
        if self.frontend != Frontend::Node {
            let path = String::from_utf8_lossy(self.path).into_owned();
            self.event = Some(RequestEvent::DispatchFailed { frontend: self.frontend, path, status });
        }
    }

    fn completed(&mut self, endpoint: &EndpointDefinition, attempt: &Attempt) {
        let Attempt::Done(outcome) = attempt else { return };
        let status = match outcome {
            Outcome::Respond(response) | Outcome::RespondAndClose(response) => response.status,
            Outcome::Pending(pending) => pending.response.status,
            Outcome::Forward(_) | Outcome::Later(_) => return,
        };
        self.event = Some(RequestEvent::Completed {
            method: self.request.method(),
            full_path: endpoint.full_path.clone(),
            status,
            attempts: self.attempts,
        });
    }
}

/// The endpoint of a request, or the answer that there is none.
fn find<'a>(call: &Call<'a>, tx: &Tx) -> Result<Result<Found<'a>, Response>, DispatchError> {
    let (method, path) = (call.request.method(), call.path);
    if let Some(dynamic) = call.registry.dynamic()
        && let Some(found) = dynamic.find(tx, method, path)?
    {
        return Ok(Ok(Found::Dynamic(found.endpoint, found.captures)));
    }
    if let Some(route) = call.registry.find(method, path)? {
        return Ok(Ok(Found::Installed(route.value, route.captures)));
    }
    let mut methods = call.registry.methods(path);
    if let Some(dynamic) = call.registry.dynamic() {
        methods.extend(dynamic.methods(tx, path)?);
    }
    let path = String::from_utf8_lossy(path);
    if methods.is_empty() {
        let error = ErrorResponse::new(ErrorCode::ResourceNotFound, format!("Unknown path: {path}."));
        return Ok(Err(error.into_response()));
    }
    let allow = methods.allow();
    if method == Method::Options {
        let mut response = Response::status(204);
        response.headers.set("allow", allow);
        return Ok(Err(response));
    }
    let message = format!("Allowed methods for '{path}' are: {allow}.");
    let mut response = ErrorResponse::new(ErrorCode::UnsupportedHttpVerb, message).into_response();
    response.headers.set("allow", HeaderValue::from(allow));
    Ok(Err(response))
}

/// The answer of an interface that does not let the endpoint through.
fn interface_refusal(session: &Session, endpoint: &EndpointDefinition) -> Option<Response> {
    let interface = session.interface();
    if endpoint.operator_feature.is_some_and(|feature| !interface.operator_features.contains(&feature)) {
        return Some(Response::status(404));
    }
    let accepted = interface.accepted_endpoints.as_ref().is_none_or(|a| a.accepts(&endpoint.full_path));
    (!accepted).then(|| Response::status(503))
}

#[cold]
fn not_replicated() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::TransactionReplicationFailed, "Transaction failed to replicate.")
}
