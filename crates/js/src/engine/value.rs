//! Values of the script and the scope they live in.

use super::runtime::State;
use crate::host::Host;
use rquickjs::qjs;
use std::cell::Cell;
use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An exception is pending in the interpreter; [`Scope::take_exception`] reads it.
#[derive(Debug)]
pub(crate) struct Thrown(());

pub(crate) type JsResult<T> = Result<T, Thrown>;

/// The interpreter while somebody is inside. `'s` is different for every [`super::runtime::Runtime::enter`] and
/// cannot be widened, so values of two interpreters never mix.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(super) ctx: NonNull<qjs::JSContext>,
    brand: PhantomData<Cell<&'s ()>>,
}

/// One value. Dropping it gives up its reference.
pub(crate) struct Val<'s> {
    pub(super) raw: qjs::JSValue,
    pub(super) scope: Scope<'s>,
}

/// A property name made once per interpreter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom(pub(super) qjs::JSAtom);

impl<'s> Scope<'s> {
    /// # Safety
    /// The caller is inside the runtime of `ctx` for all of `'s`, which no other runtime shares.
    pub(super) unsafe fn new(ctx: NonNull<qjs::JSContext>) -> Scope<'s> {
        Scope { ctx, brand: PhantomData }
    }

    pub(super) fn raw(self) -> *mut qjs::JSContext {
        self.ctx.as_ptr()
    }

    pub(super) fn state(self) -> &'s State {
        // SAFETY: `Runtime::new` set the runtime's opaque pointer to its boxed state, which outlives every scope.
        unsafe { &*qjs::JS_GetRuntimeOpaque(qjs::JS_GetRuntime(self.raw())).cast::<State>() }
    }

    /// What host functions work on.
    pub(crate) fn host(self) -> &'s Host {
        &self.state().host
    }

    /// Takes over a value returned by a C function, or the exception it stands for.
    pub(super) fn adopt(self, raw: qjs::JSValue) -> JsResult<Val<'s>> {
        // SAFETY: reads the tag only.
        if unsafe { qjs::JS_IsException(raw) } { Err(Thrown(())) } else { Ok(Val { raw, scope: self }) }
    }

    /// A further reference to a value that somebody else owns.
    pub(super) fn borrow(self, raw: qjs::JSValue) -> Val<'s> {
        // SAFETY: the value is alive in this runtime.
        Val { raw: unsafe { qjs::JS_DupValue(self.raw(), raw) }, scope: self }
    }

    fn check(self, code: std::ffi::c_int) -> JsResult<bool> {
        if code < 0 { Err(Thrown(())) } else { Ok(code != 0) }
    }

    pub(crate) fn undefined(self) -> Val<'s> {
        Val { raw: qjs::JS_UNDEFINED, scope: self }
    }

    pub(crate) fn null(self) -> Val<'s> {
        Val { raw: qjs::JS_NULL, scope: self }
    }

    pub(crate) fn boolean(self, value: bool) -> Val<'s> {
        Val { raw: if value { qjs::JS_TRUE } else { qjs::JS_FALSE }, scope: self }
    }

    pub(crate) fn number(self, value: f64) -> Val<'s> {
        Val { raw: qjs::JS_NewFloat64(value), scope: self }
    }

    pub(crate) fn string(self, text: &str) -> JsResult<Val<'s>> {
        // SAFETY: pointer and length describe `text`, which is copied.
        self.adopt(unsafe { qjs::JS_NewStringLen(self.raw(), text.as_ptr().cast(), text.len() as _) })
    }

    /// Text from bytes; invalid UTF-8 becomes U+FFFD.
    pub(crate) fn string_lossy(self, bytes: &[u8]) -> JsResult<Val<'s>> {
        self.string(&String::from_utf8_lossy(bytes))
    }

    pub(crate) fn object(self) -> JsResult<Val<'s>> {
        // SAFETY: a live context.
        self.adopt(unsafe { qjs::JS_NewObject(self.raw()) })
    }

    /// A new object with the given prototype.
    pub(crate) fn object_of(self, prototype: &Val<'s>) -> JsResult<Val<'s>> {
        // SAFETY: a live context and value.
        self.adopt(unsafe { qjs::JS_NewObjectProto(self.raw(), prototype.raw) })
    }

    pub(crate) fn array(self) -> JsResult<Val<'s>> {
        // SAFETY: a live context.
        self.adopt(unsafe { qjs::JS_NewArray(self.raw()) })
    }

    /// A new `ArrayBuffer` with a copy of the bytes.
    pub(crate) fn buffer(self, bytes: &[u8]) -> JsResult<Val<'s>> {
        // SAFETY: pointer and length describe `bytes`, which is copied.
        self.adopt(unsafe { qjs::JS_NewArrayBufferCopy(self.raw(), bytes.as_ptr(), bytes.len() as _) })
    }

    /// The value of a JSON text. SyntaxError if it is none.
    pub(crate) fn parse_json(self, text: &[u8]) -> JsResult<Val<'s>> {
        let mut terminated = Vec::with_capacity(text.len() + 1);
        terminated.extend_from_slice(text);
        terminated.push(0);
        // SAFETY: the parser needs a terminating zero, which is there, and does not keep the text.
        self.adopt(unsafe {
            qjs::JS_ParseJSON(self.raw(), terminated.as_ptr().cast(), text.len() as _, c"<input>".as_ptr())
        })
    }

    pub(crate) fn globals(self) -> Val<'s> {
        // SAFETY: a live context; returns an owned reference.
        Val { raw: unsafe { qjs::JS_GetGlobalObject(self.raw()) }, scope: self }
    }

    /// A property name for the lifetime of the interpreter. Call only while preparing it.
    pub(crate) fn atom(self, name: &str) -> Atom {
        // SAFETY: pointer and length describe `name`. The reference is never given back: atoms of a prepared
        // interpreter go with its arena.
        Atom(unsafe { qjs::JS_NewAtomLen(self.raw(), name.as_ptr().cast(), name.len() as _) })
    }

    /// Runs a script of ours while preparing an interpreter; not for foreign text.
    pub(crate) fn eval_script(self, name: &str, source: &str) -> JsResult<Val<'s>> {
        self.eval(name, source, qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_STRICT)
    }

    pub(super) fn eval(self, name: &str, source: &str, flags: u32) -> JsResult<Val<'s>> {
        let Ok(name) = CString::new(name) else {
            return Err(self.throw_type("Names must not contain a zero byte"));
        };
        let mut terminated = Vec::with_capacity(source.len() + 1);
        terminated.extend_from_slice(source.as_bytes());
        terminated.push(0);
        // SAFETY: the parser needs a terminating zero, which is there; text and name are copied.
        self.adopt(unsafe {
            qjs::JS_Eval(
                self.raw(),
                terminated.as_ptr().cast(),
                source.len() as _,
                name.as_ptr(),
                flags.cast_signed(),
            )
        })
    }

    /// Throws what the script sees as a `TypeError`.
    pub(crate) fn throw_type(self, message: &str) -> Thrown {
        self.throw_with(message, qjs::JS_ThrowTypeError)
    }

    /// Throws what the script sees as a `RangeError`.
    pub(crate) fn throw_range(self, message: &str) -> Thrown {
        self.throw_with(message, qjs::JS_ThrowRangeError)
    }

    /// Throws what the script sees as an `InternalError`.
    pub(crate) fn throw_internal(self, message: &str) -> Thrown {
        self.throw_with(message, qjs::JS_ThrowInternalError)
    }

    /// Throws what the script sees as a `SyntaxError`.
    pub(crate) fn throw_syntax(self, message: &str) -> Thrown {
        self.throw_with(message, qjs::JS_ThrowSyntaxError)
    }

    /// Throws what the script sees as a `ReferenceError`.
    pub(crate) fn throw_reference(self, message: &str) -> Thrown {
        self.throw_with(message, qjs::JS_ThrowReferenceError)
    }

    fn throw_with(
        self,
        message: &str,
        throw: unsafe extern "C" fn(*mut qjs::JSContext, *const std::ffi::c_char, ...) -> qjs::JSValue,
    ) -> Thrown {
        // The C side formats into 256 bytes; longer texts get their message afterwards.
        let short: String = message.chars().filter(|c| *c != '\0').take(60).collect();
        let text = CString::new(short).unwrap_or_default();
        // SAFETY: the format takes one C string.
        unsafe { throw(self.raw(), c"%s".as_ptr(), text.as_ptr()) };
        if message.len() > 60 {
            let exception = self.take_exception();
            if exception.is_object()
                && let Ok(full) = self.string(message)
            {
                let _ = exception.define("message", full, qjs::JS_PROP_WRITABLE | qjs::JS_PROP_CONFIGURABLE);
            }
            return self.throw(exception);
        }
        Thrown(())
    }

    /// Throws a value.
    pub(crate) fn throw(self, value: Val<'s>) -> Thrown {
        // SAFETY: takes over the reference.
        unsafe { qjs::JS_Throw(self.raw(), value.into_raw()) };
        Thrown(())
    }

    /// Throws an exception that the script cannot catch and that ends the request with an error.
    pub(crate) fn throw_fatal(self, message: &str) -> Thrown {
        let thrown = self.throw_internal(message);
        let exception = self.take_exception();
        // SAFETY: a live value.
        unsafe { qjs::JS_SetUncatchableError(self.raw(), exception.raw) };
        self.throw(exception);
        thrown
    }

    /// The pending exception, which is pending no more.
    pub(crate) fn take_exception(self) -> Val<'s> {
        // SAFETY: a live context; returns an owned reference.
        Val { raw: unsafe { qjs::JS_GetException(self.raw()) }, scope: self }
    }
}

impl<'s> Val<'s> {
    pub(super) fn into_raw(self) -> qjs::JSValue {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }

    pub(crate) fn scope(&self) -> Scope<'s> {
        self.scope
    }

    fn ctx(&self) -> *mut qjs::JSContext {
        self.scope.raw()
    }

    pub(crate) fn is_undefined(&self) -> bool {
        // SAFETY: reads the tag only; so do the next ones.
        unsafe { qjs::JS_IsUndefined(self.raw) }
    }

    pub(crate) fn is_null(&self) -> bool {
        // SAFETY: reads the tag only.
        unsafe { qjs::JS_IsNull(self.raw) }
    }

    pub(crate) fn is_string(&self) -> bool {
        // SAFETY: reads the tag only.
        unsafe { qjs::JS_IsString(self.raw) }
    }

    pub(crate) fn is_object(&self) -> bool {
        // SAFETY: reads the tag only.
        unsafe { qjs::JS_IsObject(self.raw) }
    }

    pub(crate) fn is_symbol(&self) -> bool {
        // SAFETY: reads the tag only.
        unsafe { qjs::JS_IsSymbol(self.raw) }
    }

    pub(crate) fn is_function(&self) -> bool {
        // SAFETY: a live value.
        unsafe { qjs::JS_IsFunction(self.ctx(), self.raw) }
    }

    pub(crate) fn is_error(&self) -> bool {
        // SAFETY: a live value.
        unsafe { qjs::JS_IsError(self.raw) }
    }

    /// The value if it is a boolean.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        // SAFETY: the tag is checked before the field is read.
        unsafe { qjs::JS_IsBool(self.raw).then(|| qjs::JS_VALUE_GET_BOOL(self.raw)) }
    }

    /// The value if it is a number (not a BigInt).
    pub(crate) fn as_number(&self) -> Option<f64> {
        // SAFETY: the tag is checked before the field is read.
        unsafe {
            if qjs::JS_IsInt(self.raw) {
                Some(f64::from(qjs::JS_VALUE_GET_INT(self.raw)))
            } else if qjs::JS_IsNumber(self.raw) {
                Some(qjs::JS_VALUE_GET_FLOAT64(self.raw))
            } else {
                None
            }
        }
    }

    /// `Boolean(value)`.
    pub(crate) fn truthy(&self) -> bool {
        // SAFETY: a live value; the conversion runs no script code.
        unsafe { qjs::JS_ToBool(self.ctx(), self.raw) == 1 }
    }

    /// The conversion of indices and counts: truncated, saturated. BigInt and Symbol throw.
    pub(crate) fn to_int64(&self) -> JsResult<i64> {
        let mut out = 0;
        // SAFETY: a live value and a valid place for the result.
        self.scope.check(unsafe { qjs::JS_ToInt64(self.ctx(), &raw mut out, self.raw) })?;
        Ok(out)
    }

    /// `String(value)` as text; lone surrogates become U+FFFD.
    pub(crate) fn to_text(&self) -> JsResult<String> {
        self.with_utf8(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// `String(value)` as UTF-8 bytes for the duration of `f`, which must not run script code. Lone surrogates are
    /// three bytes that are not UTF-8.
    pub(crate) fn with_utf8<R>(&self, f: impl FnOnce(&[u8]) -> R) -> JsResult<R> {
        let mut len: qjs::size_t = 0;
        // SAFETY: a live value and a valid place for the length.
        let text = unsafe { qjs::JS_ToCStringLen2(self.ctx(), &raw mut len, self.raw, false) };
        if text.is_null() {
            return Err(Thrown(()));
        }
        struct Guard(*mut qjs::JSContext, *const std::ffi::c_char);
        impl Drop for Guard {
            fn drop(&mut self) {
                // SAFETY: made by JS_ToCStringLen2, freed once.
                unsafe { qjs::JS_FreeCString(self.0, self.1) };
            }
        }
        let _guard = Guard(self.ctx(), text);
        // SAFETY: the C string has `len` bytes and lives until the guard drops.
        Ok(f(unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len as usize) }))
    }

    /// The bytes of an `ArrayBuffer` or `SharedArrayBuffer` for the duration of `f`, which must not run script
    /// code. `None` if the value is neither (typed arrays included) or is detached.
    pub(crate) fn with_buffer<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if !self.is_buffer() {
            return None;
        }
        let mut len: qjs::size_t = 0;
        // SAFETY: a live buffer and a valid place for the length.
        let data = unsafe { qjs::JS_GetArrayBuffer(self.ctx(), &raw mut len, self.raw) };
        if data.is_null() {
            if len == 0 {
                // Detached (an exception is pending) or empty without memory.
                let exception = self.scope.take_exception();
                return if exception.is_error() { None } else { Some(f(&[])) };
            }
            return None;
        }
        // SAFETY: the buffer has `len` initialised bytes; no script runs during `f`, so they neither move nor change.
        Some(f(unsafe { std::slice::from_raw_parts(data, len as usize) }))
    }

    /// A copy of the bytes of an `ArrayBuffer` or `SharedArrayBuffer`.
    pub(crate) fn buffer_bytes(&self) -> Option<Vec<u8>> {
        self.with_buffer(<[u8]>::to_vec)
    }

    /// The bytes a typed array shows (its offset and length honoured) for the duration of `f`, which must not run
    /// script code. `None` if it is no typed array.
    pub(crate) fn with_typed_array<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<JsResult<R>> {
        // SAFETY: a live value.
        if unsafe { qjs::JS_GetTypedArrayType(self.raw) } < 0 {
            return None;
        }
        let (mut offset, mut len, mut unit): (qjs::size_t, qjs::size_t, qjs::size_t) = (0, 0, 0);
        // SAFETY: a live typed array and valid places for the results.
        let buffer = self.scope.adopt(unsafe {
            qjs::JS_GetTypedArrayBuffer(self.ctx(), self.raw, &raw mut offset, &raw mut len, &raw mut unit)
        });
        let buffer = match buffer {
            Ok(buffer) => buffer,
            Err(thrown) => return Some(Err(thrown)),
        };
        let (offset, len) = (offset as usize, len as usize);
        let shown =
            buffer.with_buffer(|all| offset.checked_add(len).and_then(|end| all.get(offset..end)).map(f));
        Some(shown.flatten().ok_or_else(|| self.scope.throw_type("typed array is detached or out of bounds")))
    }

    pub(crate) fn get_atom(&self, name: Atom) -> JsResult<Val<'s>> {
        // SAFETY: a live value and an atom of this interpreter.
        self.scope.adopt(unsafe { qjs::JS_GetProperty(self.ctx(), self.raw, name.0) })
    }

    pub(crate) fn get(&self, name: &str) -> JsResult<Val<'s>> {
        let name = TempAtom::new(self.scope, name);
        self.get_atom(Atom(name.atom))
    }

    /// Sets a property as an assignment does.
    pub(crate) fn set(&self, name: &str, value: Val<'s>) -> JsResult<()> {
        self.define(name, value, qjs::JS_PROP_C_W_E)
    }

    /// Adds a property as in an object literal.
    pub(crate) fn set_atom(&self, name: Atom, value: Val<'s>) -> JsResult<()> {
        // SAFETY: a live object and an atom of this interpreter; takes over the value.
        let code = unsafe {
            qjs::JS_DefinePropertyValue(
                self.ctx(),
                self.raw,
                name.0,
                value.into_raw(),
                qjs::JS_PROP_C_W_E.cast_signed(),
            )
        };
        self.scope.check(code).map(|_| ())
    }

    /// Adds a property that scripts do not see when they list the object.
    pub(crate) fn set_hidden(&self, name: &str, value: Val<'s>) -> JsResult<()> {
        self.define(name, value, qjs::JS_PROP_WRITABLE | qjs::JS_PROP_CONFIGURABLE)
    }

    fn define(&self, name: &str, value: Val<'s>, flags: u32) -> JsResult<()> {
        let name = TempAtom::new(self.scope, name);
        // SAFETY: a live object and atom; takes over the value.
        let code = unsafe {
            qjs::JS_DefinePropertyValue(
                self.ctx(),
                self.raw,
                name.atom,
                value.into_raw(),
                flags.cast_signed(),
            )
        };
        self.scope.check(code).map(|_| ())
    }

    /// Adds an accessor property that scripts see when they list the object.
    pub(crate) fn define_accessor(&self, name: Atom, getter: &Val<'s>, setter: &Val<'s>) -> JsResult<()> {
        // SAFETY: live values and an atom of this interpreter; takes over the two further references.
        let code = unsafe {
            qjs::JS_DefinePropertyGetSet(
                self.ctx(),
                self.raw,
                name.0,
                getter.clone().into_raw(),
                setter.clone().into_raw(),
                (qjs::JS_PROP_CONFIGURABLE | qjs::JS_PROP_ENUMERABLE).cast_signed(),
            )
        };
        self.scope.check(code).map(|_| ())
    }

    pub(crate) fn set_index(&self, index: u32, value: Val<'s>) -> JsResult<()> {
        // SAFETY: a live array; takes over the value.
        let code = unsafe { qjs::JS_SetPropertyUint32(self.ctx(), self.raw, index, value.into_raw()) };
        self.scope.check(code).map(|_| ())
    }

    /// Own enumerable string keys, in order.
    pub(crate) fn keys(&self) -> JsResult<Vec<String>> {
        let mut table: *mut qjs::JSPropertyEnum = std::ptr::null_mut();
        let mut len = 0;
        let flags = (qjs::JS_GPN_STRING_MASK | qjs::JS_GPN_ENUM_ONLY).cast_signed();
        // SAFETY: a live object and valid places for the results.
        let code =
            unsafe { qjs::JS_GetOwnPropertyNames(self.ctx(), &raw mut table, &raw mut len, self.raw, flags) };
        self.scope.check(code)?;
        let mut names = Vec::with_capacity(len as usize);
        for i in 0..len as usize {
            // SAFETY: the table has `len` entries with live atoms until it is freed below.
            let name = self.scope.adopt(unsafe { qjs::JS_AtomToString(self.ctx(), (*table.add(i)).atom) });
            if let Ok(text) = name.and_then(|n| n.to_text()) {
                names.push(text);
            }
        }
        // SAFETY: made by JS_GetOwnPropertyNames, freed once.
        unsafe { qjs::JS_FreePropertyEnum(self.ctx(), table, len) };
        Ok(names)
    }

    /// Calls a function.
    pub(crate) fn call(&self, this: &Val<'s>, args: &[&Val<'s>]) -> JsResult<Val<'s>> {
        let mut raw: smallvec::SmallVec<[qjs::JSValue; 4]> = args.iter().map(|v| v.raw).collect();
        // SAFETY: live values; the callee does not take over the references.
        self.scope.adopt(unsafe {
            qjs::JS_Call(
                self.ctx(),
                self.raw,
                this.raw,
                std::ffi::c_int::try_from(raw.len()).unwrap_or(0),
                raw.as_mut_ptr(),
            )
        })
    }

    /// `JSON.stringify(value)`; undefined for what has no JSON form.
    pub(crate) fn to_json(&self) -> JsResult<Val<'s>> {
        // SAFETY: a live value.
        self.scope.adopt(unsafe {
            qjs::JS_JSONStringify(self.ctx(), self.raw, qjs::JS_UNDEFINED, qjs::JS_UNDEFINED)
        })
    }
}

impl Clone for Val<'_> {
    fn clone(&self) -> Self {
        self.scope.borrow(self.raw)
    }
}

impl Drop for Val<'_> {
    fn drop(&mut self) {
        // SAFETY: gives back the reference this value holds.
        unsafe { qjs::JS_FreeValue(self.ctx(), self.raw) };
    }
}

/// An atom for the length of one call.
struct TempAtom<'s> {
    scope: Scope<'s>,
    atom: qjs::JSAtom,
}

impl<'s> TempAtom<'s> {
    fn new(scope: Scope<'s>, name: &str) -> TempAtom<'s> {
        // SAFETY: pointer and length describe `name`.
        let atom = unsafe { qjs::JS_NewAtomLen(scope.raw(), name.as_ptr().cast(), name.len() as _) };
        TempAtom { scope, atom }
    }
}

impl Drop for TempAtom<'_> {
    fn drop(&mut self) {
        // SAFETY: made by JS_NewAtomLen, freed once.
        unsafe { qjs::JS_FreeAtom(self.scope.raw(), self.atom) };
    }
}
