//! From the value an endpoint function returned to the answer (applications specification, section 5.6).

use crate::engine::exception::ScriptError;
use crate::engine::value::{JsResult, Scope, Val};
use crate::globals::replace_surrogates;
use crate::host::Names;
use bytes::Bytes;
use ccf_endpoints::{Response, status_reason};

/// Why a returned value is no answer.
#[derive(Debug)]
pub(crate) enum BadResult {
    /// Not an object, or a status that is none.
    Invalid(&'static str),
    /// The body has no JSON form; the exception that says so.
    Json(ScriptError),
    /// Reading the value threw.
    Thrown(ScriptError),
}

const NOT_AN_OBJECT: &str = "Invalid endpoint function return value (not an object).";
const STATUS: &str = "Invalid endpoint function return value (status code type).";
pub(crate) const JSON: &str = "Invalid endpoint function return value (error during JSON conversion of body)";

/// The answer, or why there is none. Runs script code (`toJSON`, `toString`, getters), so call it under limits.
pub(crate) fn convert<'s>(scope: Scope<'s>, value: &Val<'s>, names: &Names) -> Result<Response, BadResult> {
    if !value.is_object() {
        return Err(BadResult::Invalid(NOT_AN_OBJECT));
    }
    let thrown = |_| BadResult::Thrown(scope.describe_exception());
    let mut response = Response::default();
    let body = value.get_atom(names.body).map_err(thrown)?;
    set_body(scope, &mut response, &body)?;
    let headers = value.get_atom(names.headers).map_err(thrown)?;
    if headers.is_object() {
        for name in headers.keys().map_err(thrown)? {
            let text = headers.get(&name).and_then(|v| text(&v)).map_err(thrown)?;
            response.headers.set(name, text);
        }
    }
    let status = value.get_atom(names.status_code).map_err(thrown)?;
    if !status.is_undefined() && !status.is_null() {
        response.status = status_code(&status).ok_or(BadResult::Invalid(STATUS))?;
    }
    Ok(response)
}

fn set_body<'s>(scope: Scope<'s>, response: &mut Response, body: &Val<'s>) -> Result<(), BadResult> {
    let thrown = |_| BadResult::Thrown(scope.describe_exception());
    if body.is_undefined() {
        return Ok(());
    }
    if body.is_string() {
        response.set_body("text/plain", utf8(body).map_err(thrown)?);
        return Ok(());
    }
    if let Some(bytes) = body.with_buffer(Bytes::copy_from_slice) {
        response.set_body("application/octet-stream", bytes);
        return Ok(());
    }
    if let Some(bytes) = body.with_typed_array(Bytes::copy_from_slice) {
        response.set_body("application/octet-stream", bytes.map_err(thrown)?);
        return Ok(());
    }
    let json = body.to_json().map_err(|_| BadResult::Json(scope.describe_exception()))?;
    let bytes =
        if json.is_string() { utf8(&json).map_err(thrown)? } else { Bytes::from_static(b"undefined") };
    response.set_body("application/json", bytes);
    Ok(())
}

fn utf8(text: &Val<'_>) -> JsResult<Bytes> {
    text.with_utf8(|bytes| match std::str::from_utf8(bytes) {
        Ok(_) => Bytes::copy_from_slice(bytes),
        Err(_) => Bytes::from(replace_surrogates(bytes)),
    })
}

fn text(value: &Val<'_>) -> JsResult<String> {
    value.with_utf8(replace_surrogates)
}

/// A status that HTTP knows; other numbers become 500. `None` if the value is no 32-bit integer.
fn status_code(value: &Val<'_>) -> Option<u16> {
    let number = value.as_number()?;
    let whole = number as i32;
    if f64::from(whole).to_bits() != number.to_bits() {
        return None;
    }
    let status = u16::try_from(whole).unwrap_or(0);
    let known = (200..600).contains(&status) && status_reason(status) != "Unknown";
    Some(if known { status } else { 500 })
}
