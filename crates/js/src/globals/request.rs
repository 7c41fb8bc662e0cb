//! The request object (applications specification, sections 5.4 and 5.5).
//!
//! `headers` and `caller` are filled in when the script first looks, as most scripts use neither: until then
//! they are accessor properties, listed like any other. The functions of `body` and these two always read the request
//! in progress, also on an object kept from an earlier one.

use crate::engine::value::{Atom, JsResult, Scope, Val};
use crate::host::{Host, Invocation, Names, Prepared};
use ccf_endpoints::tables::{MEMBER_CERTS, MEMBER_INFO, USER_CERTS, USER_INFO};
use ccf_endpoints::{Caller, Headers};
use ccf_kv::Tx;
use ccf_types::MapName;
use smallvec::SmallVec;

/// What the request object needs beyond the invocation.
pub(crate) struct RequestParts<'a> {
    /// `/app` and the endpoint's template.
    pub(crate) route: &'a str,
    /// Names and raw values captured of the path.
    pub(crate) params: SmallVec<[(&'a str, &'a [u8]); 4]>,
}

/// The argument of an endpoint function.
pub(crate) fn build<'s>(
    scope: Scope<'s>,
    call: &Invocation<'_>,
    parts: &RequestParts<'_>,
) -> JsResult<Val<'s>> {
    let (Some(prepared), Some(request)) = (scope.host().prepared.get(), call.request) else {
        return Err(scope.throw_internal("No request in progress"));
    };
    let names: Names = prepared.names;
    let object = scope.object()?;
    let lazy =
        |name: Atom, getter, setter| object.define_accessor(name, &scope.kept(getter), &scope.kept(setter));
    lazy(names.headers, prepared.headers_getter, prepared.headers_setter)?;
    let query = request.query().as_bytes();
    object.set_atom(names.query, bytes(scope, query)?)?;
    object.set_atom(names.path, bytes(scope, request.path())?)?;
    object.set_atom(names.method, scope.string(request.method().as_str())?)?;
    let host = request.headers().get("host");
    object.set_atom(names.hostname, host.map_or_else(|| Ok(scope.null()), |h| bytes(scope, h))?)?;
    object.set_atom(names.route, scope.string(parts.route)?)?;
    let url = if query.is_empty() {
        bytes(scope, request.path())?
    } else {
        let mut url = SmallVec::<[u8; 256]>::from_slice(request.path());
        url.push(b'?');
        url.extend_from_slice(query);
        bytes(scope, &url)?
    };
    object.set_atom(names.url, url)?;
    let params = scope.object()?;
    for (name, value) in &parts.params {
        params.set(name, bytes(scope, value)?)?;
    }
    object.set_atom(names.params, params)?;
    object.set_atom(names.body, scope.object_of(&scope.kept(prepared.body_prototype))?)?;
    if call.caller.is_some() {
        lazy(names.caller, prepared.caller_getter, prepared.caller_setter)?;
    } else {
        object.set_atom(names.caller, scope.null())?;
    }
    Ok(object)
}

pub(super) fn get_headers<'s>(scope: Scope<'s>, this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let headers = in_call(scope, |call| match call.request {
        Some(request) => headers_object(scope, request.headers()),
        None => scope.object(),
    })?;
    settle(scope, this, headers, |names| names.headers)
}

pub(super) fn set_headers<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    settle(scope, this, first(scope, args), |names| names.headers)
}

pub(super) fn get_caller<'s>(scope: Scope<'s>, this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let caller = in_call(scope, |call| match call.caller {
        Some(caller) => caller_object(scope, call.tx, caller),
        None => Ok(scope.null()),
    })?;
    settle(scope, this, caller, |names| names.caller)
}

pub(super) fn set_caller<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    settle(scope, this, first(scope, args), |names| names.caller)
}

pub(super) fn body_text<'s>(scope: Scope<'s>, _this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    in_call(scope, |call| bytes(scope, body(call)))
}

pub(super) fn body_json<'s>(scope: Scope<'s>, _this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    in_call(scope, |call| match std::str::from_utf8(body(call)) {
        Ok(text) => scope.parse_json(text.as_bytes()),
        Err(_) => scope.parse_json(String::from_utf8_lossy(body(call)).as_bytes()),
    })
}

pub(super) fn body_array_buffer<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    _args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    in_call(scope, |call| scope.buffer(body(call)))
}

fn body<'a>(call: &Invocation<'a>) -> &'a [u8] {
    call.request.map_or(&[], |request| request.body())
}

fn in_call<'s>(
    scope: Scope<'s>,
    f: impl for<'x> FnOnce(&Invocation<'x>) -> JsResult<Val<'s>>,
) -> JsResult<Val<'s>> {
    let host: &Host = scope.host();
    host.impure.set(true);
    host.invocation.with(f).unwrap_or_else(|| Err(scope.throw_type("No request in progress")))
}

/// Turns the accessor into a plain property.
fn settle<'s>(
    scope: Scope<'s>,
    this: &Val<'s>,
    value: Val<'s>,
    name: fn(&Names) -> Atom,
) -> JsResult<Val<'s>> {
    if let Some(Prepared { names, .. }) = scope.host().prepared.get().filter(|_| this.is_object()) {
        this.set_atom(name(&names), value.clone())?;
    }
    Ok(value)
}

fn first<'s>(scope: Scope<'s>, args: &[Val<'s>]) -> Val<'s> {
    args.first().cloned().unwrap_or_else(|| scope.undefined())
}

fn bytes<'s>(scope: Scope<'s>, raw: &[u8]) -> JsResult<Val<'s>> {
    match std::str::from_utf8(raw) {
        Ok(text) => scope.string(text),
        Err(_) => scope.string_lossy(raw),
    }
}

fn headers_object<'s>(scope: Scope<'s>, headers: &Headers) -> JsResult<Val<'s>> {
    let mut sorted: SmallVec<[(&str, &[u8]); 16]> = headers.iter().collect();
    sorted.sort_by_key(|(name, _)| *name); // stable: the first of equal names stays first
    sorted.dedup_by_key(|(name, _)| *name);
    let object = scope.object()?;
    for (name, value) in sorted {
        object.set(name, bytes(scope, value)?)?;
    }
    Ok(object)
}

fn caller_object<'s>(scope: Scope<'s>, tx: &Tx, caller: &Caller) -> JsResult<Val<'s>> {
    let object = scope.object()?;
    let policy = |object: &Val<'s>, name: &str| object.set("policy", scope.string(name)?);
    match caller {
        Caller::NoAuth => policy(&object, "no_auth")?,
        Caller::User(id) => {
            policy(&object, "user_cert")?;
            identity(&object, tx, id.as_str(), &USERS)?;
        }
        Caller::Member(id) => {
            policy(&object, "member_cert")?;
            identity(&object, tx, id.as_str(), &MEMBERS)?;
        }
        Caller::UserCose(signed) => {
            let cose = scope.object()?;
            cose.set("content", scope.buffer(&signed.content)?)?;
            object.set("cose", cose)?;
            policy(&object, "user_cose_sign1")?;
            identity(&object, tx, signed.user_id.as_str(), &USERS)?;
        }
        Caller::AnyCert(certificate) => {
            policy(&object, "any_cert")?;
            object.set("cert", scope.string(certificate.pem())?)?;
        }
        Caller::Jwt(token) => {
            policy(&object, "jwt")?;
            let jwt = scope.object()?;
            jwt.set("keyIssuer", scope.string(&token.key_issuer)?)?;
            jwt.set("header", scope.parse_json(token.header.to_string().as_bytes())?)?;
            jwt.set("payload", scope.parse_json(token.payload.to_string().as_bytes())?)?;
            object.set("jwt", jwt)?;
        }
        Caller::AllOf(members) => {
            let names = scope.array()?;
            for (i, (name, member)) in (0u32..).zip(members.iter()) {
                object.set(name, caller_object(scope, tx, member)?)?;
                names.set_index(i, scope.string(name)?)?;
            }
            object.set("policy", names)?;
        }
        _ => {
            let reason = "Unable to convert caller info to JS object";
            let thrown = scope.throw_fatal(reason);
            scope.host().invocation.with(|call| *call.fatal.borrow_mut() = Some(reason.to_owned()));
            return Err(thrown);
        }
    }
    Ok(object)
}

/// Where the data and certificate of a kind of principal stand.
struct Principals {
    info: MapName,
    data: &'static str,
    certs: MapName,
}

static USERS: std::sync::LazyLock<Principals> = std::sync::LazyLock::new(|| Principals {
    info: USER_INFO.name().clone(),
    data: "user_data",
    certs: USER_CERTS.name().clone(),
});
static MEMBERS: std::sync::LazyLock<Principals> = std::sync::LazyLock::new(|| Principals {
    info: MEMBER_INFO.name().clone(),
    data: "member_data",
    certs: MEMBER_CERTS.name().clone(),
});

fn identity<'s>(object: &Val<'s>, tx: &Tx, id: &str, principals: &Principals) -> JsResult<()> {
    let scope = object.scope();
    object.set("id", scope.string(id)?)?;
    let data = tx.raw(&principals.info).get_with(id.as_bytes(), |info| match info {
        Some(info) => scope.parse_json(info)?.get(principals.data),
        None => Ok(scope.null()),
    })?;
    object.set("data", if data.is_undefined() { scope.null() } else { data })?;
    let cert = tx.raw(&principals.certs).get_with(id.as_bytes(), |pem| match pem {
        Some(pem) => bytes(scope, pem),
        None => Ok(scope.null()),
    })?;
    object.set("cert", cert)
}
