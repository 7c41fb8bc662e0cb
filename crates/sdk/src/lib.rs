//! What the author of a native application imports.
//!
//! An application is a function that declares endpoints; a binary hands it to the node:
//!
//! ```
//! use ccf_sdk::prelude::*;
//!
//! /// Balances by account; private, since the name does not begin with `public:`.
//! const ACCOUNTS: TypedMap<String, u64, Json, Json> = TypedMap::new("accounts");
//!
//! fn deposit(ctx: &mut EndpointContext<'_>, amount: u64) -> Result<u64, ErrorResponse> {
//!     let account = ctx.param("account")?;
//!     let accounts = ctx.tx.rw(&ACCOUNTS);
//!     let balance = accounts.get(&account)?.unwrap_or(0).saturating_add(amount);
//!     accounts.put(&account, &balance)?;
//!     Ok(balance)
//! }
//!
//! pub fn endpoints() -> Result<Registry, InvalidTemplate> {
//!     let mut app = Registry::new(Frontend::App);
//!     app.install(
//!         EndpointDefinition::read_write(Method::Post, "/accounts/{account}", json(deposit))
//!             .authn([authn::user_cert()])
//!             .input::<u64>()
//!             .output::<u64>(),
//!     )?;
//!     Ok(app)
//! }
//! # endpoints().unwrap();
//! ```
//!
//! and in `main.rs`: `ccf_node::run(Application::native("bank", |_| bank::endpoints().map_err(|e| e.to_string())))`.
//!
//! Handlers run against a transaction, `ctx.tx`: reads see one state of the store, writes are applied when
//! the answer is 2xx, and the whole handler runs again when another transaction got in the way, so keep
//! other effects out of it.
#![forbid(unsafe_code)]

pub mod authn;

pub use ccf_endpoints::{
    Caller, CommitNotice, Decision, EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse,
    ForwardingRequired, FromQuery, Frontend, Headers, InvalidTemplate, Method, Params, Query,
    RedirectionStrategy, Registry, Request, Response, TX_ID_HEADER, TxStatus, base64, historical, indexing,
    json, json_answer, openapi, sha256, tables,
};
pub use ccf_kv::{
    Codec, CodecError, Encoded, Json, KvError, MapHandle, MapReader, Raw, SmallBytes, Tx, TypedMap, TypedSet,
    TypedValue,
};
pub use ccf_types::{Digest, InvalidMapName, MapName, MemberId, SeqNo, TxId, UserId, View};

/// Everything a usual application needs, in one line.
pub mod prelude {
    pub use crate::{
        Caller, EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, Frontend,
        InvalidTemplate, Json, Method, Raw, RedirectionStrategy, Registry, TypedMap, TypedSet, TypedValue,
        authn, json, json_answer,
    };
}
