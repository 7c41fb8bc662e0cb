//! Messages, their tables, and what requests about them look like.

use ccf_sdk::{EndpointContext, ErrorCode, ErrorResponse, Json, MapName, TypedMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A table of messages by number.
pub(crate) type Records = TypedMap<u64, String, Json, Json>;

/// Messages only this service can read.
pub(crate) static PRIVATE: Records = TypedMap::new("records");

/// Messages everybody can read in the ledger.
pub(crate) static PUBLIC: Records = TypedMap::new("public:records");

/// A message to record.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LoggingRecord::In")]
pub(crate) struct Record {
    /// Its number.
    pub(crate) id: u64,
    /// Its text.
    pub(crate) msg: String,
    /// Whether the digest of the text becomes a claim of the transaction.
    #[serde(default)]
    pub(crate) record_claim: bool,
}

/// A recorded message.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggingGet::Out")]
pub(crate) struct Message {
    /// Its text.
    pub(crate) msg: String,
}

impl Record {
    /// Refuses empty messages.
    pub(crate) fn checked(self) -> Result<Record, ErrorResponse> {
        if self.msg.is_empty() {
            return Err(ErrorResponse::invalid_input("Cannot record an empty log message."));
        }
        Ok(self)
    }
}

/// The table a request is about.
pub(crate) fn table<'t>(
    ctx: &EndpointContext<'_>,
    base: &'t Records,
) -> Result<Cow<'t, Records>, ErrorResponse> {
    match ctx.request().query().get("scope") {
        None => Ok(Cow::Borrowed(base)),
        Some(scope) => {
            let name = MapName::parse(&format!("{}-{scope}", base.name().as_str()));
            Ok(Cow::Owned(TypedMap::named(name.map_err(|e| ErrorResponse::invalid_query(e.to_string()))?)))
        }
    }
}

/// The number a request is about.
pub(crate) fn id(ctx: &EndpointContext<'_>) -> Result<u64, ErrorResponse> {
    ctx.request().query().required("id")
}

/// 404 for a number without a message.
pub(crate) fn missing(id: u64) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ResourceNotFound, format!("No such record: {id}."))
}

/// The recorded message of a request.
pub(crate) fn read(ctx: &EndpointContext<'_>, base: &Records) -> Result<Message, ErrorResponse> {
    let id = id(ctx)?;
    let msg = ctx.tx.ro(table(ctx, base)?.as_ref()).get(&id)?;
    msg.map(|msg| Message { msg }).ok_or_else(|| missing(id))
}

/// Stores a message.
pub(crate) fn write(
    ctx: &EndpointContext<'_>,
    base: &Records,
    id: u64,
    msg: &String,
) -> Result<(), ErrorResponse> {
    Ok(ctx.tx.wo(table(ctx, base)?.as_ref()).put(&id, msg)?)
}
