//! One interpreter: a QuickJS runtime with one context in an arena of its own.

use super::arena::{self, Arena};
use super::exception::ScriptError;
use super::function::{Def, trampoline};
use super::module;
use super::value::{JsResult, Scope, Val};
use crate::host::Host;
use crate::limits::Limits;
use rquickjs::qjs;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_int, c_void};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// What the C side finds through the runtime's opaque pointer.
pub(crate) struct State {
    pub(crate) host: Host,
    pub(super) functions: &'static [Def],
    handle_class: Cell<qjs::JSClassID>,
    buffer_classes: Cell<(qjs::JSClassID, qjs::JSClassID)>,
    deadline: Cell<Option<Instant>>,
    timed_out: Cell<bool>,
    /// Whether memory was refused under the limits that were lifted last.
    ran_out_of_memory: Cell<bool>,
    arena: NonNull<Arena>,
    /// Handler modules by name.
    pub(super) modules: RefCell<Vec<(Box<str>, NonNull<qjs::JSModuleDef>)>>,
    /// Values kept for the lifetime of the interpreter, see [`Scope::keep`].
    kept: RefCell<Vec<qjs::JSValue>>,
    /// How many modules and kept values the image holds.
    sealed: Cell<(usize, usize)>,
}

impl State {
    /// Whether the script's time is over; remembers it if so.
    pub(super) fn is_out_of_time(&self) -> bool {
        let over = self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline);
        if over {
            self.timed_out.set(true);
        }
        over
    }

    pub(super) fn with_arena<R>(&self, f: impl FnOnce(&mut Arena) -> R) -> R {
        // SAFETY: the arena lives as long as the state; the C side, on this same thread, is not inside of one of its
        // functions now, and `f` does not call it.
        f(unsafe { &mut *self.arena.as_ptr() })
    }
}

/// A value kept by [`Scope::keep`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept(usize);

/// See the module's text.
pub(crate) struct Runtime {
    rt: NonNull<qjs::JSRuntime>,
    ctx: NonNull<qjs::JSContext>,
    arena: NonNull<Arena>,
    state: NonNull<State>,
}

// SAFETY: QuickJS keeps no thread-local state; the stack limit is measured anew on each entry; everything the
// runtime points to is owned by it (arena, state), and `Host` is `Send`.
unsafe impl Send for Runtime where Host: Send {}

/// The interpreter could not be created: no memory.
#[derive(Debug, thiserror::Error)]
#[error("no memory for a JavaScript interpreter")]
pub(crate) struct NoMemory;

impl Runtime {
    /// A runtime with the language's own globals. `functions` are the host functions that
    /// [`Scope::host_function`] can make.
    pub(crate) fn new(host: Host, functions: &'static [Def]) -> Result<Runtime, NoMemory> {
        let arena = NonNull::from(Box::leak(Box::new(Arena::new())));
        let state = NonNull::from(Box::leak(Box::new(State {
            host,
            functions,
            handle_class: Cell::new(0),
            buffer_classes: Cell::new((0, 0)),
            deadline: Cell::new(None),
            timed_out: Cell::new(false),
            ran_out_of_memory: Cell::new(false),
            arena,
            modules: RefCell::default(),
            kept: RefCell::default(),
            sealed: Cell::new((0, 0)),
        })));
        // Owns arena and state from here on, so that an early return frees them.
        let mut runtime = Runtime { rt: NonNull::dangling(), ctx: NonNull::dangling(), arena, state };
        // SAFETY: the functions serve `arena`, which lives as long as the runtime; the opaque pointers are those of
        // the boxes above; intrinsics are added to a fresh context.
        unsafe {
            runtime.rt = NonNull::new(qjs::JS_NewRuntime2(&MALLOC, arena.as_ptr().cast())).ok_or(NoMemory)?;
            let rt = runtime.rt.as_ptr();
            qjs::JS_SetRuntimeOpaque(rt, state.as_ptr().cast());
            qjs::JS_SetMaxStackSize(rt, NATIVE_STACK_BYTES as _);
            qjs::JS_UpdateStackTop(rt);
            qjs::JS_SetGCThreshold(rt, GC_THRESHOLD_BYTES as _);
            qjs::JS_SetInterruptHandler(rt, Some(interrupt), state.as_ptr().cast());
            qjs::JS_SetModuleLoaderFunc(
                rt,
                Some(module::normalize_callback),
                Some(module::load_callback),
                std::ptr::null_mut(),
            );
            runtime.ctx = NonNull::new(qjs::JS_NewContextRaw(rt)).ok_or(NoMemory)?;
            let ctx = runtime.ctx.as_ptr();
            let failed = qjs::JS_AddIntrinsicBaseObjects(ctx) != 0
                || qjs::JS_AddIntrinsicDate(ctx) != 0
                || qjs::JS_AddIntrinsicEval(ctx) != 0
                || qjs::JS_AddIntrinsicRegExp(ctx) != 0
                || qjs::JS_AddIntrinsicJSON(ctx) != 0
                || qjs::JS_AddIntrinsicProxy(ctx) != 0
                || qjs::JS_AddIntrinsicMapSet(ctx) != 0
                || qjs::JS_AddIntrinsicTypedArrays(ctx) != 0
                || qjs::JS_AddIntrinsicPromise(ctx) != 0
                || qjs::JS_AddIntrinsicBigInt(ctx) != 0;
            if failed {
                return Err(NoMemory);
            }
            let mut class = 0;
            qjs::JS_NewClassID(rt, &raw mut class);
            let definition = qjs::JSClassDef {
                class_name: c"KvMap".as_ptr(),
                finalizer: None,
                gc_mark: None,
                call: None,
                exotic: std::ptr::null_mut(),
            };
            if qjs::JS_NewClass(rt, class, &raw const definition) != 0 {
                return Err(NoMemory);
            }
            state.as_ref().handle_class.set(class);
        }
        let classes = runtime.enter(|scope| {
            let buffer = scope.buffer(&[])?;
            let shared = scope.eval_script("<init>", "new SharedArrayBuffer(0)")?;
            // SAFETY: live values.
            JsResult::Ok(unsafe { (qjs::JS_GetClassID(buffer.raw), qjs::JS_GetClassID(shared.raw)) })
        });
        runtime.state().buffer_classes.set(classes.map_err(|_| NoMemory)?);
        Ok(runtime)
    }

    fn state(&self) -> &State {
        // SAFETY: boxed in `new`, freed in `drop`; only shared references to it exist.
        unsafe { self.state.as_ref() }
    }

    /// Runs `f` inside the interpreter. No value can leave it.
    pub(crate) fn enter<R>(&mut self, f: impl for<'s> FnOnce(Scope<'s>) -> R) -> R {
        // SAFETY: the stack limit must be measured on the thread that runs; `&mut self` keeps others out, and the
        // brand keeps values inside.
        unsafe {
            qjs::JS_UpdateStackTop(self.rt.as_ptr());
            f(Scope::new(self.ctx))
        }
    }

    /// Takes the image that [`Runtime::restore`] goes back to.
    pub(crate) fn seal(&mut self) {
        // SAFETY: nobody is inside (`&mut self`), so the C side does not use the arena now. Collecting first keeps
        // garbage out of the image; the threshold is stored in the image too.
        unsafe {
            qjs::JS_UpdateStackTop(self.rt.as_ptr());
            qjs::JS_RunGC(self.rt.as_ptr());
            qjs::JS_SetGCThreshold(self.rt.as_ptr(), (self.used_bytes() + GC_THRESHOLD_BYTES) as _);
            self.arena.as_mut().seal();
        }
        let state = self.state();
        state.sealed.set((state.modules.borrow().len(), state.kept.borrow().len()));
        state.host.seal();
    }

    /// Undoes everything since [`Runtime::seal`].
    pub(crate) fn restore(&mut self) {
        // SAFETY: nobody is inside, and no value or module reference of the time since survives: values cannot
        // leave `enter`, and the two lists are cut back to what the image holds.
        unsafe { self.arena.as_mut().restore() };
        let state = self.state();
        let (modules, kept) = state.sealed.get();
        state.modules.borrow_mut().truncate(modules);
        state.kept.borrow_mut().truncate(kept);
        state.host.restore();
    }

    /// Bytes copied by each [`Runtime::restore`].
    pub(crate) fn image_bytes(&self) -> usize {
        // SAFETY: nobody is inside (the C side changes the arena only while somebody is).
        unsafe { self.arena.as_ref() }.image_bytes()
    }

    /// Bytes in use by the script's heap. Slow: walks the heap.
    pub(crate) fn used_bytes(&self) -> usize {
        let mut usage = std::mem::MaybeUninit::<qjs::JSMemoryUsage>::uninit();
        // SAFETY: a live runtime nobody is inside of; the call fills the whole structure.
        let usage = unsafe {
            qjs::JS_ComputeMemoryUsage(self.rt.as_ptr(), usage.as_mut_ptr());
            usage.assume_init()
        };
        usize::try_from(usage.malloc_size).unwrap_or(usize::MAX)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: both come from `Box::leak` in `new` and are freed once. The C side is not told: no destructor of it
        // has an effect outside the arena.
        unsafe {
            drop(Box::from_raw(self.arena.as_ptr()));
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

impl<'s> Scope<'s> {
    /// Runs `f` under limits of heap, stack and time. A timeout ends the script with an exception that it cannot
    /// catch.
    pub(crate) fn limited<R>(
        self,
        limits: &Limits,
        f: impl FnOnce() -> JsResult<R>,
    ) -> Result<R, ScriptError> {
        let result = self.with_limits(limits, f);
        result.map_err(|_| self.describe_exception())
    }

    fn with_limits<R>(self, limits: &Limits, f: impl FnOnce() -> JsResult<R>) -> JsResult<R> {
        struct Lift<'s>(Scope<'s>);
        impl Drop for Lift<'_> {
            fn drop(&mut self) {
                // SAFETY: a live runtime.
                unsafe {
                    qjs::JS_SetMaxStackSize(qjs::JS_GetRuntime(self.0.raw()), NATIVE_STACK_BYTES as _);
                }
                let state = self.0.state();
                state.ran_out_of_memory.set(state.with_arena(|arena| {
                    let refused = arena.was_refused();
                    arena.set_limit(usize::MAX);
                    refused
                }));
                state.deadline.set(None);
            }
        }
        let state = self.state();
        state.timed_out.set(false);
        state.ran_out_of_memory.set(false);
        state.deadline.set(Instant::now().checked_add(limits.time));
        state.with_arena(|arena| arena.set_limit(limits.heap_bytes));
        // SAFETY: a live runtime. Zero would mean no limit, so at least one byte; the stack never exceeds what the
        // thread has.
        unsafe {
            let rt = qjs::JS_GetRuntime(self.raw());
            qjs::JS_SetMaxStackSize(rt, limits.stack_bytes.clamp(1, NATIVE_STACK_BYTES) as _);
        }
        let _lift = Lift(self);
        f()
    }

    /// Reads the pending exception. Converting it may run script code, which gets little time.
    pub(crate) fn describe_exception(self) -> ScriptError {
        let timed_out = self.state().timed_out.get();
        let exception = self.take_exception();
        // Without memory for an error the engine throws null.
        let state = self.state();
        let refused = state.ran_out_of_memory.get() || state.with_arena(|arena| arena.was_refused());
        if exception.is_null() && !timed_out && refused {
            return ScriptError::no_memory();
        }
        let limits = Limits { time: Duration::from_millis(100), ..Limits::default() };
        let described = self.with_limits(&limits, || Ok(ScriptError::of(&exception, timed_out)));
        described.unwrap_or_else(|_| ScriptError::unreadable(timed_out))
    }

    /// A function object for host function number `index`.
    pub(crate) fn host_function(self, index: usize) -> JsResult<Val<'s>> {
        let definition = &self.state().functions[index];
        let name = CString::new(definition.name).unwrap_or_default();
        // SAFETY: with this function kind the C side calls back with the number as further argument, which is what
        // `trampoline` takes; the union's members are all function pointers.
        let raw = unsafe {
            let function = qjs::JSCFunctionType { generic_magic: Some(trampoline) }.generic;
            qjs::JS_NewCFunction2(
                self.raw(),
                function,
                name.as_ptr(),
                c_int::from(definition.max),
                qjs::JSCFunctionEnum_JS_CFUNC_generic_magic,
                c_int::try_from(index).unwrap_or(0),
            )
        };
        self.adopt(raw)
    }

    /// Sets the prototype of map handles.
    pub(crate) fn set_handle_prototype(self, prototype: Val<'s>) {
        // SAFETY: the class was registered in `Runtime::new`; takes over the reference.
        unsafe { qjs::JS_SetClassProto(self.raw(), self.state().handle_class.get(), prototype.into_raw()) };
    }

    /// An object that stands for number `index` and cannot be forged by the script.
    pub(crate) fn handle(self, index: usize) -> JsResult<Val<'s>> {
        // SAFETY: a registered class; the opaque pointer is used as a number only.
        unsafe {
            let object = self.adopt(qjs::JS_NewObjectClass(self.raw(), self.state().handle_class.get()))?;
            qjs::JS_SetOpaque(object.raw, std::ptr::without_provenance_mut(index + 1));
            Ok(object)
        }
    }

    /// Keeps a value alive for the lifetime of the interpreter (or, in an image, until it is restored).
    pub(crate) fn keep(self, value: Val<'s>) -> Kept {
        let mut kept = self.state().kept.borrow_mut();
        kept.push(value.into_raw());
        Kept(kept.len() - 1)
    }

    /// A value kept earlier in this interpreter.
    pub(crate) fn kept(self, kept: Kept) -> Val<'s> {
        let raw = self.state().kept.borrow().get(kept.0).copied();
        raw.map_or_else(|| self.undefined(), |raw| self.borrow(raw))
    }
}

impl Val<'_> {
    /// The number of a handle object.
    pub(crate) fn handle_index(&self) -> Option<usize> {
        // SAFETY: a live value; returns null for objects of other classes.
        let opaque = unsafe { qjs::JS_GetOpaque(self.raw, self.scope.state().handle_class.get()) };
        opaque.addr().checked_sub(1)
    }

    /// Whether the value is an `ArrayBuffer` or a `SharedArrayBuffer`.
    pub(crate) fn is_buffer(&self) -> bool {
        // SAFETY: a live value.
        let class = unsafe { qjs::JS_GetClassID(self.raw) };
        let (buffer, shared) = self.scope.state().buffer_classes.get();
        self.is_object() && (class == buffer || class == shared)
    }
}

/// Stack that JavaScript may use at most, whatever the options say: what a thread with 2 MB of stack can surely
/// give. Frames of host functions come on top.
pub(crate) const NATIVE_STACK_BYTES: usize = 1024 * 1024;

/// Heap growth after which cycles are collected.
const GC_THRESHOLD_BYTES: usize = 4 * 1024 * 1024;

unsafe extern "C" fn interrupt(_rt: *mut qjs::JSRuntime, opaque: *mut c_void) -> c_int {
    // SAFETY: the pointer given with the handler: the state of a live runtime.
    let state = unsafe { &*opaque.cast::<State>() };
    c_int::from(state.is_out_of_time())
}

const MALLOC: qjs::JSMallocFunctions = qjs::JSMallocFunctions {
    js_calloc: Some(c_calloc),
    js_malloc: Some(c_malloc),
    js_free: Some(c_free),
    js_realloc: Some(c_realloc),
    js_malloc_usable_size: Some(c_usable_size),
};

unsafe extern "C" fn c_calloc(arena: *mut c_void, count: qjs::size_t, size: qjs::size_t) -> *mut c_void {
    let Some(total) = (count as usize).checked_mul(size as usize) else { return std::ptr::null_mut() };
    // SAFETY: the runtime's arena, used by one thread at a time; nothing in it calls back.
    unsafe { (*arena.cast::<Arena>()).allocate_zeroed(total).cast() }
}

unsafe extern "C" fn c_malloc(arena: *mut c_void, size: qjs::size_t) -> *mut c_void {
    // SAFETY: as above.
    unsafe { (*arena.cast::<Arena>()).allocate(size as usize).cast() }
}

unsafe extern "C" fn c_free(arena: *mut c_void, payload: *mut c_void) {
    if !payload.is_null() {
        // SAFETY: as above; the C side frees what it got from this arena, once.
        unsafe { (*arena.cast::<Arena>()).release(payload.cast()) };
    }
}

unsafe extern "C" fn c_realloc(arena: *mut c_void, payload: *mut c_void, size: qjs::size_t) -> *mut c_void {
    // SAFETY: as above.
    unsafe {
        let arena = &mut *arena.cast::<Arena>();
        if payload.is_null() {
            arena.allocate(size as usize).cast()
        } else {
            arena.reallocate(payload.cast(), size as usize).cast()
        }
    }
}

unsafe extern "C" fn c_usable_size(payload: *const c_void) -> qjs::size_t {
    if payload.is_null() {
        return 0;
    }
    // SAFETY: a live block of an arena.
    unsafe { arena::usable_size(payload.cast()) as qjs::size_t }
}
