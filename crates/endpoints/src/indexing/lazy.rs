//! An index that is built only as far as somebody asked.

use super::Strategy;
use crate::historical::HistoricalState;
use ccf_types::SeqNo;
use serde_json::{Map, Value};
use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

/// Holds an index back: it sees transactions up to a bound, which only grows.
#[derive(Debug)]
pub struct Lazy<S> {
    index: S,
    bound: AtomicU64,
}

impl<S: Strategy> Lazy<S> {
    /// Sees nothing yet.
    #[must_use]
    pub fn new(index: S) -> Lazy<S> {
        Lazy { index, bound: AtomicU64::new(0) }
    }

    /// Lets the index see everything up to here.
    pub fn extend_index_to(&self, seqno: SeqNo) {
        self.bound.fetch_max(seqno.0, Ordering::AcqRel);
    }
}

impl<S> Deref for Lazy<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.index
    }
}

impl<S: Strategy> Strategy for Lazy<S> {
    fn name(&self) -> String {
        self.index.name()
    }

    fn next_requested(&self) -> Option<SeqNo> {
        self.index.next_requested().filter(|next| next.0 <= self.bound.load(Ordering::Acquire))
    }

    fn handle_committed(&self, state: &HistoricalState) {
        self.index.handle_committed(state);
    }

    fn describe(&self) -> Map<String, Value> {
        self.index.describe()
    }
}
