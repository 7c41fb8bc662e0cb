//! The backup's side of replication: entries of a primary (section 7.3).

use super::{Host, Leadership, Replica};
use crate::{
    message::{AppendEntries, Message},
    output::Refusal,
    trace::TraceEvent,
};
use ccf_types::{NodeId, SeqNo, TxId};
use std::ops::Range;

impl Replica {
    pub(super) fn receive_append_entries(
        &mut self,
        from: &NodeId,
        request: AppendEntries,
        entries: &[u8],
        host: &mut Host<'_>,
    ) {
        let AppendEntries { last, previous, view, .. } = request;
        self.trace(host, || TraceEvent::RecvAppendEntries {
            from: from.clone(),
            packet: Message::AppendEntries(request),
        });
        if let Some(reason) = self.contradiction(&request) {
            return host.refuse(from, reason);
        }
        let candidate = matches!(self.leadership, Leadership::Candidate | Leadership::PreVoteCandidate);
        if view > self.view || view == self.view && candidate {
            self.adopt_view(view, host);
        }
        if view < self.view {
            return self.refuse_entries(from, host);
        }
        let own = self.view_at(previous.seqno);
        if own != previous.view {
            if previous.seqno > self.last {
                return self.refuse_entries(from, host);
            }
            let estimate = self.history.match_estimate(previous.view, previous.seqno, self.last);
            return self.respond(from, self.tx_id(estimate), false, host);
        }
        self.restart_election_timer();
        self.leader = Some(from.clone());
        // An old message: what it covers is committed, the primary learns nothing from an answer (quirk Q7).
        if previous.seqno < self.commit || previous.seqno > self.last {
            return;
        }
        let Some(ranges) = self.cut(&request, entries, host) else {
            host.refuse(from, Refusal::Framing);
            return self.refuse_entries(from, host);
        };
        let Some(first_new) = self.resolve_conflict(from, &request, host) else { return };

        // How much is committed is believed only of what this message shows to be shared: quirk Q15.
        let commit = request.commit.min(last.seqno);
        let skipped = usize::try_from(first_new.0 - previous.seqno.0 - 1).unwrap_or(usize::MAX);
        for (offset, range) in ranges.into_iter().skip(skipped).enumerate() {
            let tx_id = TxId { view: last.view, seqno: SeqNo(first_new.0 + offset as u64) };
            if !self.apply(from, tx_id, entries.get(range).unwrap_or_default(), commit, host) {
                host.refuse(from, Refusal::Entry);
                return self.refuse_entries(from, host);
            }
        }
        self.commit_up_to(commit, host);
        self.acknowledge(from, &request, host);
    }

    /// What no correct primary sends.
    fn contradiction(&self, request: &AppendEntries) -> Option<Refusal> {
        let AppendEntries { last, previous, view, .. } = request;
        let empty = last.seqno == previous.seqno;
        let ordered = last.seqno >= previous.seqno
            && last.view >= previous.view
            && last.view <= *view
            && (!empty || last.view == previous.view)
            && (empty || last.view.0 > 0);
        if !ordered {
            return Some(Refusal::Inconsistent);
        }
        if *view == self.view && self.leadership == Leadership::Leader {
            return Some(Refusal::SecondPrimary);
        }
        None
    }

    /// Cuts the entries apart; none if the bytes are not exactly so many entries.
    fn cut(&self, request: &AppendEntries, entries: &[u8], host: &Host<'_>) -> Option<Vec<Range<usize>>> {
        let count = request.last.seqno.0 - request.previous.seqno.0;
        let mut ranges = Vec::new();
        let mut at = 0;
        for _ in 0..count {
            let rest = entries.get(at..)?;
            let size = host.log.entry_len(rest).filter(|size| (1..=rest.len()).contains(size))?;
            ranges.push(at..at + size);
            at += size;
        }
        (at == entries.len()).then_some(ranges)
    }

    /// The first entry that this log does not have. A conflicting suffix is dropped, once in a view, and only at an entry of
    /// another view: a log that is merely longer loses nothing (5927). None if the message is to be dropped.
    fn resolve_conflict(
        &mut self,
        from: &NodeId,
        request: &AppendEntries,
        host: &mut Host<'_>,
    ) -> Option<SeqNo> {
        let AppendEntries { last, previous, .. } = *request;
        let mut first_new = previous.seqno.next();
        while first_new <= last.seqno.min(self.last) {
            if self.view_at(first_new) != last.view {
                if !self.may_drop_conflict || first_new <= self.commit {
                    host.refuse(from, Refusal::SecondConflict);
                    return None;
                }
                self.rollback(first_new.previous(), host);
                self.may_drop_conflict = false;
                break;
            }
            first_new = first_new.next();
        }
        // Views change only after a signature, also in the logs of peers.
        let new_view = first_new <= last.seqno && self.view_at(first_new.previous()) != last.view;
        if new_view && first_new.previous() != self.last_committable() && self.commit > SeqNo::NONE {
            host.refuse(from, Refusal::ViewStart);
            return None;
        }
        Some(first_new)
    }

    fn apply(
        &mut self,
        from: &NodeId,
        tx_id: TxId,
        entry: &[u8],
        commit: SeqNo,
        host: &mut Host<'_>,
    ) -> bool {
        self.trace(host, || TraceEvent::ExecuteAppendEntriesSync { from: from.clone() });
        let Ok(facts) = host.log.apply(tx_id, entry) else { return false };
        assert_eq!(tx_id.seqno, self.last.next(), "entries are applied in order");
        self.last = tx_id.seqno;
        self.history.update(tx_id.seqno, tx_id.view).expect("the log grows at its end, in its newest view");
        self.reconfigure(tx_id.seqno, &facts, host);
        if facts.committable {
            self.note_signature(tx_id.seqno);
            self.commit_up_to(commit, host);
        }
        true
    }
}
