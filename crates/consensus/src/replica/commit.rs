//! Commit and rollback (section 5).

use super::{Host, Leadership, Replica};
use crate::{log::EntryFacts, output::Output, trace::TraceEvent};
use ccf_types::SeqNo;

impl Replica {
    /// Commits the highest signature that majorities of all active configurations have, if it is of the current view. What
    /// came before is committed with it (3828, 5674).
    pub(super) fn try_commit(&mut self, host: &mut Host<'_>) {
        if self.leadership != Leadership::Leader {
            return;
        }
        let own = self.durable();
        let agreed = self.configurations.agreed(|id| {
            if *id == self.id { own } else { self.peers.get(id).map_or(SeqNo::NONE, |peer| peer.matched) }
        });
        assert!(agreed <= self.last, "majorities have no more than the primary");
        if let Some(to) = self.highest_committable(agreed).filter(|to| self.view_at(*to) == self.view) {
            self.commit(to, host);
            if self.settings.send_at_commit && self.leadership == Leadership::Leader {
                self.send_to_all(host);
            }
        }
    }

    /// In a network of one node everything signed is committed.
    pub(super) fn commit_if_alone(&mut self, host: &mut Host<'_>) {
        if self.configurations.iter().all(|configuration| configuration.nodes.keys().all(|id| *id == self.id))
        {
            self.try_commit(host);
        }
    }

    /// A primary says that everything up to here is committed.
    pub(super) fn commit_up_to(&mut self, seqno: SeqNo, host: &mut Host<'_>) {
        if let Some(to) = self.highest_committable(seqno) {
            self.commit(to, host);
        }
    }

    fn highest_committable(&self, limit: SeqNo) -> Option<SeqNo> {
        let count = self.committable.partition_point(|at| *at <= limit);
        count.checked_sub(1).and_then(|index| self.committable.get(index).copied())
    }

    fn commit(&mut self, to: SeqNo, host: &mut Host<'_>) {
        assert!(to > self.commit, "commit never decreases");
        assert!(to <= self.last, "commit lies within the log");
        self.trace(host, || TraceEvent::Commit { to, configurations: self.configurations.clone() });
        while self.committable.front().is_some_and(|first| *first <= to) {
            self.committable.pop_front();
        }
        self.commit = to;
        let retired = host.log.compact(to);
        host.out.push(Output::Committed(to));
        self.forget_retired(retired, host);
        if self.configurations.commit(to) && self.leadership == Leadership::Leader {
            host.out.push(Output::RequestCleanup);
        }
    }

    /// Drops everything after `to`.
    pub(super) fn rollback(&mut self, to: SeqNo, host: &mut Host<'_>) {
        assert!(to >= self.commit, "what is committed is never rolled back");
        assert!(to <= self.last, "a rollback does not extend the log");
        host.log.rollback(self.tx_id(to), self.view);
        self.last = to;
        (self.persisted, self.owed) = (self.persisted.min(to), self.owed.min(to));
        self.history.rollback(to);
        while self.committable.back().is_some_and(|last| *last > to) {
            self.committable.pop_back();
        }
        self.undo_retirement(to);
        for id in self.configurations.rollback(to) {
            // A peer that only the dropped entry made one gets no more messages (quirk Q8).
            if self.peers.remove(&id).is_some() {
                host.out.push(Output::PeerRemoved(id));
            }
        }
    }

    /// A signature is about to be, or just was, added to the log.
    pub(super) fn note_signature(&mut self, at: SeqNo) {
        assert!(self.committable.back().is_none_or(|last| *last < at), "signatures come in order");
        self.committable.push_back(at);
        if self.ordered.is_some() && self.signed.is_none() {
            self.signed = Some(at);
        }
        self.start_ticking_at_signature();
    }

    pub(super) fn reconfigure(&mut self, at: SeqNo, facts: &EntryFacts, host: &mut Host<'_>) {
        if let Some(change) = &facts.reconfiguration {
            let nodes = self.changed(change);
            self.add_configuration(at, nodes, host);
        }
    }
}
