//! Bodies of responses that are too long for memory.

use bytes::Bytes;
use std::{fmt, io, sync::Arc};

/// Where such a body comes from. What it is never changes.
pub trait BodySource: Send + Sync {
    /// Bytes in all.
    fn bytes(&self) -> u64;

    /// The `len` bytes from `at` on, which are within.
    ///
    /// # Errors
    /// If they cannot be had: the client is then told that the answer breaks off.
    fn read(&self, at: u64, len: usize) -> io::Result<Bytes>;
}

/// A body that transports send in pieces, one at a time.
#[derive(Clone)]
pub struct LongBody(Arc<dyn BodySource>);

impl LongBody {
    /// From this source.
    #[must_use]
    pub fn new(source: impl BodySource + 'static) -> Self {
        LongBody(Arc::new(source))
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The piece from `at` on, of at most `bytes_max`; empty at the end.
    ///
    /// # Errors
    /// [`BodySource::read`].
    pub fn piece(&self, at: u64, bytes_max: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.bytes().saturating_sub(at)).unwrap_or(usize::MAX);
        match left.min(bytes_max) {
            0 => Ok(Bytes::new()),
            len => self.0.read(at, len),
        }
    }
}

impl fmt::Debug for LongBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

impl PartialEq for LongBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LongBody {}
