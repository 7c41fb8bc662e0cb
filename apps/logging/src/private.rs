//! `/log/private`: messages that leave the node only encrypted.

use crate::{
    records::{self, Message, PRIVATE, Record},
    standard,
};
use ccf_sdk::{RedirectionStrategy, TX_ID_HEADER, authn, prelude::*, tables::USER_INFO};
use serde_json::Value;

pub(crate) fn install(app: &mut Registry) -> Result<(), InvalidTemplate> {
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private", json(record))
            .authn(standard())
            .input::<Record>()
            .output::<bool>()
            .query::<String>("scope", false),
    )?;
    for (path, to) in
        [("/log/private", RedirectionStrategy::None), ("/log/private/backup", RedirectionStrategy::ToBackup)]
    {
        app.install(
            EndpointDefinition::read_only(Method::Get, path, json_answer(|ctx| records::read(ctx, &PRIVATE)))
                .redirection(to)
                .authn(standard())
                .output::<Message>()
                .query::<u64>("id", true)
                .query::<String>("scope", false),
        )?;
    }
    app.install(
        EndpointDefinition::read_write(Method::Delete, "/log/private", json_answer(remove))
            .authn(standard())
            .output::<bool>()
            .query::<u64>("id", true)
            .query::<String>("scope", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Delete, "/log/private/all", json_answer(clear))
            .authn(standard())
            .output::<bool>()
            .query::<String>("scope", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Get, "/log/private/count", json_answer(count))
            .authn(standard())
            .output::<u64>()
            .query::<String>("scope", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private/anonymous", json(anonymous))
            .input::<Record>()
            .output::<bool>(),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private/anonymous/v2", anonymous_v2)
            .input::<Record>()
            .query::<bool>("fail", false),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private/prefix_cert", json(prefixed))
            .authn([authn::user_cert()])
            .input::<Record>()
            .output::<bool>(),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private/admin_only", json(admin_only))
            .authn([authn::user_cert()])
            .input::<Record>()
            .output::<bool>(),
    )?;
    app.install(
        EndpointDefinition::read_write(Method::Post, "/log/private/raw_text/{id}", raw_text)
            .authn(standard()),
    )
}

fn record(ctx: &mut EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let record = record.checked()?;
    records::write(ctx, &PRIVATE, record.id, &record.msg)?;
    Ok(true)
}

fn remove(ctx: &mut EndpointContext<'_>) -> Result<bool, ErrorResponse> {
    let id = records::id(ctx)?;
    let table = records::table(ctx, &PRIVATE)?;
    let records = ctx.tx.rw(table.as_ref());
    let existed = records.has(&id)?;
    records.remove(&id)?;
    Ok(existed)
}

fn clear(ctx: &mut EndpointContext<'_>) -> Result<bool, ErrorResponse> {
    ctx.tx.rw(records::table(ctx, &PRIVATE)?.as_ref()).clear();
    Ok(true)
}

fn count(ctx: &mut EndpointContext<'_>) -> Result<usize, ErrorResponse> {
    Ok(ctx.tx.ro(records::table(ctx, &PRIVATE)?.as_ref()).size())
}

fn anonymous(ctx: &mut EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let record = record.checked()?;
    records::write(ctx, &PRIVATE, record.id, &format!("Anonymous: {}", record.msg))?;
    Ok(true)
}

/// Answers after local commit, with the transaction ID in the body.
fn anonymous_v2(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let record = ctx.json_body::<Record>()?.checked()?;
    records::write(ctx, &PRIVATE, record.id, &format!("Anonymous: {}", record.msg))?;
    let fail = ctx.request().query().optional("fail")?.unwrap_or(false);
    ctx.on_local_commit(move |response, tx_id| {
        if fail {
            return Err(ErrorResponse::internal("This request was asked to fail after its commit."));
        }
        response.headers.set(TX_ID_HEADER, tx_id);
        response.set_body("application/json", format!(r#"{{"success":true,"tx_id":"{tx_id}"}}"#));
        Ok(())
    });
    Ok(())
}

fn prefixed(ctx: &mut EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let record = record.checked()?;
    let msg = format!("{}: {}", ctx.user_id()?, record.msg);
    records::write(ctx, &PRIVATE, record.id, &msg)?;
    Ok(true)
}

fn admin_only(ctx: &mut EndpointContext<'_>, record: Record) -> Result<bool, ErrorResponse> {
    let info = ctx.tx.ro(&USER_INFO).get(ctx.user_id()?)?;
    // Sandboxes wrap user data once more, as `{"user_data": {"isAdmin": true}}`.
    let is_admin = info.as_ref().and_then(|info| {
        let data = &info.user_data;
        data.get("isAdmin").or_else(|| data.get("user_data")?.get("isAdmin")).and_then(Value::as_bool)
    });
    if is_admin != Some(true) {
        let message = "Only admins may access this endpoint.";
        return Err(ErrorResponse::new(ErrorCode::AuthorizationFailed, message));
    }
    self::record(ctx, record)
}

fn raw_text(ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let found = ctx.request().headers().get_str("content-type").unwrap_or_default();
    if found != "text/plain" {
        let message = format!("Expected content-type 'text/plain'. Got '{found}'.");
        return Err(ErrorResponse::with_status(415, ErrorCode::InvalidHeaderValue, message));
    }
    let id = ctx.param("id")?;
    let Ok(id) = id.parse() else {
        let message = format!("'{id}' is not the number of a record.");
        return Err(ErrorResponse::new(ErrorCode::InvalidResourceName, message));
    };
    let msg = String::from_utf8_lossy(ctx.request().body()).into_owned();
    records::write(ctx, &PRIVATE, id, &msg)
}
