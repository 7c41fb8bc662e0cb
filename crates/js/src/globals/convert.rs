//! Conversions between strings, JSON and buffers, and the small switches beside them.

use crate::engine::value::{JsResult, Scope, Val};
use ccf_crypto::random;

pub(super) fn str_to_buf<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    match args.first() {
        Some(text) if text.is_string() => utf8_buffer(scope, text),
        _ => Err(scope.throw_type("Argument must be a string")),
    }
}

pub(super) fn buf_to_str<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let text = args.first().and_then(|buffer| buffer.with_buffer(|bytes| scope.string_lossy(bytes)));
    text.unwrap_or_else(|| Err(not_a_buffer(scope)))
}

pub(super) fn json_compatible_to_buf<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let Some(value) = args.first() else { return Err(scope.throw_type("Argument is missing")) };
    let json = value.to_json()?;
    if json.is_string() {
        utf8_buffer(scope, &json)
    } else {
        Err(scope.throw_type("Argument has no JSON representation"))
    }
}

pub(super) fn buf_to_json_compatible<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let value = args.first().and_then(|buffer| {
        buffer.with_buffer(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => scope.parse_json(text.as_bytes()),
            Err(_) => scope.parse_json(String::from_utf8_lossy(bytes).as_bytes()),
        })
    });
    value.unwrap_or_else(|| Err(not_a_buffer(scope)))
}

/// `Date` is always live; kept for scripts that still call it.
pub(super) fn enable_untrusted_date_time<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    Ok(scope.boolean(args.first().is_some_and(Val::truthy)))
}

pub(super) fn enable_metrics_logging<'s>(
    scope: Scope<'s>,
    _this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let host = scope.host();
    host.impure.set(true);
    match args.first().and_then(Val::as_bool) {
        Some(enable) => Ok(scope.boolean(host.metrics_logging.replace(enable))),
        None => Err(scope.throw_type("First argument must be a boolean")),
    }
}

/// `Math.random`: uniform in [0, 1) with 52 random bits from the operating system's generator.
pub(super) fn random<'s>(scope: Scope<'s>, _this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    scope.host().impure.set(true);
    match random::bytes::<8>() {
        Ok(bytes) => Ok(scope.number(unit_interval(u64::from_le_bytes(bytes)))),
        Err(_) => Err(scope.throw_internal("No entropy available")),
    }
}

fn unit_interval(bits: u64) -> f64 {
    (bits >> 12) as f64 / (1u64 << 52) as f64
}

pub(super) fn note_impure<'s>(scope: Scope<'s>, _this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    scope.host().impure.set(true);
    Ok(scope.undefined())
}

/// The string's UTF-8 bytes, lone surrogates replaced.
fn utf8_buffer<'s>(scope: Scope<'s>, text: &Val<'s>) -> JsResult<Val<'s>> {
    text.with_utf8(|bytes| match std::str::from_utf8(bytes) {
        Ok(_) => scope.buffer(bytes),
        Err(_) => scope.buffer(replace_surrogates(bytes).as_bytes()),
    })?
}

/// A lone surrogate arrives as three bytes that are not UTF-8; it becomes one U+FFFD.
pub(crate) fn replace_surrogates(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                return out;
            }
            Err(error) => {
                let (good, bad) = rest.split_at(error.valid_up_to());
                out.push_str(&String::from_utf8_lossy(good));
                out.push('\u{fffd}');
                let skip = if bad.first() == Some(&0xed) { 3 } else { 1 };
                rest = bad.get(skip..).unwrap_or_default();
            }
        }
    }
}

fn not_a_buffer(scope: Scope<'_>) -> crate::engine::value::Thrown {
    scope.throw_type("Argument must be an ArrayBuffer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_below_one() {
        assert!(unit_interval(u64::MAX) < 1.0);
        assert_eq!(unit_interval(0), 0.0);
    }

    #[test]
    fn lone_surrogates_are_replaced_once() {
        assert_eq!(replace_surrogates(b"a\xed\xa0\x80b"), "a\u{fffd}b");
    }
}
