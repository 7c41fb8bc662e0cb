//! `/log/public`: messages in clear in the ledger, with entity tags.

use crate::{
    etag::{self, Preconditions},
    records::{self, Message, PUBLIC, Record},
    standard,
};
use ccf_sdk::{RedirectionStrategy, prelude::*, sha256};

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/public", json(record))
            .authn(standard())
            .input::<Record>()
            .output::<bool>()
            .query::<String>("scope", false),
    )?;
    for (path, to) in
        [("/log/public", RedirectionStrategy::None), ("/log/public/backup", RedirectionStrategy::ToBackup)]
    {
        app.install(
            EndpointDefinition::read_only(Method::Get, path, get)
                .redirection(to)
                .authn(standard())
                .output::<Message>()
                .query::<u64>("id", true)
                .query::<String>("scope", false),
        )?;
    }
    app.install(
        EndpointDefinition::read_write(Method::Delete, "/log/public", remove)
            .authn(standard())
            .output::<bool>()
            .query::<u64>("id", true)
            .query::<String>("scope", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Delete, "/log/public/all", json_answer(clear))
            .authn(standard())
            .output::<bool>()
            .query::<String>("scope", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Get, "/log/public/count", json_answer(count))
            .authn(standard())
            .output::<u64>()
            .query::<String>("scope", false),
    )
}

fn record(ctx: &mut EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let record = record.checked()?;
    let preconditions = Preconditions::of(ctx.request().headers())?;
    if !preconditions.is_empty() {
        let table = records::table(ctx, &PUBLIC)?;
        if let Some(old) = ctx.tx.ro(table.as_ref()).get(&record.id)? {
            let tag = etag::of(&old);
            if preconditions.match_fails(&tag) || preconditions.none_match_fails(&tag) {
                return Err(etag::changed());
            }
        }
    }
    records::write(ctx, &PUBLIC, record.id, &record.msg)?;
    let digest = sha256(record.msg.as_bytes());
    if record.record_claim {
        ctx.set_claims_digest(digest);
    }
    ctx.response.headers.set("etag", digest.to_string());
    Ok(true)
}

fn get(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let message = records::read(ctx, &PUBLIC)?;
    let preconditions = Preconditions::of(ctx.request().headers())?;
    let tag = etag::of(&message.msg);
    if preconditions.match_fails(&tag) {
        return Err(etag::changed());
    }
    let unchanged = preconditions.none_match_fails(&tag);
    ctx.response.headers.set("etag", tag);
    if unchanged {
        ctx.response.status = 304;
        return Ok(());
    }
    ctx.respond_json(&message)
}

fn remove(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = records::id(ctx)?;
    let preconditions = Preconditions::of(ctx.request().headers())?;
    let table = records::table(ctx, &PUBLIC)?;
    let records = ctx.tx.rw(table.as_ref());
    let old = records.get(&id)?;
    if let Some(old) = &old {
        let tag = etag::of(old);
        if preconditions.match_fails(&tag) {
            return Err(etag::changed());
        }
        if preconditions.none_match_fails(&tag) {
            ctx.response.status = 304;
            return Ok(());
        }
    }
    records.remove(&id)?;
    ctx.respond_json(&old.is_some())
}

fn clear(ctx: &mut EndpointContext<'_>) -> Result<bool, ErrorResponse> {
    ctx.tx.rw(records::table(ctx, &PUBLIC)?.as_ref()).clear();
    Ok(true)
}

fn count(ctx: &mut EndpointContext<'_>) -> Result<usize, ErrorResponse> {
    Ok(ctx.tx.ro(records::table(ctx, &PUBLIC)?.as_ref()).size())
}
