//! The one module of this crate that talks to QuickJS-ng's C interface, behind a safe face.
//!
//! Why not the safe layer of `rquickjs`: it boxes every host function on the Rust heap and frees the box when
//! the script drops the function. We restore a prepared interpreter by copying its memory image back
//! ([`arena`]), so nothing the script can reach may own memory outside the interpreter's arena. Host functions
//! are therefore plain C functions found by number, and all state of a request lives in
//! [`crate::host::Host`], outside the script's reach.
//!
//! What holds everywhere:
//! - A [`value::Val`] cannot leave the closure given to [`runtime::Runtime::enter`] (its lifetime is branded), so no
//!   reference into the heap is alive when the image is restored or the arena dropped.
//! - QuickJS allocates through the arena alone, keeps no thread-local state and no reference to other
//!   runtimes, so a runtime may move between threads while nobody is inside.
//! - No destructor of the C side has an effect outside the arena, so memory is given back in bulk.
#![allow(unsafe_code)] // the reasons are above; each block says why it is sound

pub(crate) mod arena;
pub(crate) mod exception;
pub(crate) mod function;
pub(crate) mod module;
pub(crate) mod runtime;
pub(crate) mod scoped;
pub(crate) mod value;
