//! What went wrong, counted; and a log that cannot be flooded.

use super::limits::{LOG_GAP, LOG_SUBJECTS_MAX};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Numbers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCounters {
    /// Frames that were accepted.
    pub frames_accepted: u64,
    /// Frames that no correct peer sends: malformed, of unknown kind, with wrong certificates or signatures.
    pub frames_refused: u64,
    /// Frames that could not be opened or came in the wrong order: before keys, under old keys, a second time.
    pub frames_dropped: u64,
    /// Frames before this node had an identity.
    pub frames_before_identity: u64,
    /// Messages that were not sent because too much waited.
    pub messages_lost: u64,
    /// Connections ended because of what came over them.
    pub connections_refused: u64,
    /// Connections that could not be made.
    pub dials_failed: u64,
}

/// The counters while they count.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames_accepted: Counter,
    pub(super) frames_refused: Counter,
    pub(super) frames_dropped: Counter,
    pub(super) frames_before_identity: Counter,
    pub(super) messages_lost: Counter,
    pub(super) connections_refused: Counter,
    pub(super) dials_failed: Counter,
    logged: Mutex<HashMap<String, Instant>>,
}

/// One counter.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> PeerCounters {
        PeerCounters {
            frames_accepted: self.frames_accepted.get(),
            frames_refused: self.frames_refused.get(),
            frames_dropped: self.frames_dropped.get(),
            frames_before_identity: self.frames_before_identity.get(),
            messages_lost: self.messages_lost.get(),
            connections_refused: self.connections_refused.get(),
            dials_failed: self.dials_failed.get(),
        }
    }

    /// Whether this complaint about this subject has not been logged lately.
    pub(super) fn may_log(&self, subject: &str, complaint: &str) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.len() >= LOG_SUBJECTS_MAX {
            logged.retain(|_, at| now.duration_since(*at) < LOG_GAP);
        }
        if logged.len() >= LOG_SUBJECTS_MAX {
            return false;
        }
        let key = format!("{subject} {complaint}");
        if logged.get(&key).is_some_and(|at| now.duration_since(*at) < LOG_GAP) {
            return false;
        }
        logged.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_logged_once_and_their_number_is_bounded() {
        let counters = Counters::default();
        assert!(counters.may_log("a", "x"));
        assert!(!counters.may_log("a", "x"));
        assert!(counters.may_log("a", "y") && counters.may_log("b", "x"));
        let logged = (0..10 * LOG_SUBJECTS_MAX).filter(|n| counters.may_log(&n.to_string(), "x")).count();
        assert!(logged < LOG_SUBJECTS_MAX);
    }
}
