//! ES modules: compile to bytecode, load, link, evaluate, find exports.

use super::exception::ScriptError;
use super::runtime::{Runtime, State};
use super::value::{JsResult, Scope, Val};
use crate::console::Console;
use crate::host::{Host, Kind};
use crate::limits::Limits;
use rquickjs::qjs;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;

/// Bytecode of one module, made by [`Scope::compile_module`] in this process.
///
/// QuickJS does not check bytecode, so nothing else may be loaded: bytes from the KV or the network never become
/// a `Bytecode`.
#[derive(Clone, Debug)]
pub(crate) struct Bytecode(std::sync::Arc<[u8]>);

impl Bytecode {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A module of an interpreter.
#[derive(Clone, Copy)]
pub(crate) struct Module<'s> {
    def: NonNull<qjs::JSModuleDef>,
    scope: Scope<'s>,
}

/// An export that cannot be called.
pub(crate) enum ExportError {
    Missing,
    Thrown,
}

impl<'s> Scope<'s> {
    /// Parses a module. SyntaxError if it is not one. The name appears in stack traces.
    fn compile_module(self, name: &str, source: &str) -> JsResult<Bytecode> {
        let module = self.eval(name, source, qjs::JS_EVAL_TYPE_MODULE | qjs::JS_EVAL_FLAG_COMPILE_ONLY)?;
        let mut len: qjs::size_t = 0;
        let flags = (qjs::JS_WRITE_OBJ_BYTECODE | qjs::JS_WRITE_OBJ_STRIP_SOURCE).cast_signed();
        // SAFETY: a compiled module and a valid place for the length.
        let bytes = unsafe { qjs::JS_WriteObject(self.raw(), &raw mut len, module.raw, flags) };
        if bytes.is_null() {
            return Err(self.throw_internal("module has no bytecode form"));
        }
        // SAFETY: the buffer has `len` bytes; it is freed once, after the copy.
        unsafe {
            let copy = std::slice::from_raw_parts(bytes, len as usize).into();
            qjs::js_free(self.raw(), bytes.cast());
            Ok(Bytecode(copy))
        }
    }

    /// Loads a module and everything it imports, without running any of it.
    pub(crate) fn load_module(self, name: &str, bytecode: &Bytecode) -> JsResult<Module<'s>> {
        let module = self.read_module(bytecode)?;
        let module = self.resolve(&module)?;
        self.state().modules.borrow_mut().push((name.into(), module.def));
        Ok(module)
    }

    fn resolve(self, module: &Val<'s>) -> JsResult<Module<'s>> {
        // SAFETY: a module value.
        if unsafe { qjs::JS_ResolveModule(self.raw(), module.raw) } < 0 {
            return Err(self.pending());
        }
        // SAFETY: a module value's pointer is its definition, which the context keeps.
        let def = NonNull::new(unsafe { qjs::JS_VALUE_GET_PTR(module.raw) }.cast());
        let Some(def) = def else { return Err(self.throw_internal("module without definition")) };
        Ok(Module { def, scope: self })
    }

    /// Parses a module and loads what it imports, without running any of it.
    pub(crate) fn declare_module(self, name: &str, source: &str) -> JsResult<Module<'s>> {
        let module = self.eval(name, source, qjs::JS_EVAL_TYPE_MODULE | qjs::JS_EVAL_FLAG_COMPILE_ONLY)?;
        self.resolve(&module)
    }

    /// A module loaded earlier by [`Scope::load_module`].
    pub(crate) fn loaded_module(self, name: &str) -> Option<Module<'s>> {
        let modules = self.state().modules.borrow();
        let found = modules.iter().find(|(known, _)| &**known == name)?;
        Some(Module { def: found.1, scope: self })
    }

    fn read_module(self, bytecode: &Bytecode) -> JsResult<Val<'s>> {
        let bytes = &bytecode.0;
        // Without a limit: a module that is half read when memory is refused is freed wrongly by the engine. What is read
        // is bounded by the bytecode, and the limit holds again for all that comes after.
        let state = self.state();
        let limit = state.with_arena(|arena| arena.replace_limit(usize::MAX));
        // SAFETY: made by `compile_module` of this very engine.
        let raw = unsafe {
            qjs::JS_ReadObject(
                self.raw(),
                bytes.as_ptr(),
                bytes.len() as _,
                qjs::JS_READ_OBJ_BYTECODE.cast_signed(),
            )
        };
        state.with_arena(|arena| arena.replace_limit(limit));
        self.adopt(raw)
    }

    /// Stands for the exception that a C function left pending.
    fn pending(self) -> super::value::Thrown {
        let exception = self.take_exception();
        self.throw(exception)
    }
}

impl<'s> Module<'s> {
    /// Links and runs the module's top level, the first time; later calls return at once. What it threw is thrown
    /// again. A top-level `await` leaves the module unfinished, as promises never settle.
    pub(crate) fn evaluate(self) -> JsResult<()> {
        let scope = self.scope;
        // SAFETY: a live module; JS_EvalFunction gives back one reference, which is taken first.
        let promise = scope.adopt(unsafe {
            let value = qjs::JS_MKPTR(qjs::JS_TAG_MODULE, self.def.as_ptr().cast());
            qjs::JS_DupValue(scope.raw(), value);
            qjs::JS_EvalFunction(scope.raw(), value)
        })?;
        // SAFETY: a live promise.
        let rejected = unsafe { qjs::JS_PromiseState(scope.raw(), promise.raw) }
            == qjs::JSPromiseStateEnum_JS_PROMISE_REJECTED;
        if rejected {
            // SAFETY: a live promise; returns an owned reference.
            let reason = scope.adopt(unsafe { qjs::JS_PromiseResult(scope.raw(), promise.raw) })?;
            return Err(scope.throw(reason));
        }
        Ok(())
    }

    /// The value of an export.
    pub(crate) fn export(self, name: &str) -> Result<Val<'s>, ExportError> {
        let scope = self.scope;
        // SAFETY: a live module that has been linked.
        let namespace = scope.adopt(unsafe { qjs::JS_GetModuleNamespace(scope.raw(), self.def.as_ptr()) });
        let namespace = namespace.map_err(|_| ExportError::Thrown)?;
        let value = namespace.get(name).map_err(|_| ExportError::Thrown)?;
        if value.is_undefined() {
            let known = namespace.keys().map_err(|_| ExportError::Thrown)?;
            if !known.iter().any(|k| k == name) {
                return Err(ExportError::Missing);
            }
        }
        Ok(value)
    }
}

/// The table key of a module named by an `import` in `base` (applications specification, section 5.2): relative
/// names are taken from the importer's folder, others from the root; one leading slash.
pub(crate) fn normalize(base: &str, name: &str) -> String {
    let folder = if name.starts_with("./") || name.starts_with("../") {
        base.rsplit_once('/').map_or("", |(folder, _)| folder)
    } else {
        ""
    };
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut key = String::with_capacity(base.len() + name.len() + 1);
    for part in parts {
        key.push('/');
        key.push_str(part);
    }
    key
}

pub(super) unsafe extern "C" fn normalize_callback(
    ctx: *mut qjs::JSContext,
    base: *const c_char,
    name: *const c_char,
    _opaque: *mut c_void,
) -> *mut c_char {
    // SAFETY: the interpreter passes two C strings; the result is freed by it with js_free.
    unsafe {
        let base = CStr::from_ptr(base).to_string_lossy();
        let name = CStr::from_ptr(name).to_string_lossy();
        let key = normalize(&base, &name);
        let out = qjs::js_malloc(ctx, (key.len() + 1) as _).cast::<u8>();
        if !out.is_null() {
            std::ptr::copy_nonoverlapping(key.as_ptr(), out, key.len());
            out.add(key.len()).write(0);
        }
        out.cast()
    }
}

pub(super) unsafe extern "C" fn load_callback(
    ctx: *mut qjs::JSContext,
    name: *const c_char,
    _opaque: *mut c_void,
) -> *mut qjs::JSModuleDef {
    let Some(ctx) = NonNull::new(ctx) else { return std::ptr::null_mut() };
    // SAFETY: called by the interpreter somebody is inside of, with a C string.
    let (scope, name) = unsafe { (Scope::new(ctx), CStr::from_ptr(name).to_string_lossy()) };
    let state: &State = scope.state();
    if state.host.kind == Kind::Parser {
        let name = CString::new(name.as_ref()).unwrap_or_default();
        // SAFETY: a live context and a C string; the module has no exports and is never linked.
        return unsafe { qjs::JS_NewCModule(ctx.as_ptr(), name.as_ptr(), Some(empty_module)) };
    }
    let loaded = match state.host.find_module(&name) {
        Some(source) => source.bytecode(scope, &name).and_then(|code| scope.read_module(&code)),
        None => Err(scope.throw_reference(&format!("module '{name}' not found"))),
    };
    // SAFETY: a module value's pointer is its definition; the context keeps it when the value goes.
    loaded.map_or(std::ptr::null_mut(), |m| unsafe { qjs::JS_VALUE_GET_PTR(m.raw) }.cast())
}

unsafe extern "C" fn empty_module(
    _ctx: *mut qjs::JSContext,
    _module: *mut qjs::JSModuleDef,
) -> std::ffi::c_int {
    0
}

/// Parses one module in an interpreter of its own: parsing leaves the module behind, under its name, where it would be
/// found in place of the loaded one. Whether its imports exist is seen when it is loaded.
pub(crate) fn parse_apart(name: &str, source: &str) -> Result<Bytecode, ScriptError> {
    let parser = Runtime::new(Host::new(Kind::Parser, Console::silent()), &[]);
    let mut parser = parser.map_err(|_| ScriptError::no_memory())?;
    parser.enter(|scope| scope.limited(&Limits::default(), || scope.compile_module(name, source)))
}

/// Whether a text can be a module name: the C interface ends names at a zero byte.
pub(crate) fn is_module_name(name: &str) -> bool {
    !name.is_empty() && CString::new(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys() {
        for (base, name, key) in [
            ("/a.js", "./b.js", "/b.js"),
            ("/x/a.js", "./b.js", "/x/b.js"),
            ("/x/y/a.js", "../b.js", "/x/b.js"),
            ("/x/a.js", "../../../b.js", "/b.js"),
            ("/x/a.js", "b.js", "/b.js"),
            ("/x/a.js", "/b.js", "/b.js"),
            ("/x/a.js", "sub/./c/../b.js", "/sub/b.js"),
            ("/x/a.js", "./../x//b.js", "/x/b.js"),
        ] {
            assert_eq!(normalize(base, name), key, "{name} in {base}");
        }
    }
}
