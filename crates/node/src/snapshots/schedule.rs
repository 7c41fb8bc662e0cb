//! When snapshots are taken (ledger specification, section 14.3). Pure: times come in, answers go out.

use ccf_types::SeqNo;
use std::time::{Duration, SystemTime};

/// The configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Transactions between snapshots.
    pub tx_count: u64,
    /// A snapshot by time needs more transactions than this.
    pub min_tx_count: u64,
    /// Time between snapshots, if they are taken by time.
    pub time_interval: Option<Duration>,
}

/// Counts from the last snapshot on. The same on every node: what is committed in `snapshot_status` moves it.
#[derive(Clone, Debug)]
pub struct SnapshotSchedule {
    limits: SnapshotLimits,
    /// The last snapshot that is committed, and when it was scheduled.
    committed: Scheduled,
    /// Snapshots decided since, ascending.
    queued: Vec<Scheduled>,
    /// Transactions that asked for a snapshot at the next signature, ascending.
    requests: Vec<SeqNo>,
}

/// A snapshot, and when it was decided to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The signature whose state it holds.
    pub seqno: SeqNo,
    /// When it was decided.
    pub at: SystemTime,
}

impl SnapshotSchedule {
    /// Begins with the state at `last` (0, or the snapshot a node starts from), at the present `now`.
    #[must_use]
    pub fn new(limits: SnapshotLimits, last: SeqNo, now: SystemTime) -> Self {
        let committed = Scheduled { seqno: last, at: now };
        Self { limits, committed, queued: Vec::new(), requests: Vec::new() }
    }

    /// Whether the signature about to be written at `seqno` is to be a snapshot, because one is due or was asked for.
    #[must_use]
    pub fn wants(&self, seqno: SeqNo, now: SystemTime) -> bool {
        let last = self.last();
        let count = seqno.0.saturating_sub(last.seqno.0);
        let forced = self.requests.first().is_some_and(|request| *request <= seqno);
        forced
            || count >= self.limits.tx_count
            || (self.enough(count) && self.moment().is_some_and(|at| at <= now))
    }

    /// The signature at `seqno` was written and is a snapshot.
    pub fn decided(&mut self, seqno: SeqNo, now: SystemTime) {
        self.requests.retain(|request| *request > seqno);
        self.queued.push(Scheduled { seqno, at: now });
    }

    /// When the next snapshot falls due, if the ledger ends with `version`, a signature: an idle service is then to sign.
    /// One that was asked for is due at once: the signature after the request was on its way when the request came.
    #[must_use]
    pub fn due_at(&self, version: SeqNo) -> Option<SystemTime> {
        if self.requests.first().is_some_and(|request| *request <= version) {
            return Some(SystemTime::UNIX_EPOCH);
        }
        // The signature itself counts.
        let count = version.next().0.saturating_sub(self.last().seqno.0);
        self.moment().filter(|_| self.enough(count))
    }

    /// The transaction at `seqno` wants a snapshot at the next signature.
    pub fn request(&mut self, seqno: SeqNo) {
        let at = self.requests.partition_point(|other| *other < seqno);
        self.requests.insert(at, seqno);
    }

    /// A `snapshot_status` was committed, by whichever node.
    pub fn committed(&mut self, status: Scheduled) {
        if status.seqno >= self.committed.seqno {
            self.committed = status;
        }
        self.queued.retain(|queued| queued.seqno > status.seqno);
        // Whoever was primary has done what was asked for before.
        self.requests.retain(|request| *request > status.seqno);
    }

    /// Everything after `seqno` was rolled back.
    pub fn rollback(&mut self, seqno: SeqNo) {
        self.queued.retain(|queued| queued.seqno <= seqno);
        self.requests.retain(|request| *request <= seqno);
    }

    fn last(&self) -> Scheduled {
        match self.queued.last() {
            Some(queued) if queued.seqno > self.committed.seqno => *queued,
            _ => self.committed,
        }
    }

    fn enough(&self, count: u64) -> bool {
        count > self.limits.min_tx_count
    }

    /// When the interval since the last snapshot is over.
    fn moment(&self) -> Option<SystemTime> {
        self.last().at.checked_add(self.limits.time_interval?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(seconds: Option<u64>) -> SnapshotLimits {
        let time_interval = seconds.map(Duration::from_secs);
        SnapshotLimits { tx_count: 10, min_tx_count: 2, time_interval }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn by_count() {
        let mut schedule = SnapshotSchedule::new(limits(None), SeqNo(0), at(0));
        assert!(!schedule.wants(SeqNo(9), at(1000)));
        assert!(schedule.wants(SeqNo(10), at(0)));
        schedule.decided(SeqNo(12), at(0));
        assert!(!schedule.wants(SeqNo(21), at(0)));
        assert!(schedule.wants(SeqNo(22), at(0)));
        schedule.rollback(SeqNo(11));
        assert!(schedule.wants(SeqNo(12), at(0)), "the count goes on from the last one that stands");
        assert_eq!(schedule.due_at(SeqNo(100)), None);
    }

    #[test]
    fn a_new_primary_continues_the_count_of_the_old_one() {
        let mut schedule = SnapshotSchedule::new(limits(None), SeqNo(0), at(0));
        schedule.committed(Scheduled { seqno: SeqNo(30), at: at(5) });
        assert!(!schedule.wants(SeqNo(39), at(5)));
        assert!(schedule.wants(SeqNo(40), at(5)));
        schedule.committed(Scheduled { seqno: SeqNo(20), at: at(5) });
        assert!(!schedule.wants(SeqNo(39), at(5)), "it never goes back");
    }

    #[test]
    fn by_time_only_with_more_than_the_least_count() {
        let mut schedule = SnapshotSchedule::new(limits(Some(60)), SeqNo(4), at(0));
        assert!(!schedule.wants(SeqNo(6), at(600)), "two are not more than two");
        assert!(schedule.wants(SeqNo(7), at(60)));
        assert!(!schedule.wants(SeqNo(7), at(59)));
        assert_eq!(schedule.due_at(SeqNo(5)), None);
        assert_eq!(schedule.due_at(SeqNo(6)), Some(at(60)));
        schedule.decided(SeqNo(7), at(61));
        assert_eq!(schedule.due_at(SeqNo(20)), Some(at(121)));
    }

    #[test]
    fn requests_hold_until_a_signature_after_them_or_a_rollback_before() {
        let mut schedule = SnapshotSchedule::new(limits(None), SeqNo(0), at(0));
        schedule.request(SeqNo(5));
        assert!(!schedule.wants(SeqNo(4), at(0)));
        assert!(schedule.wants(SeqNo(6), at(0)));
        schedule.request(SeqNo(8));
        schedule.decided(SeqNo(6), at(0));
        assert!(!schedule.wants(SeqNo(7), at(0)), "the count began again too");
        assert!(schedule.wants(SeqNo(9), at(0)));
        schedule.rollback(SeqNo(7));
        assert!(!schedule.wants(SeqNo(9), at(0)));
    }

    #[test]
    fn a_request_that_missed_its_signature_is_due_at_once() {
        let mut schedule = SnapshotSchedule::new(limits(None), SeqNo(0), at(0));
        schedule.request(SeqNo(5));
        assert_eq!(schedule.due_at(SeqNo(4)), None);
        assert!(schedule.due_at(SeqNo(6)).is_some_and(|due| due <= at(0)));
        schedule.decided(SeqNo(7), at(0));
        assert_eq!(schedule.due_at(SeqNo(7)), None);
    }

    #[test]
    fn a_new_primary_does_not_repeat_what_the_old_one_was_asked_for() {
        let mut schedule = SnapshotSchedule::new(limits(None), SeqNo(0), at(0));
        schedule.request(SeqNo(5));
        schedule.committed(Scheduled { seqno: SeqNo(6), at: at(0) });
        assert!(!schedule.wants(SeqNo(9), at(0)));
        assert_eq!(schedule.due_at(SeqNo(8)), None);
    }
}
