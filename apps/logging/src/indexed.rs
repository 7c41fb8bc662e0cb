//! `/log/public/historical/range` and `/log/private/committed`: what an index finds.

use crate::{
    historical::{Entry, entries, failed, pending, wanted},
    records::{self, PRIVATE, PUBLIC},
    standard,
};
use ccf_sdk::{
    Codec, Json, SeqNo, TxId, TxStatus,
    historical::{STATES_EXPIRY, SeqNos, StateHandle},
    indexing::{Buckets, Indexing, Lazy, SeqnosByKey, SeqnosByKeyBucketed, Strategy},
    prelude::*,
};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// Transactions in one page of an answer.
const PAGE: u64 = 10_000;

/// One bucket holds as many transactions as a page; an answer needs two of them.
const BUCKETS: Buckets = Buckets { seqnos_per_bucket: PAGE, max_buckets: 20 };

type PublicIndex = Lazy<SeqnosByKeyBucketed>;

/// One page of messages.
#[derive(Serialize)]
struct Page {
    #[serde(rename = "@nextLink", skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
    entries: Vec<Entry>,
}

pub(crate) fn install(app: &mut Registry, indexing: Option<&dyn Indexing>) -> Result<(), InvalidTemplate> {
    let index = indexing.map(|indexing| {
        let by_key = SeqnosByKeyBucketed::new(PUBLIC.name().clone(), BUCKETS, indexing.files());
        let index: Arc<PublicIndex> = Arc::new(Lazy::new(by_key));
        indexing.install(Arc::clone(&index) as Arc<dyn Strategy>);
        index
    });
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/public/historical/range", move |ctx| {
            let none = || ErrorResponse::internal("This node has no indexes.");
            range(ctx, index.as_deref().ok_or_else(none)?)
        })
        .forwarding(ForwardingRequired::Never)
        .authn(standard())
        .query::<u64>("id", true)
        .query::<u64>("from_seqno", false)
        .query::<u64>("to_seqno", false),
    )?;
    let committed = Arc::new(SeqnosByKey::new(PRIVATE.name().clone()));
    let (to_install, to_ask) = (Arc::clone(&committed), committed);
    app.install(EndpointDefinition::command(
        Method::Post,
        "/log/private/install_committed_index",
        move |ctx| {
            let index = Arc::clone(&to_install) as Arc<dyn Strategy>;
            answer(ctx, |indexing| indexing.install(index), "Already installed")
        },
    ))?;
    app.install(EndpointDefinition::command(
        Method::Post,
        "/log/private/uninstall_committed_index",
        |ctx| {
            let name = format!("SeqnosByKey {}", PRIVATE.name());
            answer(ctx, |indexing| indexing.uninstall(&name), "Not currently installed")
        },
    ))?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/private/committed", move |ctx| {
            last_committed(ctx, &to_ask)
        })
        .query::<u64>("id", true),
    )
}

fn answer(
    ctx: &mut EndpointContext<'_>,
    change: impl FnOnce(&dyn Indexing) -> bool,
    refusal: &'static str,
) -> Result<(), ErrorResponse> {
    if !ctx.node().indexing().is_some_and(change) {
        ctx.response.status = 412;
        ctx.response.set_body("text/plain", refusal);
    }
    Ok(())
}

/// The value that the newest indexed transaction gave to a number.
fn last_committed(ctx: &mut EndpointContext<'_>, index: &SeqnosByKey) -> Result<(), ErrorResponse> {
    let id = records::id(ctx)?;
    let installed = ctx
        .node()
        .indexing()
        .is_some_and(|indexing| indexing.installed().iter().any(|strategy| strategy.name() == index.name()));
    if !installed {
        return Err(ErrorResponse::internal("The index is not installed."));
    }
    let watermark = index.watermark();
    let all = index.seqnos(&key(id)?, SeqNo(1), watermark.seqno.max(SeqNo(1)), usize::MAX);
    let newest = all.ok().flatten().and_then(|all| all.last().copied());
    let Some(newest) = newest else {
        let error = json!({ "error": {
            "code": "ResourceNotFound",
            "current_txid": watermark.to_string(),
            "message": format!("No such record: {id}."),
        }});
        ctx.respond_json(&error)?;
        ctx.response.status = 400;
        return Ok(());
    };
    let wanted = wanted(SeqNos::one(newest))?;
    let states = ctx.historical()?.states(StateHandle(newest.0), &wanted, STATES_EXPIRY).map_err(failed)?;
    match states.as_ref().and_then(|states| states.first()) {
        Some(state) => {
            let msg = state.get(&PRIVATE, &id)?;
            ctx.respond_json(&json!({ "msg": msg }))
        }
        None => pending(ctx, "Pending"),
    }
}

fn range(ctx: &mut EndpointContext<'_>, index: &PublicIndex) -> Result<(), ErrorResponse> {
    let query = ctx.request().query();
    let id: u64 = query.required("id")?;
    let from = SeqNo(query.optional::<u64>("from_seqno")?.unwrap_or(1).max(1));
    let to = match query.optional::<u64>("to_seqno")? {
        Some(to) => SeqNo(to),
        None => {
            let written = ctx.tx.ro(&PUBLIC).version_of_previous_write(&id)?;
            written.unwrap_or_else(|| ctx.node().committed().seqno)
        }
    };
    if to < from {
        let message = format!("Invalid range: Starts at {from} but ends at {to}");
        return Err(ErrorResponse::invalid_input(message));
    }
    let view = ctx.node().view_of(to);
    let status = view.map(|view| ctx.node().tx_status(TxId { view, seqno: to }));
    if status != Some(TxStatus::Committed) {
        let status = status.unwrap_or(TxStatus::Unknown);
        let message =
            format!("Only committed transactions can be queried. Transaction at seqno {to} is {status}");
        return Err(ErrorResponse::invalid_input(message));
    }
    index.extend_index_to(to);
    if index.watermark().seqno < to {
        return pending(ctx, "The index is still catching up");
    }
    let page_end = SeqNo(from.0.saturating_add(PAGE)).min(to);
    let seqnos = index.seqnos(&key(id)?, from, page_end);
    let Some(seqnos) = seqnos.map_err(|error| ErrorResponse::invalid_input(error.to_string()))? else {
        return pending(ctx, "Still constructing the index");
    };
    let entries = if seqnos.is_empty() {
        Vec::new()
    } else {
        let digest = ccf_sdk::sha256(format!("range {id} {from} {page_end}").as_bytes());
        let handle = StateHandle(digest.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)));
        let wanted = wanted(SeqNos::set(seqnos))?;
        let states = ctx.historical()?.states(handle, &wanted, STATES_EXPIRY).map_err(failed)?;
        let Some(states) = states else { return pending(ctx, "Historical transactions are being fetched") };
        entries(&states, &PUBLIC, id)?
    };
    let next_link = (page_end < to).then(|| {
        let from = page_end.next();
        format!("/app/log/public/historical/range?from_seqno={from}&to_seqno={to}&id={id}")
    });
    ctx.respond_json(&Page { next_link, entries })
}

/// A number as the store has it.
fn key(id: u64) -> Result<Vec<u8>, ErrorResponse> {
    let encoded = <Json as Codec<u64>>::encode(&id);
    encoded.map(|key| key.as_ref().to_vec()).map_err(|error| ErrorResponse::internal(error.to_string()))
}
