//! What a replica knows of each other node.

use crate::limits::IN_FLIGHT_MESSAGES_MAX;
use ccf_types::{NodeId, SeqNo};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// One other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens, `host:port`.
    pub address: Arc<str>,
    /// The last entry sent to it.
    pub sent: SeqNo,
    /// The last entry that it is known to have; 0 in a new view until it answers.
    pub matched: SeqNo,
    /// Milliseconds since it last answered this primary.
    pub silent_ms: u64,
    /// The last entry of each message with entries that it has not acknowledged, ascending.
    unanswered: VecDeque<SeqNo>,
}

impl Peer {
    pub(crate) fn new(address: Arc<str>, sent: SeqNo) -> Peer {
        Peer { address, sent, matched: SeqNo::NONE, silent_ms: 0, unanswered: VecDeque::new() }
    }

    /// A new primary knows nothing of it but assumes that it has all.
    pub(crate) fn restart(&mut self, sent: SeqNo) {
        (self.matched, self.sent) = (SeqNo::NONE, sent);
        self.unanswered.clear();
    }

    /// A message was sent that ends with `end`.
    pub(crate) fn sent_up_to(&mut self, end: SeqNo, with_entries: bool) {
        self.sent = end;
        if with_entries {
            self.unanswered.push_back(end);
        }
    }

    /// It has everything up to `to`; one acknowledgement may answer several messages.
    pub(crate) fn acknowledged(&mut self, to: SeqNo) {
        self.matched = self.matched.max(to);
        // After a refusal sending began anew further back than what earlier messages brought: what is known to be there is
        // not sent again. Answers to it would say less than is known and be taken for old ones, for ever.
        self.sent = self.sent.max(self.matched);
        while self.unanswered.front().is_some_and(|end| *end <= self.matched) {
            self.unanswered.pop_front();
        }
    }

    /// It refused: what follows `sent` is to be sent again.
    pub(crate) fn send_again_from(&mut self, sent: SeqNo) {
        self.sent = sent;
        self.unanswered.clear();
    }

    /// Whether it has so many messages to answer that it gets no more.
    pub(crate) fn is_behind(&self) -> bool {
        self.unanswered.len() >= IN_FLIGHT_MESSAGES_MAX
    }
}

/// All other nodes: members of active configurations and retired nodes whose retirement some future primary may not
/// know. In the order of their identifiers, so that the order of messages is the same in every run (quirk Q11).
pub(crate) type Peers = BTreeMap<NodeId, Peer>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Several refusals and late acknowledgements crossed under load: a full window before `matched` was never answered.
    #[test]
    fn late_acknowledgements_after_a_refusal_leave_no_window_that_cannot_be_answered() {
        let mut peer = Peer::new("".into(), SeqNo(0));
        (1..=200).for_each(|end| peer.sent_up_to(SeqNo(end), true));
        peer.send_again_from(SeqNo(10));
        (11..=10 + IN_FLIGHT_MESSAGES_MAX as u64).for_each(|end| peer.sent_up_to(SeqNo(end), true));
        assert!(peer.is_behind());
        peer.acknowledged(SeqNo(150));
        assert_eq!((peer.matched, peer.sent), (SeqNo(150), SeqNo(150)));
        assert!(!peer.is_behind());
    }
}
