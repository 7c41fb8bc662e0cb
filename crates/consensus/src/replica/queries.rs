//! What the host can ask a replica (sections 8 and 13).

use super::{Leadership, Replica, RetirementPhase};
use crate::{configuration::Configurations, peers::Peer, view_history::ViewHistory};
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::collections::BTreeMap;

/// What is known here of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// Never heard of.
    Unknown,
    /// In the log, not committed.
    Pending,
    /// Committed, for good.
    Committed,
    /// Never to be committed, for good.
    Invalid,
}

/// A snapshot of a replica for the node's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The active configurations, oldest first.
    pub configurations: Configurations,
    /// The other nodes; how long each is silent is kept by a primary only.
    pub peers: BTreeMap<NodeId, Peer>,
    /// None for an active node.
    pub retirement_phase: Option<RetirementPhase>,
    /// The role.
    pub leadership: Leadership,
    /// The primary, if known.
    pub primary: Option<NodeId>,
    /// The highest view seen.
    pub view: View,
    /// Whether elections are possible.
    pub ticking: bool,
}

impl Replica {
    /// This node.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The highest view seen.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last(&self) -> TxId {
        self.tx_id(self.last)
    }

    /// The last committed entry.
    #[must_use]
    pub fn committed(&self) -> TxId {
        self.tx_id(self.commit)
    }

    /// The role.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// The primary, if known.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeId> {
        self.leader.as_ref()
    }

    /// The node that this one voted for in the current view.
    #[must_use]
    pub fn voted_for(&self) -> Option<&NodeId> {
        self.voted_for.as_ref()
    }

    /// The active configurations, oldest first.
    #[must_use]
    pub fn configurations(&self) -> &Configurations {
        &self.configurations
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<NodeId, Peer> {
        &self.peers
    }

    /// Where each view starts.
    #[must_use]
    pub fn history(&self) -> &ViewHistory {
        &self.history
    }

    /// The signatures after the commit.
    pub fn committable(&self) -> impl DoubleEndedIterator<Item = SeqNo> + '_ {
        self.committable.iter().copied()
    }

    /// Whether a primary must sign even if nothing is unsigned: it has not in this view.
    #[must_use]
    pub fn should_sign(&self) -> bool {
        self.can_replicate() && self.should_sign
    }

    /// Entries written but not committed: what a limit on pending transactions is compared with.
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        self.last.0 - self.commit.0
    }

    /// What is known of a transaction (section 13).
    #[must_use]
    pub fn tx_status(&self, tx_id: TxId) -> TxStatus {
        let local = self.view_at(tx_id.seqno);
        if tx_id.seqno <= self.commit {
            return if local == tx_id.view { TxStatus::Committed } else { TxStatus::Invalid };
        }
        if local == tx_id.view {
            TxStatus::Pending
        } else if self.view_at(self.commit) > tx_id.view {
            TxStatus::Invalid
        } else {
            TxStatus::Unknown
        }
    }

    /// Everything that the node's endpoints show.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            configurations: self.configurations.clone(),
            peers: self.peers.clone(),
            retirement_phase: self.retirement_phase(),
            leadership: self.leadership,
            primary: self.leader.clone(),
            view: self.view,
            ticking: self.ticking,
        }
    }
}
