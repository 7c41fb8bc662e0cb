//! `/log/*/historical*`: what earlier transactions wrote, and the proofs of it.

use crate::{
    records::{self, Message, PRIVATE, PUBLIC, Records},
    standard,
};
use ccf_sdk::{
    SeqNo, TX_ID_HEADER, TxStatus,
    historical::{HISTORICAL_RETRY_SECONDS, HistoricalState, STATES_EXPIRY, SeqNos, StateHandle, historical},
    prelude::*,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// A message of an earlier transaction.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggingGetHistorical::Entry")]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) msg: String,
    pub(crate) seqno: u64,
}

/// Messages of earlier transactions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoggingGetHistoricalSparse::Out")]
struct Entries {
    entries: Vec<Entry>,
}

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/private/historical", historical(get))
            .forwarding(ForwardingRequired::Never)
            .authn(standard())
            .output::<Message>()
            .query::<u64>("id", true),
    )?;
    app.install(
        EndpointDefinition::read_only(
            Method::Get,
            "/log/private/historical_receipt",
            historical(|ctx, state| with_receipt(ctx, state, &PRIVATE, true)),
        )
        .forwarding(ForwardingRequired::Never)
        .authn(standard())
        .query::<u64>("id", true),
    )?;
    app.install(
        EndpointDefinition::read_only(
            Method::Get,
            "/log/public/historical_receipt",
            // The claims are the digest of the message, which the reader can make.
            historical(|ctx, state| with_receipt(ctx, state, &PUBLIC, false)),
        )
        .forwarding(ForwardingRequired::Never)
        .authn(standard())
        .query::<u64>("id", true),
    )?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/private/historical/handle", by_handle)
            .forwarding(ForwardingRequired::Never)
            .authn(standard())
            .query::<u64>("handle", true)
            .query::<u64>("seqno", true),
    )?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/private/historical/sparse", sparse)
            .forwarding(ForwardingRequired::Never)
            .authn(standard())
            .output::<Entries>()
            .query::<u64>("id", true)
            .query::<String>("seqnos", true),
    )
}

/// What the transaction wrote for the number of the request; answers 204 if it wrote nothing for it.
fn message(
    ctx: &mut EndpointContext<'_>,
    state: &HistoricalState,
    table: &Records,
) -> Result<Option<String>, ErrorResponse> {
    let found = state.get(records::table(ctx, table)?.as_ref(), &records::id(ctx)?)?;
    if found.is_none() {
        ctx.response.status = 204;
    }
    Ok(found)
}

fn get(ctx: &mut EndpointContext<'_>, state: &HistoricalState) -> Result<(), ErrorResponse> {
    match message(ctx, state, &PRIVATE)? {
        Some(msg) => ctx.respond_json(&Message { msg }),
        None => Ok(()),
    }
}

fn with_receipt(
    ctx: &mut EndpointContext<'_>,
    state: &HistoricalState,
    table: &Records,
    claims: bool,
) -> Result<(), ErrorResponse> {
    let Some(msg) = message(ctx, state, table)? else { return Ok(()) };
    let mut receipt = receipt_value(state)?;
    if let (false, Some(components)) = (claims, receipt["leaf_components"].as_object_mut()) {
        components.remove("claims_digest");
    }
    ctx.respond_json(&json!({ "msg": msg, "receipt": receipt }))
}

fn receipt_value(state: &HistoricalState) -> Result<Value, ErrorResponse> {
    let receipt = state.receipt().json();
    let receipt = receipt.ok_or_else(|| ErrorResponse::internal("No receipt in JSON is available."))?;
    serde_json::to_value(receipt).map_err(|e| ErrorResponse::internal(e.to_string()))
}

fn by_handle(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let query = ctx.request().query();
    let (handle, seqno) = (query.required("handle")?, SeqNo(query.required("seqno")?));
    committed(ctx, seqno)?;
    let wanted = wanted(SeqNos::one(seqno))?;
    let states = ctx.historical()?.states(StateHandle(handle), &wanted, STATES_EXPIRY).map_err(failed)?;
    match states.as_ref().and_then(|states| states.first()) {
        Some(state) => ctx.respond_json(&receipt_value(state)?),
        None => pending(ctx, "Pending"),
    }
}

fn sparse(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let query = ctx.request().query();
    let (id, list): (u64, String) = (query.required("id")?, query.required("seqnos")?);
    let parsed = list.split(',').map(|seqno| seqno.trim().parse().map(SeqNo)).collect::<Result<Vec<_>, _>>();
    let seqnos = parsed.map_err(|_| ErrorResponse::invalid_query("seqnos must be numbers with commas"))?;
    let wanted = wanted(SeqNos::set(seqnos))?;
    committed(ctx, wanted.last())?;
    // Requests about the same transactions share a handle.
    let digest = ccf_sdk::sha256(format!("sparse {id} {list}").as_bytes());
    let handle = StateHandle(digest.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)));
    let states = ctx.historical()?.states(handle, &wanted, STATES_EXPIRY).map_err(failed)?;
    match states {
        Some(states) => {
            let entries = entries(&states, &PRIVATE, id)?;
            ctx.respond_json(&Entries { entries })
        }
        None => pending(ctx, "Pending"),
    }
}

/// What the transactions wrote for one number.
pub(crate) fn entries(
    states: &[std::sync::Arc<HistoricalState>],
    table: &Records,
    id: u64,
) -> Result<Vec<Entry>, ErrorResponse> {
    let mut entries = Vec::new();
    for state in states {
        if let Some(msg) = state.get(table, &id)? {
            entries.push(Entry { id, msg, seqno: state.tx_id().seqno.0 });
        }
    }
    Ok(entries)
}

/// Refuses what is not committed.
fn committed(ctx: &EndpointContext<'_>, seqno: SeqNo) -> Result<(), ErrorResponse> {
    let view = ctx.node().view_of(seqno);
    let status = view.map(|view| ctx.node().tx_status(ccf_sdk::TxId { view, seqno }));
    if status == Some(TxStatus::Committed) {
        return Ok(());
    }
    let message = format!("Only committed transactions can be queried: {TX_ID_HEADER} {seqno} is not.");
    Err(ErrorResponse::new(ErrorCode::InvalidHeaderValue, message))
}

pub(crate) fn wanted<E: std::fmt::Display>(set: Result<SeqNos, E>) -> Result<SeqNos, ErrorResponse> {
    set.map_err(|error| ErrorResponse::invalid_input(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "the end of a chain")]
pub(crate) fn failed(error: ccf_sdk::historical::HistoricalError) -> ErrorResponse {
    ErrorResponse::internal(error.to_string())
}

/// Answers that it takes a moment.
pub(crate) fn pending(ctx: &mut EndpointContext<'_>, text: &'static str) -> Result<(), ErrorResponse> {
    ctx.response.status = 202;
    ctx.response.headers.set("retry-after", u64::from(HISTORICAL_RETRY_SECONDS));
    ctx.response.set_body("text/plain", text);
    Ok(())
}
