//! `console`: lines for the node's log.

use crate::console::{Level, Tag};
use crate::engine::value::{JsResult, Scope, Val};
use crate::host::Kind;
use crate::limits::CONSOLE_LINE_BYTES_MAX;

pub(super) fn info<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    line(scope, Level::Info, args)
}

pub(super) fn warn<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    line(scope, Level::Fail, args)
}

pub(super) fn error<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    line(scope, Level::Fatal, args)
}

fn line<'s>(scope: Scope<'s>, level: Level, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let host = scope.host();
    host.impure.set(true);
    let tag = if host.kind == Kind::Application { Tag::App } else { Tag::Gov };
    // Outside of a call the module is on trial: it will run again, and speak then.
    let heard = host.invocation.with(|_| ()).is_some();
    if !heard || !host.console.is_enabled(level, tag) {
        return Ok(scope.undefined());
    }
    let mut text = String::new();
    for (i, value) in args.iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        let json = if value.is_object() && !value.is_error() { Some(value.to_json()?) } else { None };
        let part = match json {
            Some(json) if json.is_string() => json.to_text()?,
            _ => value.to_text()?,
        };
        let room = CONSOLE_LINE_BYTES_MAX.saturating_sub(text.len());
        text.push_str(&part[..part.floor_char_boundary(room)]);
    }
    host.console.line(level, tag, &text);
    Ok(scope.undefined())
}
