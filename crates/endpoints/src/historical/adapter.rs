//! Handlers about one past transaction, named by the request (applications specification, section 8.2).

use super::{HistoricalQueries, HistoricalState, STATES_EXPIRY, SeqNos, StateHandle};
use crate::{
    builtin::parse_tx_id,
    context::EndpointContext,
    dispatch::{TX_ID_HEADER, TxStatus},
    error::{ErrorCode, ErrorResponse},
    http::Response,
};
use ccf_kv::UNIT;
use ccf_ledger::{receipt::TransactionReceipt, tables::SERVICE_INFO};
use ccf_types::TxId;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// Where a request names the transaction it is about.
pub type TxIdFrom = fn(&EndpointContext<'_>) -> Option<TxId>;

/// The query parameter of built-in endpoints.
pub const TX_ID_PARAMETER: &str = "transaction_id";

/// After how many seconds a client should come again.
pub const HISTORICAL_RETRY_SECONDS: u32 = 3;

/// A handler that gets the state of the transaction named in the header `x-ms-ccf-transaction-id`. Answers 404 if that is
/// not committed, and 202 until the state is there.
pub fn historical(
    handler: impl Fn(&mut EndpointContext<'_>, &HistoricalState) -> Result<(), ErrorResponse>
    + Send
    + Sync
    + 'static,
) -> impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static {
    historical_in(from_header, handler)
}

/// The same for a transaction named elsewhere.
pub fn historical_in(
    name: TxIdFrom,
    handler: impl Fn(&mut EndpointContext<'_>, &HistoricalState) -> Result<(), ErrorResponse>
    + Send
    + Sync
    + 'static,
) -> impl Fn(&mut EndpointContext<'_>) -> Result<(), ErrorResponse> + Send + Sync + 'static {
    move |ctx| match state_in(ctx, name)? {
        Some(state) => handler(ctx, &state),
        None => Ok(()),
    }
}

/// The state of the transaction named in the header `x-ms-ccf-transaction-id`; none if it is not there yet: the context
/// has then the answer that says so.
///
/// # Errors
/// 404 if the transaction is not committed.
pub fn named_state(ctx: &mut EndpointContext<'_>) -> Result<Option<Arc<HistoricalState>>, ErrorResponse> {
    state_in(ctx, from_header)
}

fn state_in(
    ctx: &mut EndpointContext<'_>,
    name: TxIdFrom,
) -> Result<Option<Arc<HistoricalState>>, ErrorResponse> {
    let (tx_id, queries) = committed(ctx, name)?;
    let found = state(queries, tx_id)?;
    if found.is_none() {
        not_available(ctx, tx_id);
    }
    Ok(found)
}

/// `/receipt`.
pub(crate) fn built_in_receipt(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let Some(receipt) = named_receipt(ctx)? else { return Ok(()) };
    let json = receipt.json().ok_or_else(|| {
        ErrorResponse::internal(format!(
            "Transaction {} has no receipt in JSON: only the service signed the ledger there, not a node. Use /receipt/cose.",
            receipt.tx_id
        ))
    })?;
    ctx.respond_json(&json)
}

/// `/receipt/cose`.
pub(crate) fn built_in_cose_receipt(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let Some(receipt) = named_receipt(ctx)? else { return Ok(()) };
    let cose = receipt.cose().ok_or_else(|| {
        let message = "No COSE receipt available for this transaction.";
        ErrorResponse::new(ErrorCode::ResourceNotFound, message)
    })?;
    ctx.response.set_body("application/cose", cose);
    Ok(())
}

/// The receipt of the transaction in the query; none if the answer is that it takes a moment. Recent transactions need
/// no file.
fn named_receipt(ctx: &mut EndpointContext<'_>) -> Result<Option<TransactionReceipt>, ErrorResponse> {
    let (tx_id, queries) = committed(ctx, from_query)?;
    if let Some(receipt) = queries.receipt(tx_id) {
        return Ok(Some(receipt));
    }
    match state(queries, tx_id)? {
        Some(state) => Ok(Some(state.receipt())),
        None => {
            not_available(ctx, tx_id);
            Ok(None)
        }
    }
}

fn from_header(ctx: &EndpointContext<'_>) -> Option<TxId> {
    parse_tx_id(std::str::from_utf8(ctx.request().headers().get(TX_ID_HEADER)?).ok()?)
}

fn from_query(ctx: &EndpointContext<'_>) -> Option<TxId> {
    parse_tx_id(ctx.request().query().get(TX_ID_PARAMETER)?)
}

/// The transaction named, which is committed and may be read.
fn committed<'a>(
    ctx: &EndpointContext<'a>,
    name: TxIdFrom,
) -> Result<(TxId, &'a dyn HistoricalQueries), ErrorResponse> {
    let invalid = |message: String| ErrorResponse::new(ErrorCode::TransactionInvalid, message);
    let Some(tx_id) = name(ctx) else {
        return Err(invalid("Could not extract Transaction Id".to_owned()));
    };
    let status = ctx.node().tx_status(tx_id);
    let message = format!("Only committed transactions can be queried. Transaction {tx_id} is {status}");
    match status {
        TxStatus::Committed => {}
        TxStatus::Invalid => return Err(invalid(message)),
        TxStatus::Unknown | TxStatus::Pending => {
            return Err(ErrorResponse::new(ErrorCode::TransactionPendingOrUnknown, message)
                .with_header("cache-control", "no-cache"));
        }
    }
    if signed_by_another_service(ctx, tx_id) {
        return Err(invalid(format!(
            "Transaction {tx_id} is not signed by the current service identity key and cannot be retrieved until recovery is complete."
        )));
    }
    Ok((tx_id, queries(ctx)?))
}

/// The past as the node serves it.
pub(crate) fn queries<'a>(ctx: &EndpointContext<'a>) -> Result<&'a dyn HistoricalQueries, ErrorResponse> {
    ctx.node().historical().ok_or_else(|| {
        let message = "Node is not fully configured";
        ErrorResponse::with_status(500, ErrorCode::TransactionPendingOrUnknown, message)
    })
}

/// The members of the service's row that count here.
#[derive(Deserialize)]
struct ServiceRow {
    status: String,
    current_service_create_txid: Option<TxId>,
}

/// While a recovered service is not open, what earlier ones signed is not given out (step 4).
fn signed_by_another_service(ctx: &EndpointContext<'_>, tx_id: TxId) -> bool {
    let row = ctx
        .tx
        .raw(&SERVICE_INFO)
        .get_with(&UNIT, |value| value.and_then(|value| serde_json::from_slice::<ServiceRow>(value).ok()));
    row.is_some_and(|row| {
        row.status != "Open" && row.current_service_create_txid.is_some_and(|first| tx_id.view < first.view)
    })
}

fn state(
    queries: &dyn HistoricalQueries,
    tx_id: TxId,
) -> Result<Option<Arc<HistoricalState>>, ErrorResponse> {
    let failed = |error: String| {
        ErrorResponse::with_status(
            500,
            ErrorCode::TransactionPendingOrUnknown,
            format!("Unable to get historical state for transaction {tx_id}: {error}"),
        )
    };
    let wanted = SeqNos::one(tx_id.seqno).map_err(|e| failed(e.to_string()))?;
    let expiry: Duration = STATES_EXPIRY;
    let states = queries
        .states(StateHandle(tx_id.seqno.0), &wanted, expiry)
        .map_err(|error| failed(error.to_string()))?;
    Ok(states.and_then(|states| states.first().cloned()).filter(|state| state.tx_id() == tx_id))
}

/// Answers that a past transaction is not there yet: 202 with `retry-after`.
pub fn not_available(ctx: &mut EndpointContext<'_>, tx_id: TxId) {
    let mut response = Response::status(202);
    response.headers.set("retry-after", u64::from(HISTORICAL_RETRY_SECONDS));
    response.set_body("text/plain", format!("Historical transaction {tx_id} is not currently available."));
    ctx.response = response;
}
