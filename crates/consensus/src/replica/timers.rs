//! What time does: heartbeats, elections, and the check that a primary still has its majorities (section 3).

use super::{Host, Leadership, Replica};

impl Replica {
    pub(super) fn tick(&mut self, elapsed_ms: u64, host: &mut Host<'_>) {
        self.elapsed_ms = self.elapsed_ms.saturating_add(elapsed_ms);
        if self.leadership == Leadership::Leader {
            if self.elapsed_ms >= self.settings.message_timeout_ms {
                self.elapsed_ms = 0;
                self.batch.recompute();
                self.send_to_all(host);
            }
            // Before the first signature nobody's election clock runs, not its own either: nobody would ever lead again.
            if self.ticking {
                self.check_quorum(elapsed_ms, host);
            }
        } else if self.ticking
            && self.retired_committed.is_none()
            && self.elapsed_ms >= self.settings.election_timeout_ms
        {
            if self.settings.pre_vote {
                self.become_pre_vote_candidate(host);
            } else {
                self.become_candidate(host);
            }
        }
    }

    /// A primary steps down if a majority of any active configuration is silent. One of them is not enough (7375).
    fn check_quorum(&mut self, elapsed_ms: u64, host: &mut Host<'_>) {
        for peer in self.peers.values_mut() {
            peer.silent_ms = peer.silent_ms.saturating_add(elapsed_ms);
        }
        let limit = self.settings.election_timeout_ms;
        let live = |id: &_| *id == self.id || self.peers.get(id).is_some_and(|peer| peer.silent_ms < limit);
        if !self.configurations.is_empty() && !self.configurations.has_quorum(live) {
            self.become_follower(host);
        }
    }

    /// Elections come after half the timeout to the whole of it.
    pub(super) fn restart_election_timer(&mut self) {
        self.elapsed_ms = self.rng.up_to(self.settings.election_timeout_ms / 2);
    }

    pub(super) fn reset_silence(&mut self) {
        for peer in self.peers.values_mut() {
            peer.silent_ms = 0;
        }
    }

    /// Timers run from the first signature on that this node sees as a member of the newest configuration.
    pub(super) fn start_ticking_at_signature(&mut self) {
        let member = self.configurations.newest().is_some_and(|newest| newest.nodes.contains_key(&self.id));
        if !self.ticking && member {
            self.ticking = true;
            self.elapsed_ms = 0;
        }
    }
}
