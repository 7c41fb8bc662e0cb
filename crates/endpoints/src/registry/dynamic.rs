//! Endpoints that are data: looked up in the store for each request.

use crate::{
    endpoint::EndpointDefinition,
    http::Method,
    route::{Ambiguous, Captures, MethodSet},
};
use ccf_kv::{KvError, Tx};
use serde_json::Value;
use std::sync::Arc;

/// Endpoints kept in the store, as those of JavaScript applications. They take precedence over the installed
/// ones.
///
/// An implementation parses its table once per version of the table into a [`crate::RouteTable`] and keeps
/// that; reading the table's version through `tx` makes the request depend on it.
pub trait DynamicEndpoints: Send + Sync {
    /// The endpoint of this method and path (without `/app`).
    ///
    /// # Errors
    /// [`DispatchError`] if the look-up itself fails.
    fn find(&self, tx: &Tx, method: Method, path: &[u8]) -> Result<Option<DynamicMatch>, DispatchError>;

    /// Methods under which the path is known.
    ///
    /// # Errors
    /// [`DispatchError`] if the look-up itself fails.
    fn methods(&self, tx: &Tx, path: &[u8]) -> Result<MethodSet, DispatchError>;

    /// What the OpenAPI document says about the endpoints; hidden ones are left out.
    ///
    /// # Errors
    /// [`DispatchError`] if the endpoints cannot be read.
    fn operations(&self, tx: &Tx) -> Result<Vec<DynamicOperation>, DispatchError>;
}

/// An endpoint found in the store, and what its template captured.
#[derive(Clone, Debug)]
pub struct DynamicMatch {
    /// The endpoint.
    pub endpoint: Arc<EndpointDefinition>,
    /// What the endpoint's template captured of the path.
    pub captures: Captures,
}

/// An endpoint in the store, as it documents itself.
#[derive(Clone, Debug)]
pub struct DynamicOperation {
    /// Request method.
    pub method: Method,
    /// Path template with prefix, as `/app/person/{name}`.
    pub full_path: String,
    /// The `openapi` object of its metadata; inserted as it is.
    pub openapi: Value,
}

/// Looking an endpoint up failed: 500 with the message `Exception: <text>`, then the connection closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DispatchError(pub String);

impl From<Ambiguous> for DispatchError {
    fn from(error: Ambiguous) -> Self {
        DispatchError(error.to_string())
    }
}

impl From<KvError> for DispatchError {
    fn from(error: KvError) -> Self {
        DispatchError(error.to_string())
    }
}
