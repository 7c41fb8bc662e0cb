//! The rules of the recovery decision protocol as a state machine: one event after the other, no store, no clock.
//!
//! | phase | event | next |
//! |---|---|---|
//! | gossiping | gossip of all locations is there, or the phase has timed out | voting, for the location with the longest ledger |
//! | voting | a majority of the locations voted for this node | opening |
//! | voting | timed out, and at least one voted for this node | opening, without a majority |
//! | opening | timed out | open |
//! | gossiping, voting | another node says that it is open | joining |
//!
//! A location votes once, so that at most one node opens with a majority. Without majorities two may.

use ccf_types::TxId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a recovering node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nodes tell each other how long their ledgers are.
    Gossiping,
    /// This node has chosen.
    Voting,
    /// This node opens its service, and tells the others.
    Opening,
    /// This node gives up its service and joins that of another node.
    Joining,
    /// This node has told the others long enough.
    Open,
}

/// Why a node opens its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenKind {
    /// A majority of the locations voted for it.
    Quorum,
    /// Fewer did, but nothing more came: another node may open its own service too.
    Failover,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A location's ledger ends with this signature; also how a node begins, with its own.
    Gossip {
        /// Whose.
        from: &'a str,
        /// The last signature.
        tx_id: TxId,
    },
    /// A location votes for this node.
    Vote {
        /// Who votes.
        from: &'a str,
    },
    /// A location has opened its service.
    Opened {
        /// Who.
        from: &'a str,
    },
    /// The time of one phase has passed.
    Timeout,
}

/// What the node must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but to keep the state.
    Nothing,
    /// Open the service, in the same transaction.
    Open,
    /// Give up the service and join that of the sender.
    Join,
}

/// The event is refused; the state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Gossip comes too late.
    #[error("This node has already voted for {0}")]
    Voted(String),
    /// This node's service is the one.
    #[error("Node is already open, ignoring iamopen request")]
    Open,
    /// Not one of the locations.
    #[error("Location {0} is not one of the expected ones")]
    Unexpected(String),
}

/// The locations, as configured.
#[derive(Clone, Copy, Debug)]
pub struct Locations<'a> {
    /// This node's.
    pub own: &'a str,
    /// All, this node's included.
    pub expected: &'a BTreeSet<String>,
}

/// The state of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// The phase whose time is running: a timeout counts only for a node that is in it.
    pub lane: Phase,
    /// The last signatures of the locations heard of.
    pub gossip: BTreeMap<String, TxId>,
    /// For whom this node votes.
    pub chosen: Option<String>,
    /// Who votes for this node.
    pub votes: BTreeSet<String>,
    /// Why it opened.
    pub open_kind: Option<OpenKind>,
}

impl Default for State {
    fn default() -> Self {
        State {
            phase: Phase::Gossiping,
            lane: Phase::Gossiping,
            gossip: BTreeMap::new(),
            chosen: None,
            votes: BTreeSet::new(),
            open_kind: None,
        }
    }
}

impl State {
    /// Takes one event.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn take(&mut self, locations: Locations<'_>, event: Event<'_>) -> Result<Effect, Refused> {
        if let Event::Gossip { from, .. } | Event::Vote { from } | Event::Opened { from } = event
            && !locations.expected.contains(from)
        {
            return Err(Refused::Unexpected(from.to_owned()));
        }
        let mut timed_out = None;
        match event {
            Event::Gossip { from, tx_id } => match &self.chosen {
                Some(chosen) => return Err(Refused::Voted(chosen.clone())),
                None => drop(self.gossip.insert(from.to_owned(), tx_id)),
            },
            Event::Vote { from } => drop(self.votes.insert(from.to_owned())),
            Event::Opened { from } => match self.phase {
                Phase::Opening | Phase::Open => return Err(Refused::Open),
                Phase::Joining => return Ok(Effect::Nothing),
                Phase::Gossiping | Phase::Voting => {
                    self.chosen = Some(from.to_owned());
                    self.phase = Phase::Joining;
                    return Ok(Effect::Join);
                }
            },
            Event::Timeout => {
                timed_out = (self.phase == self.lane).then_some(self.phase);
                self.lane = match self.lane {
                    Phase::Gossiping => Phase::Voting,
                    _ => Phase::Opening,
                };
            }
        }
        Ok(self.advance(locations, timed_out))
    }

    fn advance(&mut self, locations: Locations<'_>, timed_out: Option<Phase>) -> Effect {
        let count = locations.expected.len();
        if self.phase == Phase::Gossiping
            && (self.gossip.len() >= count || timed_out == Some(Phase::Gossiping))
            && let Some(longest) = self.gossip.iter().max_by_key(|(name, tx_id)| (**tx_id, *name))
        {
            let chosen = longest.0.clone();
            if chosen == locations.own {
                self.votes.insert(chosen.clone());
            }
            self.chosen = Some(chosen);
            self.phase = Phase::Voting;
        }
        if self.phase == Phase::Voting {
            let is_majority = self.votes.len() > count / 2;
            if is_majority || timed_out == Some(Phase::Voting) && !self.votes.is_empty() {
                self.open_kind = Some(if is_majority { OpenKind::Quorum } else { OpenKind::Failover });
                self.phase = Phase::Opening;
                return Effect::Open;
            }
        }
        if self.phase == Phase::Opening && timed_out == Some(Phase::Opening) {
            self.phase = Phase::Open;
        }
        Effect::Nothing
    }
}

#[cfg(test)]
mod tests;
