//! A place for the call in progress, read by host functions that the interpreter calls back.

use crate::host::Invocation;
use std::cell::Cell;
use std::ptr::NonNull;

/// Holds a reference to an [`Invocation`] for the duration of a closure.
pub(crate) struct ScopedInvocation(Cell<Option<NonNull<Invocation<'static>>>>);

// SAFETY: empty outside of `set`, which does not return before the place is empty again; moving the empty place
// to another thread moves nothing.
unsafe impl Send for ScopedInvocation {}

impl ScopedInvocation {
    pub(crate) const fn new() -> ScopedInvocation {
        ScopedInvocation(Cell::new(None))
    }

    /// Runs `f` while `invocation` is in place. What was there before comes back afterwards, also on panic.
    pub(crate) fn set<R>(&self, invocation: &Invocation<'_>, f: impl FnOnce() -> R) -> R {
        struct Reset<'a>(
            &'a Cell<Option<NonNull<Invocation<'static>>>>,
            Option<NonNull<Invocation<'static>>>,
        );
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        // The lifetime is only forgotten, not used: `with` gives it back as one that nothing can name.
        let place = NonNull::from(invocation).cast();
        let _reset = Reset(&self.0, self.0.replace(Some(place)));
        f()
    }

    /// Runs `f` with the call in progress, if there is one.
    pub(crate) fn with<R>(&self, f: impl for<'x> FnOnce(&Invocation<'x>) -> R) -> Option<R> {
        // SAFETY: the reference given to `set` outlives `set`, and the place is emptied before `set` returns; this call
        // lies inside it, on the same thread because the type is not `Sync`. `f` works for any lifetime, so it cannot
        // keep a reference.
        self.0.get().map(|place| f(unsafe { place.as_ref() }))
    }
}
