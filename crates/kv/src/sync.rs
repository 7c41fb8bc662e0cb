//! The only lock of the store, behind one name so that a test can put a model checker's in its place.

pub(crate) use parking_lot::Mutex;
