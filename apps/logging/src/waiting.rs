//! `/log/blocking`, `/log/private/optional_commit`: answers that wait until their transaction is committed for good
//! (applications specification, section 10.1).

use crate::{
    records::{self, Message, PRIVATE, Record},
    standard,
};
use ccf_sdk::{CommitNotice, Decision, Response, prelude::*};

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/blocking/private", json(record_and_wait))
            .authn(standard())
            .input::<Record>()
            .output::<bool>(),
    )?;
    app.install(
        EndpointDefinition::read_only(Method::Get, "/log/blocking/private", json_answer(get_and_wait))
            .authn(standard())
            .output::<Message>()
            .query::<u64>("id", true),
    )?;
    app.install(
        EndpointDefinition::read_write(
            Method::Post,
            "/log/private/optional_commit",
            json(record_and_maybe_wait),
        )
        .authn(standard())
        .input::<Record>()
        .output::<bool>()
        .query::<bool>("wait_for_commit", false),
    )
}

fn record(ctx: &EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let record = record.checked()?;
    records::write(ctx, &PRIVATE, record.id, &record.msg)?;
    Ok(true)
}

fn record_and_wait(ctx: &mut EndpointContext<'_>, input: Record) -> Result<bool, ErrorResponse> {
    ctx.respond_after_commit(unless_invalid);
    record(ctx, input)
}

fn get_and_wait(ctx: &mut EndpointContext<'_>) -> Result<Message, ErrorResponse> {
    ctx.respond_after_commit(unless_invalid);
    records::read(ctx, &PRIVATE)
}

fn record_and_maybe_wait(ctx: &mut EndpointContext<'_>, input: Record) -> Result<bool, ErrorResponse> {
    if ctx.request().query().get("wait_for_commit") == Some("true") {
        ctx.respond_after_commit(unless_invalid);
    }
    record(ctx, input)
}

/// The handler's response if the transaction is committed, an error if it was lost.
fn unless_invalid(response: &mut Response, notice: &CommitNotice) -> Result<(), String> {
    if notice.decision == Decision::Invalid {
        let message = format!("While waiting for TxID {} to commit, it was invalidated", notice.tx_id);
        *response = ErrorResponse::with_status(500, ErrorCode::TransactionInvalid, message).into_response();
    }
    Ok(())
}
