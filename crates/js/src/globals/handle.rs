//! `ccf.kv` and its map handles (applications specification, section 6.2).

use crate::access::Access;
use crate::engine::value::{JsResult, Scope, Thrown, Val};
use crate::limits::TABLE_NAMES_MAX;
use ccf_kv::{RawHandle, SmallBytes};
use ccf_types::{InvalidMapName, MapName};
use std::ops::ControlFlow;

/// Which permission a method needs.
#[derive(Clone, Copy)]
enum Need {
    Read,
    Write,
}

/// The `get` trap of `ccf.kv`: a handle for any name.
pub(super) fn table<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    named(scope, args.get(1), 0)
}

/// The same for the tables of a past state, whose number comes first.
pub(super) fn past_table<'s>(scope: Scope<'s>, _this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let state = args.first().and_then(Val::as_number).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "our own number")]
    let state = state as usize;
    named(scope, args.get(1), state)
}

/// A handle for a table of the present (0), or of a past state.
fn named<'s>(scope: Scope<'s>, name: Option<&Val<'s>>, state: usize) -> JsResult<Val<'s>> {
    let Some(name) = name.filter(|name| !name.is_symbol()) else { return Ok(scope.undefined()) };
    let name = name.to_text()?;
    let host = scope.host();
    let map = match MapName::parse(&name) {
        Ok(map) => map,
        Err(InvalidMapName::Reserved(_)) => {
            let reason = format!("Map name '{name}' includes disallowed reserved prefix 'ccf.'");
            return Err(fail_request(scope, reason));
        }
        Err(error) => return Err(fail_request(scope, error.to_string())),
    };
    match host.table_number(&map) {
        Some(number) => scope.handle(state * TABLE_NAMES_MAX + number),
        None => Err(fail_request(scope, "Too many different tables named".to_owned())),
    }
}

pub(super) fn has<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let found = with_key(scope, this, "has", args, |map, key| map.has(key))?;
    Ok(scope.boolean(found))
}

pub(super) fn get<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    with_key(scope, this, "get", args, |map, key| {
        map.get_with(key, |value| value.map_or_else(|| Ok(scope.undefined()), |bytes| scope.buffer(bytes)))
    })?
}

pub(super) fn set<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let [key, value] = args else { return Err(scope.throw_type("Arguments must be ArrayBuffers")) };
    let pair = key.with_buffer(SmallBytes::copy_from).zip(value.with_buffer(SmallBytes::copy_from));
    // Permissions come first, so that a script learns of them whatever it passes.
    let done = with_map(scope, this, "set", Need::Write, |map| pair.map(|(key, value)| map.put(key, value)))?;
    match done {
        Some(()) => Ok(this.clone()),
        None => Err(scope.throw_type("Arguments must be ArrayBuffers")),
    }
}

pub(super) fn delete<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let key = args.first().and_then(|key| key.with_buffer(SmallBytes::copy_from));
    let done = with_map(scope, this, "delete", Need::Write, |map| key.map(|key| map.remove(key)))?;
    done.map(|()| scope.undefined()).ok_or_else(|| not_a_buffer(scope))
}

pub(super) fn clear<'s>(scope: Scope<'s>, this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    with_map(scope, this, "clear", Need::Write, |map| map.clear())?;
    Ok(scope.undefined())
}

pub(super) fn size<'s>(scope: Scope<'s>, this: &Val<'s>, _args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let size = with_map(scope, this, "size", Need::Read, |map| map.size())?;
    Ok(scope.number(size as f64))
}

pub(super) fn version_of_previous_write<'s>(
    scope: Scope<'s>,
    this: &Val<'s>,
    args: &[Val<'s>],
) -> JsResult<Val<'s>> {
    let version = with_key(scope, this, "getVersionOfPreviousWrite", args, |map, key| {
        map.version_of_previous_write(key)
    })?;
    Ok(version.map_or_else(|| scope.undefined(), |seqno| scope.number(seqno.0 as f64)))
}

/// Entries are copied (short ones inline, long ones shared) before the first call back, so that the script may do
/// with the map what it likes meanwhile.
pub(super) fn for_each<'s>(scope: Scope<'s>, this: &Val<'s>, args: &[Val<'s>]) -> JsResult<Val<'s>> {
    let entries = with_map(scope, this, "forEach", Need::Read, |map| {
        let mut entries: Vec<(SmallBytes, SmallBytes)> = Vec::new();
        map.for_each::<()>(|key, value| {
            entries.push((SmallBytes::copy_from(key), SmallBytes::copy_from(value)));
            ControlFlow::Continue(())
        });
        entries
    })?;
    let Some(callback) = args.first().filter(|f| f.is_function()) else {
        return Err(scope.throw_type("Argument must be a function"));
    };
    for (key, value) in entries {
        let (key, value) = (scope.buffer(&key)?, scope.buffer(&value)?);
        callback.call(&scope.undefined(), &[&value, &key, this])?;
    }
    Ok(scope.undefined())
}

fn with_key<'s, R>(
    scope: Scope<'s>,
    this: &Val<'s>,
    method: &str,
    args: &[Val<'s>],
    f: impl FnOnce(RawHandle<'_>, &[u8]) -> R,
) -> JsResult<R> {
    let key: Option<smallvec::SmallVec<[u8; 64]>> =
        args.first().and_then(|key| key.with_buffer(smallvec::SmallVec::from_slice));
    let found = with_map(scope, this, method, Need::Read, |map| key.map(|key| f(map, &key)))?;
    found.ok_or_else(|| not_a_buffer(scope))
}

fn with_map<R>(
    scope: Scope<'_>,
    this: &Val<'_>,
    method: &str,
    need: Need,
    f: impl FnOnce(RawHandle<'_>) -> R,
) -> JsResult<R> {
    let host = scope.host();
    host.impure.set(true);
    let number = this.handle_index().unwrap_or(usize::MAX);
    let (state, number) = (number / TABLE_NAMES_MAX, number % TABLE_NAMES_MAX);
    let Some(map) = host.table(number) else {
        return Err(scope.throw_type("this is not a map of ccf.kv"));
    };
    let outcome = host.invocation.with(|call| {
        if state > 0 {
            return call.in_past(state, |tx| {
                let permission = Access::Historical.permission(&map);
                let allowed = permission.read && matches!(need, Need::Read);
                if allowed { Ok(f(tx.raw(&map))) } else { Err(Access::Historical.explanation(permission)) }
            });
        }
        let permission = call.access.permission(&map);
        let allowed = match need {
            Need::Read => permission.read,
            Need::Write => permission.write,
        };
        Some(if allowed { Ok(f(call.tx.raw(&map))) } else { Err(call.access.explanation(permission)) })
    });
    match outcome.flatten() {
        Some(Ok(result)) => Ok(result),
        Some(Err(why)) => {
            let name = map.as_str();
            Err(scope.throw_type(&format!("Cannot call \"{method}\" on table named {name}. {why}")))
        }
        None => Err(scope.throw_type("The store can be used during a call only")),
    }
}

fn not_a_buffer(scope: Scope<'_>) -> Thrown {
    scope.throw_type("Argument must be an ArrayBuffer")
}

/// Ends the script, and the request with status 500.
fn fail_request(scope: Scope<'_>, reason: String) -> Thrown {
    let thrown = scope.throw_fatal(&reason);
    scope.host().invocation.with(|call| *call.fatal.borrow_mut() = Some(reason));
    thrown
}
