//! What a handler works with: the request, the caller, the transaction and the response.

use crate::{
    authn::Caller,
    dispatch::{CommitNotice, Later, NodeView},
    endpoint::EndpointDefinition,
    error::{ErrorCode, ErrorResponse},
    historical::HistoricalQueries,
    http::{Request, Response},
    registry::Registry,
    route::Params,
    session::Session,
};
use ccf_kv::Tx;
use ccf_types::{Digest, MemberId, TxId, UserId};
use serde::{Serialize, de::DeserializeOwned};

/// Runs after the transaction was committed on this node and before consensus decided on it; may change the
/// response.
pub type LocalCommitCallback = Box<dyn FnOnce(&mut Response, TxId) -> Result<(), ErrorResponse> + Send>;

/// Runs when the fate of the transaction is known; may change the response that was held back until then. An
/// error closes the session without an answer.
pub type GlobalCommitCallback = Box<dyn FnOnce(&mut Response, &CommitNotice) -> Result<(), String> + Send>;

/// One execution of one request.
///
/// A request that conflicts with another is executed again with a fresh context, so effects outside of the
/// transaction and the response may happen several times.
pub struct EndpointContext<'a> {
    /// The transaction. Reads see one state of the store; writes are applied if the response is 2xx.
    pub tx: Tx,
    /// The answer; 200 without body unless changed.
    pub response: Response,
    pub(crate) request: &'a Request,
    pub(crate) session: &'a Session,
    pub(crate) endpoint: &'a EndpointDefinition,
    pub(crate) registry: &'a Registry,
    pub(crate) params: Params<'a>,
    pub(crate) caller: Option<Caller>,
    pub(crate) node: &'a dyn NodeView,
    pub(crate) now: u64,
    pub(crate) claims_digest: Option<Digest>,
    pub(crate) apply_writes: Option<bool>,
    pub(crate) on_local_commit: Option<LocalCommitCallback>,
    pub(crate) on_global_commit: Option<GlobalCommitCallback>,
    pub(crate) wants_receipt: bool,
    pub(crate) later: Option<Later>,
}

impl<'a> EndpointContext<'a> {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &'a Request {
        self.request
    }

    /// The session the request came by.
    #[must_use]
    pub fn session(&self) -> &'a Session {
        self.session
    }

    /// The endpoint's declaration.
    #[must_use]
    pub fn endpoint(&self) -> &'a EndpointDefinition {
        self.endpoint
    }

    /// The registry of the frontend that serves the request.
    #[must_use]
    pub fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// The node, as far as endpoints may know it.
    #[must_use]
    pub fn node(&self) -> &'a dyn NodeView {
        self.node
    }

    /// Past transactions.
    ///
    /// # Errors
    /// 500 if the node does not take part in a service yet.
    pub fn historical(&self) -> Result<&'a dyn HistoricalQueries, ErrorResponse> {
        crate::historical::queries(self)
    }

    /// Seconds since the Unix epoch when the request arrived.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Has `response` sent once it is there, in place of [`response`](Self::response), without holding up the worker. For
    /// endpoints that each node serves itself and that write nothing: no transaction stands behind such a response.
    pub fn respond_later(&mut self, response: impl Future<Output = Response> + Send + 'static) {
        self.later = Some(Later(Box::pin(response)));
    }

    /// Path parameters.
    #[must_use]
    pub fn params(&self) -> &Params<'a> {
        &self.params
    }

    /// A path parameter, decoded.
    ///
    /// # Errors
    /// 500 if the template has no parameter of this name: a mistake of the endpoint.
    pub fn param(&self, name: &str) -> Result<String, ErrorResponse> {
        match self.params.decoded(name) {
            Some(value) => Ok(value.into_owned()),
            None => Err(ErrorResponse::internal(format!("The path has no parameter '{name}'."))),
        }
    }

    /// Who calls; `None` for endpoints without authentication policies.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The calling user.
    ///
    /// # Errors
    /// 403 `AuthorizationFailed` if the caller is no user.
    pub fn user_id(&self) -> Result<&UserId, ErrorResponse> {
        let user = self.caller.as_ref().and_then(Caller::user_id);
        user.ok_or_else(|| ErrorResponse::new(ErrorCode::AuthorizationFailed, "The caller is not a user."))
    }

    /// The calling member.
    ///
    /// # Errors
    /// 403 `AuthorizationFailed` if the caller is no member.
    pub fn member_id(&self) -> Result<&MemberId, ErrorResponse> {
        let member = self.caller.as_ref().and_then(Caller::member_id);
        member
            .ok_or_else(|| ErrorResponse::new(ErrorCode::AuthorizationFailed, "The caller is not a member."))
    }

    /// The body as JSON; an empty body reads as `{}`.
    ///
    /// # Errors
    /// 400 `InvalidInput`.
    pub fn json_body<T: DeserializeOwned>(&self) -> Result<T, ErrorResponse> {
        crate::foreign_json::parse(self.request.body())
    }

    /// Answers with JSON, compact. Declare the fields of structs in alphabetical order.
    ///
    /// # Errors
    /// 500 if the value cannot be written as JSON.
    pub fn respond_json(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), ErrorResponse> {
        crate::adapter::respond_json(&mut self.response, value)
    }

    /// Applies or drops the writes whatever the status of the response; by default they are applied if it is
    /// 2xx.
    pub fn set_apply_writes(&mut self, apply: bool) {
        self.apply_writes = Some(apply);
    }

    /// The digest of application claims that becomes part of the transaction's leaf in the Merkle tree.
    pub fn set_claims_digest(&mut self, digest: Digest) {
        self.claims_digest = Some(digest);
    }

    /// Calls back after local commit, in place of the default, which sets the header with the transaction
    /// ID. The last registration counts.
    pub fn on_local_commit(
        &mut self,
        callback: impl FnOnce(&mut Response, TxId) -> Result<(), ErrorResponse> + Send + 'static,
    ) {
        self.on_local_commit = Some(Box::new(callback));
    }

    /// Holds the response back until the transaction is Committed or Invalid, then calls back (applications
    /// specification, section 10.1). The last registration counts.
    pub fn respond_after_commit(
        &mut self,
        callback: impl FnOnce(&mut Response, &CommitNotice) -> Result<(), String> + Send + 'static,
    ) {
        self.on_global_commit = Some(Box::new(callback));
    }

    /// The same, and the notice of a committed transaction has its receipt.
    pub fn respond_with_receipt(
        &mut self,
        callback: impl FnOnce(&mut Response, &CommitNotice) -> Result<(), String> + Send + 'static,
    ) {
        self.wants_receipt = true;
        self.respond_after_commit(callback);
    }
}
