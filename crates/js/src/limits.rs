//! Every bound of this crate, with its reason.

use std::time::Duration;

/// What one call into a script may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Heap of the interpreter in bytes, prepared globals and modules included.
    pub heap_bytes: usize,
    /// Stack in bytes; never more than [`STACK_BYTES_MAX`].
    pub stack_bytes: usize,
    /// Wall-clock time.
    pub time: Duration,
}

impl Default for Limits {
    /// The defaults of `js_runtime_options` (applications specification, section 5.7).
    fn default() -> Self {
        Limits { heap_bytes: 100 * 1024 * 1024, stack_bytes: 1024 * 1024, time: Duration::from_secs(5) }
    }
}

impl Limits {
    /// The larger of two in every respect: what governance scripts get.
    #[must_use]
    pub fn max(self, other: Limits) -> Limits {
        Limits {
            heap_bytes: self.heap_bytes.max(other.heap_bytes),
            stack_bytes: self.stack_bytes.max(other.stack_bytes),
            time: self.time.max(other.time),
        }
    }
}

/// Stack that a script may use at most, whatever `js_runtime_options` say: threads that run scripts need at
/// least twice as much.
pub const STACK_BYTES_MAX: usize = crate::engine::runtime::NATIVE_STACK_BYTES;

/// Modules in a bundle.
pub const BUNDLE_MODULES_MAX: usize = 10_000;
/// Bytes of all modules in a bundle.
pub const BUNDLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Folder levels below `src` when a bundle is read from disk.
pub const BUNDLE_DEPTH_MAX: usize = 32;

/// Prepared interpreters per application, besides those in use. Each holds its heap twice.
pub const PREPARED_INTERPRETERS_MAX: usize = 16;
/// Reused interpreters of one key that exist at once because requests run in parallel.
pub const REUSED_PER_KEY_MAX: usize = 16;
/// A reused interpreter whose heap grew beyond this share of the limit is dropped: unfinished promises pile up
/// in it for ever.
pub const REUSED_HEAP_DIVISOR: usize = 2;
/// Requests of a reused interpreter between two looks at its heap (a look walks the heap).
pub const REUSED_HEAP_CHECK_INTERVAL: u32 = 1024;
/// Largest image of a prepared interpreter with evaluated modules; larger ones are evaluated on each request.
pub const IMAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Map handles that one interpreter can have named; names beyond fail the request.
pub const TABLE_NAMES_MAX: usize = 10_000;
/// Longest line of console output that reaches the log, in bytes.
pub const CONSOLE_LINE_BYTES_MAX: usize = 64 * 1024;
