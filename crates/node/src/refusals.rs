//! What other nodes sent that no correct node sends: counted by reason, and named in the log once in a while.
//!
//! There are two owners: the transport, for what it could not open, and replication, for what consensus or the log refused. Both
//! counts are shown by `/node/metrics`. Reasons are names of ours, never text of a peer, so neither can be made to grow.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// The same complaint about the same peer is logged once in this time.
const LOG_GAP: Duration = Duration::from_secs(60);

/// Complaints that are remembered for that.
const LOG_SUBJECTS_MAX: usize = 256;

/// Refusals since the start, by reason.
#[derive(Default)]
pub struct Refusals {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    logged: Mutex<HashMap<String, Instant>>,
}

impl Refusals {
    /// Counts one. Whether the caller should write it to the log: not if the same was said of `subject` a moment ago.
    pub fn note(&self, subject: &str, reason: &'static str) -> bool {
        *self.counts.lock().entry(reason).or_default() += 1;
        self.may_log(subject, reason)
    }

    /// As [`note`](Self::note) without counting.
    pub(crate) fn may_log(&self, subject: &str, complaint: &str) -> bool {
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

    /// All counts; reasons that never came are absent.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_logged() {
        let refusals = Refusals::default();
        assert!(refusals.note("a", "x"));
        assert!(!refusals.note("a", "x"));
        assert!(refusals.note("a", "y") && refusals.note("b", "x"));
        assert_eq!(refusals.counts(), BTreeMap::from([("x", 3), ("y", 1)]));
        let logged = (0..10 * LOG_SUBJECTS_MAX).filter(|n| refusals.note(&n.to_string(), "x")).count();
        assert!(logged < LOG_SUBJECTS_MAX);
    }
}
