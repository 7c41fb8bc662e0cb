//! Immutable byte strings that are cheap to clone: short ones inline, long ones shared.

use std::{borrow::Borrow, cmp::Ordering, fmt, ops::Deref, sync::Arc};

/// A byte string of at most 22 bytes held inline, or a longer one behind a shared pointer.
///
/// Equal to, ordered as and borrowed as its bytes. Cloning never copies more than 24 bytes.
#[derive(Clone)]
pub struct SmallBytes(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; SmallBytes::INLINE_MAX] },
    Shared(Arc<[u8]>),
}

impl SmallBytes {
    /// The longest byte string that needs no allocation.
    pub const INLINE_MAX: usize = 22;

    /// The empty byte string.
    pub const EMPTY: SmallBytes = SmallBytes(Repr::Inline { len: 0, bytes: [0; Self::INLINE_MAX] });

    /// Copies `bytes`.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> SmallBytes {
        match inline(bytes) {
            Some(short) => short,
            None => SmallBytes(Repr::Shared(bytes.into())),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }
}

fn inline(source: &[u8]) -> Option<SmallBytes> {
    let mut bytes = [0; SmallBytes::INLINE_MAX];
    bytes.get_mut(..source.len())?.copy_from_slice(source);
    let len = u8::try_from(source.len()).ok()?;
    Some(SmallBytes(Repr::Inline { len, bytes }))
}

const _: () = assert!(size_of::<SmallBytes>() == 24);

impl Deref for SmallBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for SmallBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for SmallBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from(bytes)
    }
}

impl From<&str> for SmallBytes {
    fn from(text: &str) -> Self {
        Self::copy_from(text.as_bytes())
    }
}

impl From<Vec<u8>> for SmallBytes {
    fn from(bytes: Vec<u8>) -> Self {
        match inline(&bytes) {
            Some(short) => short,
            None => SmallBytes(Repr::Shared(bytes.into())),
        }
    }
}

impl From<Arc<[u8]>> for SmallBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        match inline(&bytes) {
            Some(short) => short,
            None => SmallBytes(Repr::Shared(bytes)),
        }
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SmallBytes {}

impl PartialOrd for SmallBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SmallBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl std::hash::Hash for SmallBytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips_and_orders_as_its_bytes() {
        let mut last = SmallBytes::EMPTY;
        for len in 1..64 {
            let bytes = vec![7; len];
            let small = SmallBytes::from(bytes.clone());
            assert_eq!(small.as_slice(), bytes);
            assert_eq!(small, SmallBytes::copy_from(&bytes));
            assert_eq!(small, SmallBytes::from(Arc::<[u8]>::from(bytes)));
            assert!(last < small);
            last = small;
        }
    }
}
