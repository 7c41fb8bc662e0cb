//! Doors for benchmarks: what interpreters cost.

use crate::console::Console;
use crate::engine::runtime::Runtime;
use crate::governance::prepared;
use crate::host::Kind;

/// Creates an interpreter with all globals and drops it: what each request would pay without images.
pub fn create() {
    drop(prepared(Kind::Application, Console::silent()));
}

/// An interpreter that can be put back to its image.
pub struct Restorable(Option<Runtime>);

impl Restorable {
    /// One with all globals and no module.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Restorable {
        Restorable(prepared(Kind::Application, Console::silent()))
    }

    /// Size of the image.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Runtime::image_bytes)
    }

    /// Puts it back.
    pub fn restore(&mut self) {
        if let Some(runtime) = &mut self.0 {
            runtime.restore();
        }
    }
}
