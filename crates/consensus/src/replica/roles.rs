//! Roles and the ways from one to another (sections 2 and 7.1).

use super::{Host, Replica};
use crate::{
    message::{Message, RequestVote},
    output::Output,
    trace::TraceEvent,
};
use ccf_types::{SeqNo, TxId, View};

/// The role of a replica in its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leadership {
    /// Not started, or retired for good.
    None,
    /// The primary.
    Leader,
    /// A backup.
    Follower,
    /// Sounding out whether an election could be won.
    PreVoteCandidate,
    /// Standing for election.
    Candidate,
}

/// How far the retirement of this node has come (section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetirementPhase {
    /// The entry is in the log.
    Ordered,
    /// So is a signature after it.
    Signed,
    /// That signature is committed: the node counts in no quorum any more, but all else goes on.
    Completed,
    /// Every future primary knows of it.
    RetiredCommitted,
}

impl Leadership {
    /// The spelling of traces and of the node's endpoints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Leadership::None => "None",
            Leadership::Leader => "Leader",
            Leadership::Follower => "Follower",
            Leadership::PreVoteCandidate => "PreVoteCandidate",
            Leadership::Candidate => "Candidate",
        }
    }
}

impl RetirementPhase {
    /// The spelling of traces and of the node's endpoints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RetirementPhase::Ordered => "Ordered",
            RetirementPhase::Signed => "Signed",
            RetirementPhase::Completed => "Completed",
            RetirementPhase::RetiredCommitted => "RetiredCommitted",
        }
    }
}

impl Replica {
    /// Follows into a view that a message told of. The vote is forgotten only if the view is a later one: quirk Q1.
    pub(super) fn adopt_view(&mut self, view: View, host: &mut Host<'_>) {
        assert!(view >= self.view, "views never decrease");
        if view > self.view {
            self.voted_for = None;
        }
        self.view = view;
        self.votes.clear();
        self.become_follower(host);
        self.may_drop_conflict = true;
    }

    /// Nothing is rolled back here: an unsigned suffix stays until a conflict removes it (quirk Q16).
    pub(super) fn become_follower(&mut self, host: &mut Host<'_>) {
        self.leader = None;
        self.restart_election_timer();
        self.reset_silence();
        self.enter(Leadership::Follower, host);
        self.trace(host, || TraceEvent::BecomeFollower { configurations: self.configurations.clone() });
    }

    pub(super) fn become_pre_vote_candidate(&mut self, host: &mut Host<'_>) {
        if self.configurations.is_empty() {
            return;
        }
        self.leader = None;
        self.votes.clear();
        self.restart_election_timer();
        self.enter(Leadership::PreVoteCandidate, host);
        self.trace(host, || TraceEvent::BecomePreVoteCandidate {
            configurations: self.configurations.clone(),
        });
        self.stand(Message::RequestPreVote, host);
    }

    pub(super) fn become_candidate(&mut self, host: &mut Host<'_>) {
        if self.configurations.is_empty() {
            return;
        }
        self.leader = None;
        self.voted_for = Some(self.id.clone());
        self.votes.clear();
        self.view = self.view.next();
        self.restart_election_timer();
        self.reset_silence();
        self.enter(Leadership::Candidate, host);
        self.trace(host, || TraceEvent::BecomeCandidate { configurations: self.configurations.clone() });
        self.stand(Message::RequestVote, host);
    }

    /// Votes for itself and asks all members of active configurations.
    fn stand(&mut self, message: fn(RequestVote) -> Message, host: &mut Host<'_>) {
        let (view, role) = (self.view, self.leadership);
        self.count_vote(self.id.clone(), host);
        if self.view != view || self.leadership != role {
            return; // the own vote was enough
        }
        let packet = message(RequestVote { view, last_committable: self.tx_id(self.last_committable()) });
        for to in self.configurations.members() {
            if to != self.id {
                self.trace(host, || TraceEvent::SendRequestVote { to: to.clone(), packet });
                host.send(&to, packet);
            }
        }
    }

    /// Takes the lead in the current view. The log is cut to the last signature: what follows it was never covered by a
    /// signature of its view and no other primary may build on it.
    pub(super) fn become_leader(&mut self, host: &mut Host<'_>) {
        if self.retired_committed.is_some() {
            return;
        }
        let cut = self.last_committable();
        if cut > SeqNo::NONE {
            self.rollback(cut, host);
        } else {
            host.log.set_view(self.view);
        }
        self.leader = Some(self.id.clone());
        self.should_sign = true;
        self.elapsed_ms = 0;
        self.reset_silence();
        self.enter(Leadership::Leader, host);
        self.trace(host, || TraceEvent::BecomeLeader { configurations: self.configurations.clone() });
        self.commit_if_alone(host);

        let ids: Vec<_> = self.peers.keys().cloned().collect();
        for peer in self.peers.values_mut() {
            peer.restart(self.last);
        }
        for id in ids {
            self.send_append_entries(&id, self.last.next(), host);
        }
        host.out.push(Output::RequestCleanup);
    }

    /// The retirement of this node is known for good: no role any more.
    pub(super) fn leave(&mut self, host: &mut Host<'_>) {
        self.leader = None;
        self.enter(Leadership::None, host);
    }

    fn enter(&mut self, to: Leadership, host: &mut Host<'_>) {
        use Leadership::{Candidate, Follower, Leader, None, PreVoteCandidate};
        let from = self.leadership;
        let allowed = match (from, to) {
            (_, None | Follower) => true,
            (_, Leader) => matches!(from, None | Candidate),
            // A node that was given a configuration but never heard a primary stands as well (scenario command `nodes`).
            (Leader, PreVoteCandidate | Candidate) => false,
            (_, PreVoteCandidate | Candidate) => self.retired_committed.is_none(),
        };
        assert!(allowed, "no way from {from:?} to {to:?}");
        self.leadership = to;
        self.owed = SeqNo::NONE;
        host.out.push(Output::RoleChanged { leadership: to, view: self.view });
    }

    pub(super) fn tx_id(&self, seqno: SeqNo) -> TxId {
        TxId { view: self.view_at(seqno), seqno }
    }

    /// The last signature of the log, or the commit if there is none after it.
    pub(super) fn last_committable(&self) -> SeqNo {
        self.committable.back().copied().unwrap_or(self.commit)
    }
}
