//! What `apply` can ask of the node (governance specification, section 8): thin shells around
//! [`GovernanceHost`].

use crate::bundle::install;
use crate::engine::module::parse_apart;
use crate::engine::value::{JsResult, Scope, Val};
use crate::governance::{GovernanceHost, HostError};
use ccf_kv::Tx;

type Args<'a, 's> = &'a [Val<'s>];

pub(super) fn trigger_ledger_rekey<'s>(scope: Scope<'s>, _: &Val<'s>, _: Args<'_, 's>) -> JsResult<Val<'s>> {
    effect(scope, |host, tx| host.trigger_ledger_rekey(tx))
}

pub(super) fn trigger_recovery_shares_refresh<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    _: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    effect(scope, |host, tx| host.trigger_recovery_shares_refresh(tx))
}

pub(super) fn trigger_ledger_chunk<'s>(scope: Scope<'s>, _: &Val<'s>, _: Args<'_, 's>) -> JsResult<Val<'s>> {
    effect(scope, |host, tx| host.trigger_ledger_chunk(tx))
}

pub(super) fn trigger_snapshot<'s>(scope: Scope<'s>, _: &Val<'s>, _: Args<'_, 's>) -> JsResult<Val<'s>> {
    effect(scope, |host, tx| host.trigger_snapshot(tx))
}

pub(super) fn shuffle_sealed_shares<'s>(scope: Scope<'s>, _: &Val<'s>, _: Args<'_, 's>) -> JsResult<Val<'s>> {
    effect(scope, |host, tx| host.shuffle_sealed_shares(tx))
}

pub(super) fn transition_service_to_open<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [previous, next] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let text = |value: &Val<'s>| {
        let bytes =
            value.buffer_bytes().ok_or_else(|| scope.throw_type("Argument must be an ArrayBuffer"))?;
        String::from_utf8(bytes)
            .map_err(|_| scope.throw_type("Argument must be the text of a PEM certificate"))
    };
    let previous = if previous.is_undefined() { None } else { Some(text(previous)?) };
    let next = text(next)?;
    effect(scope, |host, tx| host.transition_service_to_open(tx, previous.as_deref(), &next))
}

pub(super) fn latest_ledger_secret_seqno<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    _: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let seqno = ask(scope, |host, tx| host.latest_ledger_secret_seqno(tx))?;
    Ok(scope.number(seqno.0 as f64))
}

pub(super) fn generate_endorsed_certificate<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [csr, from, days] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let (csr, from, days) = (csr.to_text()?, from.to_text()?, day_count(scope, days)?);
    let pem = ask(scope, |host, tx| host.generate_endorsed_certificate(tx, &csr, &from, days))?;
    scope.string(&pem)
}

pub(super) fn generate_network_certificate<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [from, days] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let (from, days) = (from.to_text()?, day_count(scope, days)?);
    let pem = ask(scope, |host, tx| host.generate_network_certificate(tx, &from, days))?;
    scope.string(&pem)
}

/// Compiles every module of the application and stores the marks that say so. The bytecode itself stays in this
/// process: stored bytecode is never run, because the engine cannot check it.
pub(super) fn refresh_app_bytecode_cache<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    _: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let modules = scope.host().invocation.with(|call| install::start_bytecode_refresh(call.tx));
    for (name, source) in modules.unwrap_or_default() {
        let compiled = match std::str::from_utf8(&source) {
            Ok(text) => parse_apart(&name, text).map_err(|error| error.to_string()),
            Err(_) => Err("source is not UTF-8".to_owned()),
        };
        let bytecode = compiled.map_err(|reason| {
            scope.throw_internal(&format!("Unable to serialize bytecode for JS module '{name}': {reason}"))
        })?;
        scope.host().invocation.with(|call| install::store_bytecode(call.tx, &name, bytecode.as_bytes()));
    }
    Ok(scope.undefined())
}

pub(super) fn set_jwt_public_signing_keys<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let [issuer, metadata, jwks] = args else { return Err(scope.throw_type("Arguments are missing")) };
    let (issuer, metadata, jwks) = (issuer.to_text()?, json(scope, metadata)?, json(scope, jwks)?);
    effect(scope, |host, tx| host.set_jwt_public_signing_keys(tx, &issuer, &metadata, &jwks))
}

pub(super) fn remove_jwt_public_signing_keys<'s>(
    scope: Scope<'s>,
    _: &Val<'s>,
    args: Args<'_, 's>,
) -> JsResult<Val<'s>> {
    let Some(issuer) = args.first() else { return Err(scope.throw_type("Argument is missing")) };
    let issuer = issuer.to_text()?;
    effect(scope, |host, tx| host.remove_jwt_public_signing_keys(tx, &issuer))
}

fn json<'s>(scope: Scope<'s>, value: &Val<'s>) -> JsResult<serde_json::Value> {
    let text = value.to_json()?.to_text()?;
    serde_json::from_str(&text).map_err(|_| scope.throw_type("Argument must be a JSON object"))
}

fn day_count(scope: Scope<'_>, days: &Val<'_>) -> JsResult<u64> {
    u64::try_from(days.to_int64()?).map_err(|_| scope.throw_range("The number of days must not be negative"))
}

fn effect<'s>(
    scope: Scope<'s>,
    f: impl FnOnce(&dyn GovernanceHost, &Tx) -> Result<(), HostError>,
) -> JsResult<Val<'s>> {
    ask(scope, f)?;
    Ok(scope.undefined())
}

fn ask<R>(scope: Scope<'_>, f: impl FnOnce(&dyn GovernanceHost, &Tx) -> Result<R, HostError>) -> JsResult<R> {
    let answer = scope.host().invocation.with(|call| call.governance.map(|host| f(host, call.tx)));
    match answer.flatten() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(scope.throw_internal(&error.0)),
        None => Err(scope.throw_internal("Not available in this execution context")),
    }
}
