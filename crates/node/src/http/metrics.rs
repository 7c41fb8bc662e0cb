//! Counters of sessions, as `/node/metrics` shows them (node specification, section 14.5).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A snapshot of all session counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMetrics {
    /// Open sessions.
    pub active: usize,
    /// The most there ever were at once.
    pub peak: usize,
    /// Per interface, in the order the interfaces were given.
    pub interfaces: Vec<InterfaceMetrics>,
}

/// Counters of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceMetrics {
    /// Name of the interface.
    pub name: String,
    /// Open sessions.
    pub active: usize,
    /// The most there ever were at once.
    pub peak: usize,
    /// Sessions from which on new ones are answered 503.
    pub soft_cap: usize,
    /// Sessions from which on new connections are closed.
    pub hard_cap: usize,
    /// Requests that could not be parsed.
    pub errors_parsing: u64,
    /// Requests refused for their body's size.
    pub errors_request_payload_too_large: u64,
    /// Requests refused for their headers' size or number.
    pub errors_request_header_too_large: u64,
}

/// A number of sessions and its highest value.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    active: AtomicUsize,
    peak: AtomicUsize,
}

impl Gauge {
    /// Counts one more.
    pub(crate) fn enter(&self) {
        let now = self.active.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
    }

    /// Counts one less.
    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// The number now.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// The highest number so far.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

/// Live counters of one interface.
#[derive(Debug, Default)]
pub(crate) struct InterfaceCounters {
    pub(crate) sessions: Gauge,
    pub(crate) parsing: AtomicU64,
    pub(crate) payload_too_large: AtomicU64,
    pub(crate) header_too_large: AtomicU64,
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
