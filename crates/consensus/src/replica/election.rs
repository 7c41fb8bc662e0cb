//! Votes: asking, giving, counting (section 7.2), and handing over (7.5).

use super::{Host, Leadership, Replica};
use crate::{
    message::{Message, RequestVote, VoteResponse},
    trace::TraceEvent,
};
use ccf_types::{NodeId, View};

impl Replica {
    pub(super) fn receive_request_vote(&mut self, from: &NodeId, packet: Message, host: &mut Host<'_>) {
        let (Message::RequestVote(request) | Message::RequestPreVote(request)) = packet else { return };
        let regular = matches!(packet, Message::RequestVote(_));
        self.trace(host, || TraceEvent::RecvRequestVote { from: from.clone(), packet });
        if request.view > self.view {
            self.adopt_view(request.view, host);
        }
        let granted = request.view == self.view && self.grants(from, &request, regular);
        if granted && regular {
            self.restart_election_timer();
            self.leader = None;
            self.voted_for = Some(from.clone());
        }
        let response = VoteResponse { view: self.view, granted };
        let answer = if regular { Message::RequestVoteResponse } else { Message::RequestPreVoteResponse };
        host.send(from, answer(response));
    }

    fn grants(&self, from: &NodeId, request: &RequestVote, regular: bool) -> bool {
        if regular {
            // Once the primary of a view is known nobody else gets a vote in it (3810).
            let voted_for_another = self.voted_for.as_ref().is_some_and(|other| other != from);
            if self.leader.is_some() || voted_for_another {
                return false;
            }
        }
        let own = self.tx_id(self.last_committable());
        let theirs = request.last_committable;
        (theirs.view, theirs.seqno) >= (own.view, own.seqno)
    }

    pub(super) fn receive_vote_response(&mut self, from: &NodeId, packet: Message, host: &mut Host<'_>) {
        self.trace(host, || TraceEvent::RecvRequestVoteResponse { from: from.clone(), packet });
        let (response, asked) = match packet {
            Message::RequestVoteResponse(response) => (response, Leadership::Candidate),
            Message::RequestPreVoteResponse(response) => (response, Leadership::PreVoteCandidate),
            _ => return,
        };
        if !self.peers.contains_key(from) {
            return;
        }
        if response.view > self.view {
            return self.adopt_view(response.view, host);
        }
        if response.view == self.view && self.leadership == asked && response.granted {
            self.count_vote(from.clone(), host);
        }
    }

    /// A vote counts in every active configuration that the voter is a member of; each must have its majority.
    pub(super) fn count_vote(&mut self, voter: NodeId, host: &mut Host<'_>) {
        self.votes.insert(voter);
        if !self.configurations.has_quorum(|id| self.votes.contains(id)) {
            return;
        }
        match self.leadership {
            Leadership::PreVoteCandidate => self.become_candidate(host),
            Leadership::Candidate => self.become_leader(host),
            Leadership::None | Leadership::Leader | Leadership::Follower => {}
        }
    }

    pub(super) fn receive_propose_request_vote(&mut self, from: &NodeId, view: View, host: &mut Host<'_>) {
        let packet = Message::ProposeRequestVote(view);
        self.trace(host, || TraceEvent::RecvProposeRequestVote { from: from.clone(), packet });
        let may_stand = !matches!(self.leadership, Leadership::None | Leadership::Leader);
        if may_stand && self.retired_committed.is_none() && self.ticking && view == self.view {
            self.become_candidate(host);
        }
    }

    /// Asks the best placed peer to stand. This node stays primary until it hears the later view.
    pub(super) fn nominate_successor(&mut self, host: &mut Host<'_>) {
        if self.leadership == Leadership::Leader {
            self.trace(host, || TraceEvent::StepDownAndNominateSuccessor {
                configurations: self.configurations.clone(),
            });
            self.propose_successor(host);
        }
    }

    pub(super) fn propose_successor(&mut self, host: &mut Host<'_>) {
        if let Some(successor) = self.successor() {
            host.send(&successor, Message::ProposeRequestVote(self.view));
        }
    }

    /// The peer that has most of the log; then the one in the newest configuration; then the lowest identifier.
    fn successor(&self) -> Option<NodeId> {
        let rank = |id: &NodeId| {
            self.configurations.iter().rev().find(|c| c.nodes.contains_key(id)).map(|c| c.seqno)
        };
        let mut best = None;
        for (id, peer) in &self.peers {
            let key = (peer.matched, rank(id));
            if best.as_ref().is_none_or(|(best, _)| key > *best) {
                best = Some((key, id));
            }
        }
        best.map(|(_, id)| id.clone())
    }
}
