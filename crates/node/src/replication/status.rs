//! What the replicator tells the rest of the node about replication, readable from any thread without a lock.

use crate::refusals::Refusals;
use arc_swap::ArcSwap;
use ccf_endpoints::{Decision, Role};
use ccf_types::{NodeId, SeqNo, TxId, View};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Called once with the fate of a transaction.
pub type Waiter = Box<dyn FnOnce(Decision) + Send>;

/// Role, views and commit. Written by the replicator only.
pub struct ReplicationStatus {
    /// Sequence number of the last committed transaction; its view follows from the history.
    committed: AtomicU64,
    last_signed: AtomicU64,
    term: ArcSwap<Term>,
    waiters: Mutex<BTreeMap<SeqNo, Vec<(View, Waiter)>>>,
    /// What consensus or the log refused of what peers sent.
    pub refusals: Refusals,
}

/// What changes only with a view.
#[derive(Clone, Debug)]
pub struct Term {
    /// The current view.
    pub view: View,
    /// This node's role in it.
    pub role: Role,
    /// The primary, if known.
    pub primary: Option<NodeId>,
    /// First position of each view that has entries, oldest first.
    pub history: Vec<TxId>,
    /// How many views have a known start, those without entries included.
    pub starts: usize,
}

impl Term {
    /// A term whose views 1, 2, … start at `starts`; a view without entries repeats the start of the next one.
    #[must_use]
    pub fn new(view: View, role: Role, primary: Option<NodeId>, starts: &[SeqNo]) -> Term {
        let has_entries = |index: usize| starts.get(index + 1) != starts.get(index);
        let history = (1..)
            .zip(starts.iter().enumerate())
            .filter(|(_, (index, _))| has_entries(*index))
            .map(|(view, (_, seqno))| TxId { view: View(view), seqno: *seqno })
            .collect();
        Term { view, role, primary, history, starts: starts.len() }
    }

    /// Before the node takes part in a network.
    #[must_use]
    pub fn unstarted() -> Term {
        Term::new(View::UNKNOWN, Role::Backup, None, &[])
    }
}

impl ReplicationStatus {
    /// Nothing committed yet in `term`.
    #[must_use]
    pub fn new(term: Term) -> ReplicationStatus {
        ReplicationStatus {
            committed: AtomicU64::new(0),
            last_signed: AtomicU64::new(0),
            term: ArcSwap::from_pointee(term),
            waiters: Mutex::default(),
            refusals: Refusals::default(),
        }
    }

    /// View, role and view history.
    #[must_use]
    pub fn term(&self) -> arc_swap::Guard<Arc<Term>> {
        self.term.load()
    }

    /// The last committed sequence number.
    #[must_use]
    pub fn committed_seqno(&self) -> SeqNo {
        SeqNo(self.committed.load(Ordering::Acquire))
    }

    /// The last committed transaction; `0.0` before the first.
    #[must_use]
    pub fn committed(&self) -> TxId {
        let seqno = self.committed_seqno();
        TxId { view: self.view_of(seqno).unwrap_or(View::UNKNOWN), seqno }
    }

    /// The view of a sequence number that this node's log has reached. `None` before the first entry; the
    /// caller bounds it by the last entry.
    #[must_use]
    pub fn view_of(&self, seqno: SeqNo) -> Option<View> {
        let term = self.term.load();
        let after = term.history.partition_point(|start| start.seqno <= seqno);
        Some(term.history.get(after.checked_sub(1)?)?.view)
    }

    /// The last signature transaction this node wrote or applied.
    #[must_use]
    pub fn last_signed(&self) -> SeqNo {
        SeqNo(self.last_signed.load(Ordering::Acquire))
    }

    /// A signature was appended.
    pub(crate) fn signed(&self, seqno: SeqNo) {
        self.last_signed.store(seqno.0, Ordering::Release);
    }

    /// The role or the view changed, or the primary became known.
    pub(crate) fn set_term(&self, term: Term) {
        self.term.store(Arc::new(term));
    }

    /// Everything up to `seqno` is committed: tells those who wait. Also those whose transaction is after `seqno` but
    /// of an earlier view and not in the log: it can never be committed.
    pub fn commit(&self, seqno: SeqNo) {
        self.committed.store(seqno.0, Ordering::Release);
        let committed_view = self.view_of(seqno);
        let mut lost = Vec::new();
        let decided = {
            let mut waiters = self.waiters.lock();
            let later = waiters.split_off(&seqno.next());
            let decided = std::mem::replace(&mut *waiters, later);
            waiters.retain(|at, waiting| {
                let actual = self.view_of(*at);
                let keeps = |view: &View| Some(*view) >= committed_view || actual == Some(*view);
                lost.extend(waiting.extract_if(.., |(view, _)| !keeps(view)).map(|(_, waiter)| waiter));
                !waiting.is_empty()
            });
            decided
        };
        lost.into_iter().for_each(|waiter| waiter(Decision::Invalid));
        for (at, waiting) in decided {
            let actual = self.view_of(at);
            for (view, waiter) in waiting {
                waiter(if actual == Some(view) { Decision::Committed } else { Decision::Invalid });
            }
        }
    }

    /// Whether somebody waits for a commit.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiters.lock().is_empty()
    }

    /// Calls `waiter` once the fate of `tx_id` is known, at once if it is.
    pub fn when_decided(&self, tx_id: TxId, waiter: Waiter) {
        let mut waiters = self.waiters.lock();
        let committed = self.committed();
        if committed.seqno < tx_id.seqno {
            // As in `commit`.
            if tx_id.view < committed.view && self.view_of(tx_id.seqno) != Some(tx_id.view) {
                drop(waiters);
                return waiter(Decision::Invalid);
            }
            waiters.entry(tx_id.seqno).or_default().push((tx_id.view, waiter));
            return;
        }
        drop(waiters);
        let committed = self.view_of(tx_id.seqno) == Some(tx_id.view);
        waiter(if committed { Decision::Committed } else { Decision::Invalid });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn status() -> ReplicationStatus {
        ReplicationStatus::new(Term::new(View(4), Role::Primary, None, &[1, 1, 10, 10].map(SeqNo)))
    }

    #[test]
    fn views_follow_from_their_first_positions() {
        let status = status();
        assert_eq!(status.committed(), TxId::new(0, 0));
        for (seqno, view) in [(0, None), (1, Some(2)), (9, Some(2)), (10, Some(4)), (99, Some(4))] {
            assert_eq!(status.view_of(SeqNo(seqno)), view.map(View), "{seqno}");
        }
        status.commit(SeqNo(12));
        assert_eq!(status.committed(), TxId::new(4, 12));
    }

    #[test]
    fn waiters_learn_the_fate_once() {
        let status = status();
        let (sender, fates) = mpsc::channel();
        let wait = |view, seqno| {
            let sender = sender.clone();
            status.when_decided(
                TxId::new(view, seqno),
                Box::new(move |d| sender.send((seqno, d)).expect("open")),
            );
        };
        wait(4, 11);
        wait(2, 11);
        wait(4, 20);
        status.commit(SeqNo(12));
        wait(4, 12);
        let got: Vec<_> = fates.try_iter().collect();
        assert_eq!(got, [(11, Decision::Committed), (11, Decision::Invalid), (12, Decision::Committed)]);
        status.commit(SeqNo(20));
        assert_eq!(fates.try_iter().collect::<Vec<_>>(), [(20, Decision::Committed)]);
    }
}
