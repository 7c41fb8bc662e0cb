//! The HTTP-facing model without a socket: requests and responses, the registry of endpoints, dispatch,
//! authentication, errors and OpenAPI.
//!
//! A transport parses bytes once into a [`Request`], hands it to the [`Dispatcher`] with its [`Session`]
//! and acts on the [`Outcome`] it gets back. An application declares its endpoints once with an
//! [`EndpointDefinition`] each; routing, authentication and the OpenAPI document all come from there.
//! Nothing here opens a socket, a file or a clock.
//!
//! | To | Use |
//! |---|---|
//! | declare endpoints | [`EndpointDefinition`], [`json`], [`json_answer`], [`Registry::install`] |
//! | write a handler | [`EndpointContext`], [`Query`], [`ErrorResponse`] |
//! | read the past, give receipts | [`historical`](mod@historical) |
//! | index what is committed | [`indexing`] |
//! | identify callers | [`authn`]: the policies, [`Caller`] |
//! | serve requests | [`Dispatcher`], [`Session`], [`NodeView`] (the node implements it), [`Outcome`] |
//! | test endpoints | [`testing::TestService`] |
//! | keep endpoints in the store | [`DynamicEndpoints`], [`RouteTable`] |
#![forbid(unsafe_code)]

mod adapter;
pub mod authn;
mod builtin;
mod context;
mod dispatch;
mod endpoint;
mod error;
mod foreign_json;
pub mod historical;
mod http;
pub mod indexing;
pub mod openapi;
mod registry;
mod route;
mod session;
pub mod tables;
pub mod testing;

/// SHA-256, for claims digests and entity tags.
pub use ccf_crypto::hash::sha256;

/// Bytes as base64 text, for binary members of JSON.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

pub use crate::adapter::{json, json_answer};
pub use crate::authn::{AuthnPolicy, Caller};
pub use crate::context::{EndpointContext, GlobalCommitCallback, LocalCommitCallback};
pub use crate::dispatch::{
    COMMIT_ATTEMPTS_MAX, COMMIT_STATUS_HEADER, CONSISTENCY_HEADER, CommitNotice, CommitRecord, Decision,
    Dispatcher, Handled, Later, NodeView, NotReplicated, Outcome, Pending, RECEIPT_HEADER, RequestEvent,
    Role, TX_ID_HEADER, TxStatus, WAIT_FOR_COMMIT_HEADER, WAIT_MS_MAX, tx_status,
};
pub use crate::endpoint::{
    EndpointDefinition, ForwardingRequired, Frontend, Handler, Mode, QueryParameter, RedirectionStrategy,
};
pub use crate::error::{ErrorCode, ErrorResponse};
pub use crate::foreign_json::parse as parse_json;
pub use crate::http::{
    BodySource, FromQuery, HeaderValue, Headers, HeadersBuilder, InvalidHeader, LongBody, Method, Query,
    Request, RequestHead, Response, ResponseHeaders, UnknownMethod, decode_query, percent_decode,
    status_reason,
};
pub use crate::registry::{DispatchError, DynamicEndpoints, DynamicMatch, DynamicOperation, Registry};
pub use crate::route::{
    Ambiguous, Captures, InvalidTemplate, MethodSet, Params, PathTemplate, Route, RouteTable,
    TEMPLATE_CAPTURES_MAX,
};
pub use crate::session::{
    ACCEPTED_ENDPOINTS_CACHE_MAX, AcceptedEndpoints, CallerCertificate, InterfaceRules, InvalidPattern,
    OperatorFeature, Origin, Session,
};
