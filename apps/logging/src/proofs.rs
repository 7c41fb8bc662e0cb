//! COSE receipts, the keys that verify them, and statements that carry them.

use crate::{
    records::{self, PRIVATE, Record},
    standard,
};
use ccf_sdk::{
    CommitNotice, Decision, Raw, Response, TypedValue,
    historical::{
        HistoricalState, NotOurReceipt, UnprotectedValue, cose_signatures_config, historical,
        set_unprotected_header, trusted_keys, verify_own_receipt,
    },
    prelude::*,
    sha256,
};
use serde_json::json;

/// The newest signed statement, without what its unprotected header held.
static STATEMENTS: TypedValue<Vec<u8>, Raw> = TypedValue::new("public:cose_transparent_statements");

/// Where a statement carries its receipts.
const RECEIPTS: i64 = 396;

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    let get = |path, handler: fn(&mut EndpointContext<'_>, &HistoricalState) -> _| {
        EndpointDefinition::read_only(Method::Get, path, historical(handler))
            .forwarding(ForwardingRequired::Never)
    };
    app.install(get("/log/public/cose_receipt", cose_receipt))?;
    app.install(get("/log/public/cose_signature", cose_signature).authn(standard()))?;
    app.install(get("/log/public/cose_endorsements", cose_endorsements).authn(standard()))?;
    app.install(get("/log/transparent_statement", transparent_statement))?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/cose_signatures_config", |ctx| {
            let config = cose_signatures_config(&ctx.tx);
            ctx.respond_json(&config.ok_or_else(|| absent("No COSE signature has been written yet."))?)
        })
        .authn(standard()),
    )?;
    app.install(
        EndpointDefinition::read_write(
            Method::Post,
            "/log/blocking/private/receipt",
            json(|ctx, record: Record| {
                let record = record.checked()?;
                ctx.respond_with_receipt(receipt_as_body);
                records::write(ctx, &PRIVATE, record.id, &record.msg)?;
                Ok(true)
            }),
        )
        .authn(standard())
        .input::<Record>(),
    )?;
    app.install(EndpointDefinition::read_only(Method::Get, "/log/public/trusted_keys", |ctx| {
        match trusted_keys(ctx.historical()?) {
            Some(keys) => ctx.respond_json(&keys),
            None => crate::historical::pending(ctx, "Pending"),
        }
    }))?;
    app.install(EndpointDefinition::read_only(
        Method::Get,
        "/log/public/verify_cose_receipt",
        verify_cose_receipt,
    ))?;
    app.install(EndpointDefinition::read_write(Method::Post, "/log/signed_statement", sign_statement))
}

fn absent(message: &str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ResourceNotFound, message)
}

fn cose_receipt(ctx: &mut EndpointContext<'_>, state: &HistoricalState) -> Result<(), ErrorResponse> {
    let receipt = state.receipt().cose();
    let receipt = receipt.ok_or_else(|| absent("No COSE receipt available for this transaction."))?;
    ctx.response.set_body("application/cose", receipt);
    Ok(())
}

fn cose_signature(ctx: &mut EndpointContext<'_>, state: &HistoricalState) -> Result<(), ErrorResponse> {
    let receipt = state.receipt();
    let signature = receipt.signed.cose();
    let signature = signature.ok_or_else(|| absent("No COSE signature available for this transaction."))?;
    ctx.respond_json(&json!({ "cose_signature": ccf_sdk::base64(signature) }))
}

fn cose_endorsements(ctx: &mut EndpointContext<'_>, state: &HistoricalState) -> Result<(), ErrorResponse> {
    let endorsements = state.receipt().cose_endorsements;
    if endorsements.is_empty() {
        return Err(absent("No COSE endorsements available for this transaction."));
    }
    let endorsements: Vec<String> = endorsements.iter().map(|one| ccf_sdk::base64(one)).collect();
    ctx.respond_json(&json!({ "endorsements": endorsements }))
}

/// The receipt once the transaction is committed, an error if it was lost.
fn receipt_as_body(response: &mut Response, notice: &CommitNotice) -> Result<(), String> {
    if notice.decision == Decision::Invalid {
        let message = format!("While waiting for TxID {} to commit, it was invalidated", notice.tx_id);
        *response = ErrorResponse::with_status(500, ErrorCode::TransactionInvalid, message).into_response();
        return Ok(());
    }
    let receipt = notice.receipt.as_ref().and_then(ccf_sdk::historical::TransactionReceipt::cose);
    let receipt = receipt.ok_or("the receipt of a transaction just committed is not at hand")?;
    response.status = 200;
    response.set_body("application/cose", receipt);
    Ok(())
}

fn verify_cose_receipt(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    if ctx.request().headers().get("content-type") != Some(b"application/cose".as_slice()) {
        let message = "Expected content-type 'application/cose'.";
        return Err(ErrorResponse::with_status(415, ErrorCode::InvalidHeaderValue, message));
    }
    match verify_own_receipt(ctx.historical()?, ctx.request().body()) {
        Ok(()) => {
            ctx.response.status = 204;
            Ok(())
        }
        Err(NotOurReceipt::NotYet) => crate::historical::pending(ctx, "Pending"),
        Err(error) => Err(ErrorResponse::invalid_input(error.to_string())),
    }
}

fn sign_statement(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let statement = set_unprotected_header(ctx.request().body(), UnprotectedValue::Empty);
    let statement = statement.map_err(|error| ErrorResponse::invalid_input(error.to_string()))?;
    ctx.set_claims_digest(sha256(&statement));
    ctx.tx.rw(&STATEMENTS).put(&statement)?;
    Ok(())
}

fn transparent_statement(
    ctx: &mut EndpointContext<'_>,
    state: &HistoricalState,
) -> Result<(), ErrorResponse> {
    let statement = state.get(STATEMENTS.as_map(), &())?;
    let statement = statement.ok_or_else(|| absent("The transaction recorded no signed statement."))?;
    let receipt = state.receipt().cose();
    let receipt = receipt.ok_or_else(|| absent("No COSE receipt available for this transaction."))?;
    let value = UnprotectedValue::List { key: RECEIPTS, value: &receipt };
    let made = set_unprotected_header(&statement, value);
    let made = made.map_err(|error| ErrorResponse::internal(error.to_string()))?;
    ctx.response.set_body("application/cose", made);
    Ok(())
}
