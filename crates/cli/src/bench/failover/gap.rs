//! From what was seen around the death of a primary to the gap in writes. No clocks, no sockets.

use ccf_types::TxId;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// A write answered with success.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When, on the run's clock.
    pub at: Duration,
    /// Its transaction.
    pub tx_id: TxId,
}

/// A commit point as a node told it.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// When, on the run's clock.
    pub at: Duration,
    /// The last committed transaction.
    pub tx_id: TxId,
}

/// The gap in writes. Times are milliseconds since the primary was killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gap {
    /// The last answer before the kill to a write that was committed: negative, or zero.
    pub last_before_ms: Option<f64>,
    /// The first answer to a write of a later view that was committed.
    pub first_after_ms: Option<f64>,
    /// When a node first told that this write is committed.
    pub first_commit_ms: Option<f64>,
    /// From the last answer before to the first answer after.
    pub gap_ms: Option<f64>,
    /// Writes answered with success.
    pub answered: u64,
    /// Of these, the writes that the service has not.
    pub lost: u64,
}

impl Gap {
    /// Judges a run. `last_committed` has, by view, the last committed of the answered writes; `commits` may be in any
    /// order.
    #[must_use]
    pub fn judge(
        killed_at: Duration,
        answered: &[Answered],
        last_committed: &BTreeMap<u64, u64>,
        commits: &[Commit],
    ) -> Gap {
        let since_kill = |at: Duration| (at.as_secs_f64() - killed_at.as_secs_f64()) * 1e3;
        let is_committed =
            |tx_id: TxId| last_committed.get(&tx_id.view.0).is_some_and(|last| tx_id.seqno.0 <= *last);
        let committed = || answered.iter().filter(|write| is_committed(write.tx_id));
        let before = committed().filter(|write| write.at <= killed_at).max_by_key(|write| write.at);
        let view_before =
            answered.iter().filter(|write| write.at <= killed_at).map(|write| write.tx_id.view).max();
        let after = committed()
            .filter(|write| write.at > killed_at && view_before.is_none_or(|view| write.tx_id.view > view))
            .min_by_key(|write| write.at);
        let first_commit = after.and_then(|write| {
            let covers = |commit: &&Commit| {
                commit.tx_id.view >= write.tx_id.view && commit.tx_id.seqno >= write.tx_id.seqno
            };
            commits.iter().filter(covers).map(|commit| commit.at).min()
        });
        let last_before_ms = before.map(|write| since_kill(write.at));
        let first_after_ms = after.map(|write| since_kill(write.at));
        Gap {
            last_before_ms,
            first_after_ms,
            first_commit_ms: first_commit.map(since_kill),
            gap_ms: first_after_ms.zip(last_before_ms).map(|(after, before)| after - before),
            answered: answered.len() as u64,
            lost: answered.iter().filter(|write| !is_committed(write.tx_id)).count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, view: u64, seqno: u64) -> Answered {
        Answered { at: Duration::from_millis(ms), tx_id: TxId::new(view, seqno) }
    }

    fn commit(ms: u64, view: u64, seqno: u64) -> Commit {
        Commit { at: Duration::from_millis(ms), tx_id: TxId::new(view, seqno) }
    }

    #[test]
    fn lost_writes_do_not_shorten_the_gap() {
        let answered = [at(90, 2, 10), at(95, 2, 11), at(99, 2, 13), at(400, 3, 12), at(410, 3, 14)];
        let last = BTreeMap::from([(2, 11), (3, 14)]);
        let commits = [commit(50, 2, 8), commit(450, 3, 14), commit(420, 3, 12), commit(415, 3, 11)];
        let gap = Gap::judge(Duration::from_millis(100), &answered, &last, &commits);
        let ms = |value: Option<f64>| value.map(f64::round);
        assert_eq!(ms(gap.last_before_ms), Some(-5.0));
        assert_eq!(ms(gap.first_after_ms), Some(300.0));
        assert_eq!(ms(gap.first_commit_ms), Some(320.0));
        assert_eq!(ms(gap.gap_ms), Some(305.0));
        assert_eq!((gap.answered, gap.lost), (5, 1));
    }

    #[test]
    fn late_answers_of_the_dead_primary_end_no_gap() {
        let answered = [at(90, 2, 10), at(101, 2, 11)];
        let last = BTreeMap::from([(2, 11)]);
        let gap = Gap::judge(Duration::from_millis(100), &answered, &last, &[commit(102, 2, 11)]);
        assert_eq!((gap.first_after_ms, gap.first_commit_ms, gap.gap_ms), (None, None, None));
        assert_eq!(Gap::judge(Duration::ZERO, &[], &BTreeMap::new(), &[]), Gap::default());
    }
}
