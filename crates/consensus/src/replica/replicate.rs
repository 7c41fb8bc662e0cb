//! The primary's side of replication: entries in, messages out, answers back (sections 5 and 7.4).

use super::{Host, Leadership, Replica};
use crate::{
    batch::Batching,
    log::{LocalEntry, Log},
    message::{AppendEntries, AppendEntriesResponse, Message},
    output::{Output, Refusal},
    peers::Peer,
    trace::TraceEvent,
};
use ccf_types::{NodeId, SeqNo, View};

/// Entries were refused: this node is not the primary, not in the view of the entries, or they do not follow the log.
/// The host drops the writes, and only those of an older view or after the log's end (quirk Q17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the primary of the view of these entries")]
pub struct NotPrimary;

impl Replica {
    /// Adds entries that were written here. The host has them in its ledger already, or staged so that they can be read when
    /// a message leaves and dropped if this fails. They may be committed within this call if the node is alone.
    ///
    /// # Errors
    /// [`NotPrimary`]; then no entry was taken.
    ///
    /// # Panics
    /// If the batch itself has gaps or more than one view.
    pub fn replicate(
        &mut self,
        batch: &[LocalEntry],
        log: &mut dyn Log,
        out: &mut Vec<Output>,
    ) -> Result<(), NotPrimary> {
        let Some(first) = batch.first() else { return Ok(()) };
        if !self.can_replicate() || first.tx_id.view != self.view || first.tx_id.seqno != self.last.next() {
            return Err(NotPrimary);
        }
        let mut host = Host { log, out };
        for entry in batch {
            self.take_local(entry, &mut host);
        }
        self.commit_if_alone(&mut host);
        self.check_invariants();
        Ok(())
    }

    fn take_local(&mut self, entry: &LocalEntry, host: &mut Host<'_>) {
        let LocalEntry { tx_id, facts, size } = entry;
        assert_eq!(tx_id.seqno, self.last.next(), "a batch has no gaps");
        assert_eq!(tx_id.view, self.view, "a batch is of one view");
        self.trace(host, || TraceEvent::Replicate { entry: *tx_id, committable: facts.committable });
        self.reconfigure(tx_id.seqno, facts, host);
        if facts.committable {
            self.note_signature(tx_id.seqno);
            self.should_sign = false;
        }
        self.last = tx_id.seqno;
        self.history.update(tx_id.seqno, tx_id.view).expect("the log grows at its end, in the newest view");
        let full = self.batch.add(*size);
        if full || facts.committable && self.settings.send_at_signature {
            self.send_to_all(host);
        }
    }

    pub(super) fn send_to_all(&mut self, host: &mut Host<'_>) {
        let next: Vec<(NodeId, SeqNo)> =
            self.peers.iter().map(|(id, peer)| (id.clone(), peer.sent.next())).collect();
        for (id, next) in next {
            self.send_append_entries(&id, next, host);
        }
    }

    /// Sends everything from `start` on, in messages of one view and of bounded size, but not more than the peer may
    /// leave unanswered; at least a heartbeat.
    pub(super) fn send_append_entries(&mut self, to: &NodeId, start: SeqNo, host: &mut Host<'_>) {
        if self.is_behind(to) {
            return self.send_range(to, start, start.previous(), host);
        }
        let mut next = start;
        loop {
            let end = self.end_of_message(next, host);
            self.send_range(to, next, end, host);
            if end >= self.last || self.is_behind(to) {
                return;
            }
            next = end.next();
        }
    }

    /// Whether a peer has so many messages to answer that it gets no more.
    fn is_behind(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_none_or(Peer::is_behind)
    }

    fn end_of_message(&self, start: SeqNo, host: &Host<'_>) -> SeqNo {
        let end_of_view = self.history.end_of(self.view_at(start)).unwrap_or(self.last);
        let (entries, bytes) = self.batch.room(self.last.0.saturating_sub(start.0));
        let most = SeqNo(start.0.saturating_add(entries - 1));
        let end = most.min(end_of_view).min(self.last);
        if self.settings.batching != Batching::Average || end <= start {
            return end;
        }
        host.log.last_fitting(start, end, bytes).clamp(start, end)
    }

    fn send_range(&mut self, to: &NodeId, start: SeqNo, end: SeqNo, host: &mut Host<'_>) {
        let packet = Message::AppendEntries(AppendEntries {
            last: self.tx_id(end),
            previous: self.tx_id(start.previous()),
            view: self.view,
            commit: self.commit,
        });
        let Some(peer) = self.peers.get(to) else { return };
        let (matched, sent) = (peer.matched, peer.sent);
        self.trace(host, || TraceEvent::SendAppendEntries { to: to.clone(), packet, matched, sent });
        host.send(to, packet);
        if let Some(peer) = self.peers.get_mut(to) {
            peer.sent_up_to(end, end >= start);
        }
    }

    pub(super) fn receive_append_entries_response(
        &mut self,
        from: &NodeId,
        response: AppendEntriesResponse,
        host: &mut Host<'_>,
    ) {
        let Some(peer) = self.peers.get(from) else { return };
        let (matched, sent) = (peer.matched, peer.sent);
        let packet = Message::AppendEntriesResponse(response);
        self.trace(host, || TraceEvent::RecvAppendEntriesResponse {
            from: from.clone(),
            packet,
            matched,
            sent,
        });
        if self.leadership != Leadership::Leader {
            return;
        }
        if response.view > self.view {
            return self.adopt_view(response.view, host);
        }
        if response.success {
            if response.view < self.view || response.last < matched {
                return; // from earlier
            }
            if response.last > self.last {
                return host.refuse(from, Refusal::UnknownEntries);
            }
        }
        // A refusal may carry the view of an older entry and never moves what is known to match (5324).
        let estimate = self.history.match_estimate(response.view, response.last, self.last);
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.silent_ms = 0;
        if !response.success {
            peer.send_again_from(estimate.min(peer.sent).max(peer.matched));
            return;
        }
        let was_behind = peer.is_behind();
        peer.acknowledged(response.last);
        let more = was_behind && peer.sent < self.last && !peer.is_behind();
        let next = peer.sent.next();
        self.try_commit(host);
        if more && self.leadership == Leadership::Leader {
            self.send_append_entries(from, next, host);
        }
    }

    /// Whether entries written here in the current view would be taken.
    #[must_use]
    pub fn can_replicate(&self) -> bool {
        self.leadership == Leadership::Leader && self.retired_committed.is_none()
    }

    /// The view of an entry; unknown beyond the log.
    #[must_use]
    pub fn view_at(&self, seqno: SeqNo) -> View {
        if seqno > self.last { View::UNKNOWN } else { self.history.view_at(seqno) }
    }
}
