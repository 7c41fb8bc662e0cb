//! What a backup tells its primary about its log: that it has the entries, or that it refuses them (sections 5 and 7.3).
//!
//! The primary counts an acknowledgement towards the commit. With [`Settings::wait_for_disk`](super::Settings) a backup
//! therefore acknowledges only what its own disk has, and once more when the disk has got further: what is committed
//! survives the death of all processes at one moment.

use super::{Host, Leadership, Replica};
use crate::{
    message::{AppendEntries, AppendEntriesResponse, Message},
    trace::TraceEvent,
};
use ccf_types::{NodeId, SeqNo, TxId};

impl Replica {
    /// The log is now the same as the primary's up to the last entry of the request. An acknowledgement never names
    /// anything after that, such as the own tail (6001).
    pub(super) fn acknowledge(&mut self, to: &NodeId, request: &AppendEntries, host: &mut Host<'_>) {
        let shared = request.last.seqno;
        let durable = self.durable().min(shared);
        let is_heartbeat = request.previous.seqno == shared;
        if durable < shared {
            self.owed = self.owed.max(shared);
            // A heartbeat is answered at once: the primary must hear that this node is alive, however slow its disk.
            if !is_heartbeat {
                return;
            }
        }
        self.respond(to, TxId { view: self.view, seqno: durable }, true, host);
    }

    /// The own disk has everything up to `reached`.
    pub(super) fn note_persisted(&mut self, reached: TxId, host: &mut Host<'_>) {
        if self.view_at(reached.seqno) != reached.view || reached.seqno <= self.persisted {
            return;
        }
        let told = self.persisted;
        self.persisted = reached.seqno;
        let durable = self.persisted.min(self.owed);
        if durable > told && self.leadership == Leadership::Follower {
            if self.persisted >= self.owed {
                self.owed = SeqNo::NONE;
            }
            if let Some(leader) = self.leader.clone() {
                self.respond(&leader, TxId { view: self.view, seqno: durable }, true, host);
            }
        }
        self.try_commit(host);
    }

    /// How much of the own log may be counted towards a commit.
    pub(super) fn durable(&self) -> SeqNo {
        if self.settings.wait_for_disk { self.persisted } else { self.last }
    }

    /// Refuses entries and says how long the own log is.
    pub(super) fn refuse_entries(&self, to: &NodeId, host: &mut Host<'_>) {
        self.respond(to, TxId { view: self.view, seqno: self.last }, false, host);
    }

    /// Answers entries: `at` is the last entry known to be shared.
    pub(super) fn respond(&self, to: &NodeId, at: TxId, success: bool, host: &mut Host<'_>) {
        let packet =
            Message::AppendEntriesResponse(AppendEntriesResponse { view: at.view, last: at.seqno, success });
        self.trace(host, || TraceEvent::SendAppendEntriesResponse { to: to.clone(), packet });
        host.send(to, packet);
    }
}
