//! Host functions: a table of plain functions, called by number.

use super::value::{JsResult, Scope, Val};
use rquickjs::qjs;
use smallvec::SmallVec;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// The body of a host function: scope, `this`, arguments (their number is checked already).
pub(crate) type Body = for<'s> fn(Scope<'s>, &Val<'s>, &[Val<'s>]) -> JsResult<Val<'s>>;

/// One host function.
pub(crate) struct Def {
    /// The object it hangs on: a dotted path in the global object, or a word of ours.
    pub(crate) object: &'static str,
    /// Its `name` property, and the last part of its place.
    pub(crate) name: &'static str,
    /// Fewest arguments.
    pub(crate) min: u8,
    /// Most arguments; [`ANY`] for no check at all.
    pub(crate) max: u8,
    /// Whether the text about wrong counts has a comma (applications specification, section 6).
    pub(crate) comma: bool,
    /// In which interpreters it exists.
    pub(crate) contexts: u8,
    pub(crate) body: Body,
}

/// Any number of arguments.
pub(crate) const ANY: u8 = u8::MAX;

pub(super) unsafe extern "C" fn trampoline(
    ctx: *mut qjs::JSContext,
    this: qjs::JSValue,
    argc: c_int,
    argv: *mut qjs::JSValue,
    number: c_int,
) -> qjs::JSValue {
    let Some(ctx) = NonNull::new(ctx) else { return qjs::JS_EXCEPTION };
    // SAFETY: called by the interpreter somebody is inside of; the scope ends with this call.
    let scope = unsafe { Scope::new(ctx) };
    let count = usize::try_from(argc).unwrap_or(0);
    let mut args: SmallVec<[Val<'_>; 4]> = SmallVec::new();
    for i in 0..count {
        // SAFETY: the interpreter passes `argc` live values. They are borrowed: see `set_len` below.
        args.push(Val { raw: unsafe { *argv.add(i) }, scope });
    }
    let this = std::mem::ManuallyDrop::new(Val { raw: this, scope });
    let functions = scope.state().functions;
    let called = catch_unwind(AssertUnwindSafe(|| {
        let function = functions.get(usize::try_from(number).unwrap_or(usize::MAX));
        let Some(function) = function else { return Err(scope.throw_internal("no such host function")) };
        // The engine looks at the clock once in ten thousand steps, and one such step can be a long host function.
        if scope.state().is_out_of_time() {
            return Err(scope.throw_fatal("interrupted"));
        }
        check_count(scope, function, count)?;
        (function.body)(scope, &this, &args)
    }));
    // SAFETY: shrinks the vector without dropping the borrowed values; only their memory is freed.
    unsafe { args.set_len(0) };
    match called {
        Ok(Ok(value)) => value.into_raw(),
        Ok(Err(_)) => qjs::JS_EXCEPTION,
        Err(_) => {
            // A bug in a host function ends the script, not the node. The panic hook has printed it.
            scope.throw_fatal("a host function failed unexpectedly");
            qjs::JS_EXCEPTION
        }
    }
}

fn check_count(scope: Scope<'_>, function: &Def, count: usize) -> JsResult<()> {
    let (min, max) = (usize::from(function.min), usize::from(function.max));
    if function.max == ANY || (min..=max).contains(&count) {
        return Ok(());
    }
    let comma = if function.comma { "," } else { "" };
    let expected = match (min, max) {
        (0, 0) => "none".to_owned(),
        (min, max) if min == max => min.to_string(),
        (min, max) if min + 1 == max => format!("{min} or {max}"),
        (min, max) => format!("between {min} and {max}"),
    };
    Err(scope.throw_type(&format!("Passed {count} arguments{comma} but expected {expected}")))
}
