//! What other nodes sent that no correct node sends: counted by reason, and named in the log at a bounded rate.
//!
//! There are two owners: the transport, for what it could not open, and replication, for what consensus or the log refused. Both
//! counts are shown by `/node/metrics`. Reasons are names of ours, never text of a peer, so neither can be made to grow. Whoever
//! refuses much for one reason hides nothing of another, and nothing for longer than a minute; what the log left out of
//! a reason it says as a number.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// The same complaint about the same peer is logged once in this time.
const WINDOW: Duration = Duration::from_secs(60);

/// Peers named in the log in that time for one reason: more than the nodes of any sensible service.
const SUBJECTS_MAX: usize = 32;

/// Refusals since the start, by reason.
#[derive(Default)]
pub struct Refusals {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    logged: Mutex<BTreeMap<&'static str, Logged>>,
}

/// What was logged of one reason since its window began.
struct Logged {
    since: Instant,
    subjects: HashSet<String>,
    left_out: u64,
}

impl Refusals {
    /// Counts one. Whether the caller should write it to the log: not if the same was said of `subject` a moment ago, or of too
    /// many.
    pub fn note(&self, subject: &str, reason: &'static str) -> bool {
        *self.counts.lock().entry(reason).or_default() += 1;
        self.may_log(subject, reason)
    }

    /// As [`note`](Self::note) without counting.
    pub(crate) fn may_log(&self, subject: &str, reason: &'static str) -> bool {
        let (may_log, left_out) = self.judge(subject, reason, Instant::now());
        if left_out > 0 {
            tracing::warn!("Refused and not logged one by one in the minute before: {left_out} ({reason})");
        }
        may_log
    }

    /// Whether to log, and how many were not logged in the window that has ended.
    fn judge(&self, subject: &str, reason: &'static str, now: Instant) -> (bool, u64) {
        let mut logged = self.logged.lock();
        let logged = logged.entry(reason).or_insert_with(|| Logged {
            since: now,
            subjects: HashSet::new(),
            left_out: 0,
        });
        let mut left_out = 0;
        if now.saturating_duration_since(logged.since) >= WINDOW {
            logged.since = now;
            logged.subjects.clear();
            left_out = std::mem::take(&mut logged.left_out);
        }
        let may_log = !logged.subjects.contains(subject) && logged.subjects.len() < SUBJECTS_MAX;
        if may_log {
            logged.subjects.insert(subject.to_owned());
        } else {
            logged.left_out += 1;
        }
        (may_log, left_out)
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
        let logged = (0..10 * SUBJECTS_MAX).filter(|n| refusals.note(&n.to_string(), "x")).count();
        assert_eq!(logged, SUBJECTS_MAX - 2);
        assert_eq!(refusals.counts()["x"], 3 + 10 * SUBJECTS_MAX as u64);
    }

    /// Who refuses to be silent hides nothing but others of the same kind, for a minute, and their number is told.
    #[test]
    fn a_flood_hides_no_other_reason_and_ends() {
        let refusals = Refusals::default();
        let began = Instant::now();
        let mut at = began;
        let flood = 1000;
        for n in 0..flood {
            refusals.judge(&n.to_string(), "flood", at);
            at += Duration::from_millis(50);
        }
        assert!(!refusals.judge("late", "flood", at).0);
        assert!(refusals.judge("honest", "other", at).0);
        // The flood goes on, and ends no window later.
        let next = began + WINDOW;
        let left_out = flood - SUBJECTS_MAX as u64 + 1;
        assert_eq!(refusals.judge("late", "flood", next), (true, left_out));
        assert_eq!(refusals.judge("late", "flood", next), (false, 0));
        assert_eq!(refusals.judge("late", "flood", next + WINDOW), (true, 1));
    }
}
