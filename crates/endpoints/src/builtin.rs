//! The endpoints of every frontend: `/commit`, `/tx`, `/receipt`, `/receipt/cose`, `/api` (applications
//! specification, section 11).

use crate::{
    adapter::json_answer,
    context::EndpointContext,
    dispatch::TxStatus,
    endpoint::EndpointDefinition,
    error::{ErrorCode, ErrorResponse},
    historical::{built_in_cose_receipt, built_in_receipt},
    http::Method,
    openapi::{self, AnyJson, Cose, SchemaRef, TransactionId},
};
use ccf_types::{TxId, View};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Answer of `/commit`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetCommit__Out")]
struct GetCommit {
    #[schemars(with = "TransactionId")]
    transaction_id: TxId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<TransactionId>>")]
    view_history: Vec<TxId>,
}

/// Answer of `/tx`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetTxStatus__Out")]
struct GetTxStatus {
    #[schemars(with = "TransactionId")]
    transaction_id: TxId,
    status: TxStatus,
}

/// The definitions, without a frontend.
pub(crate) fn endpoints() -> Vec<EndpointDefinition> {
    vec![
        EndpointDefinition::command(Method::Get, "/commit", json_answer(get_commit))
            .query::<bool>("view_history", false)
            .query::<u64>("view_history_since", false)
            .output::<GetCommit>()
            .summary("Latest committed transaction")
            .description(
                "The last transaction that is committed for good, and on request where each view began.",
            ),
        EndpointDefinition::command(Method::Get, "/tx", json_answer(get_tx))
            .query::<TransactionId>("transaction_id", true)
            .output::<GetTxStatus>()
            .summary("Status of a transaction")
            .description(
                "Whether a transaction is unknown here, pending, committed for good, or will never be.",
            ),
        EndpointDefinition::read_only(Method::Get, "/receipt", built_in_receipt)
            .query::<TransactionId>("transaction_id", true)
            .output::<AnyJson>()
            .summary("Receipt of a transaction")
            .description("A signed proof that the transaction is in the ledger, for offline verification."),
        EndpointDefinition::read_only(Method::Get, "/receipt/cose", built_in_cose_receipt)
            .query::<TransactionId>("transaction_id", true)
            .output_as(200, "application/cose", Some(SchemaRef::of::<Cose>()))
            .summary("COSE receipt of a transaction")
            .description("The receipt of a transaction as a COSE message."),
        EndpointDefinition::read_only(Method::Get, "/api", json_answer(get_api))
            .output::<AnyJson>()
            .summary("OpenAPI document of this part of the API"),
    ]
}

fn get_commit(context: &mut EndpointContext<'_>) -> Result<GetCommit, ErrorResponse> {
    let query = context.request().query();
    let node = context.node();
    let mut view_history = Vec::new();
    if let Ok(Some(since)) = query.optional::<u64>("view_history_since") {
        let invalid = |status| {
            let message = "Invalid value for view_history_since, must be in range [1, current_term]";
            ErrorResponse::with_status(status, ErrorCode::InvalidQueryParameterValue, message)
        };
        if since == 0 {
            return Err(invalid(400));
        }
        if View(since) > node.view() {
            return Err(invalid(404));
        }
        view_history = node.view_history(View(since));
    }
    match query.get("view_history") {
        None if query.iter().any(|(name, _)| name == b"view_history") => return Err(bad_view_history()),
        None => {}
        Some("true") => view_history = node.view_history(View(1)),
        Some("false") => view_history = Vec::new(),
        Some(_) => return Err(bad_view_history()),
    }
    Ok(GetCommit { transaction_id: node.committed(), view_history })
}

fn bad_view_history() -> ErrorResponse {
    ErrorResponse::invalid_query("Invalid value for view_history, must be one of [true, false] when present")
}

/// A transaction ID whose parts are both at least 1.
pub(crate) fn parse_tx_id(text: &str) -> Option<TxId> {
    text.parse::<TxId>().ok().filter(|id| id.view.0 > 0 && id.seqno.0 > 0)
}

fn get_tx(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let text: String = context.request().query().required("transaction_id")?;
    let Some(transaction_id) = parse_tx_id(&text) else {
        return Err(ErrorResponse::invalid_query(format!(
            "The value '{text}' passed as query parameter 'transaction_id' could not be converted to a valid Transaction ID."
        )));
    };
    let status = context.node().tx_status(transaction_id);
    // By way of a value, so that the members come out sorted; the schema keeps the declared order.
    serde_json::to_value(GetTxStatus { transaction_id, status })
        .map_err(|e| ErrorResponse::internal(e.to_string()))
}

fn get_api(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    openapi::document(context.registry(), &context.tx).map_err(|e| ErrorResponse::internal(e.to_string()))
}
