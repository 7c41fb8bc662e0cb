//! Configurations: the sets of nodes whose majorities decide (section 8).

use ccf_types::{NodeId, SeqNo};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// The least number of nodes that make a majority of `members`.
#[must_use]
pub const fn quorum(members: usize) -> usize {
    members / 2 + 1
}

/// The nodes of one configuration and their addresses (`host:port`).
pub type Nodes = BTreeMap<NodeId, Arc<str>>;

/// A set of nodes and the entry that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The entry it comes from; 0 for one that was given.
    pub seqno: SeqNo,
    /// Its members with their addresses.
    pub nodes: Nodes,
}

impl Configuration {
    /// Whether the nodes of which `counts` holds are a majority of the members.
    pub fn has_quorum(&self, counts: impl Fn(&NodeId) -> bool) -> bool {
        self.nodes.keys().filter(|id| counts(id)).count() >= quorum(self.nodes.len())
    }

    /// The highest position that a majority of the members has, given the position of each.
    pub fn agreed(&self, position: impl Fn(&NodeId) -> SeqNo) -> SeqNo {
        let mut positions: Vec<SeqNo> = self.nodes.keys().map(position).collect();
        positions.sort_unstable();
        positions.get(positions.len().saturating_sub(1) / 2).copied().unwrap_or(SeqNo::NONE)
    }
}

/// The active configurations, oldest first: the last committed one and all later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configurations(VecDeque<Configuration>);

impl Configurations {
    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Configuration> {
        self.0.iter()
    }

    /// Whether none is known yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Option<&Configuration> {
        self.0.back()
    }

    /// Whether the node is a member of any of them.
    #[must_use]
    pub fn contains(&self, id: &NodeId) -> bool {
        self.0.iter().any(|configuration| configuration.nodes.contains_key(id))
    }

    /// The members of all of them.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.0.iter().flat_map(|configuration| configuration.nodes.keys().cloned()).collect()
    }

    /// Whether the nodes of which `counts` holds are a majority of each of them; false without any.
    pub fn has_quorum(&self, counts: impl Fn(&NodeId) -> bool) -> bool {
        !self.0.is_empty() && self.0.iter().all(|configuration| configuration.has_quorum(&counts))
    }

    /// The highest position that majorities of each of them have.
    pub fn agreed(&self, position: impl Fn(&NodeId) -> SeqNo) -> SeqNo {
        self.0.iter().map(|configuration| configuration.agreed(&position)).min().unwrap_or(SeqNo::NONE)
    }

    /// Adds a newer one.
    pub(crate) fn push(&mut self, configuration: Configuration) {
        assert!(
            self.newest().is_none_or(|newest| newest.seqno <= configuration.seqno),
            "configurations are in order"
        );
        self.0.push_back(configuration);
    }

    /// Everything up to `commit` is committed: drops those that a later committed one replaces. Whether any was.
    pub(crate) fn commit(&mut self, commit: SeqNo) -> bool {
        let before = self.0.len();
        while self.0.get(1).is_some_and(|next| next.seqno <= commit) {
            self.0.pop_front();
        }
        self.0.len() < before
    }

    /// Drops those made after `to` and returns the nodes that are a member of none any more.
    pub(crate) fn rollback(&mut self, to: SeqNo) -> BTreeSet<NodeId> {
        let mut gone = BTreeSet::new();
        while self.0.back().is_some_and(|newest| newest.seqno > to) {
            gone.extend(
                self.0.pop_back().into_iter().flat_map(|configuration| configuration.nodes.into_keys()),
            );
        }
        gone.retain(|id| !self.contains(id));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(seqno: u64, names: &[&str]) -> Configuration {
        let nodes = names.iter().map(|name| (NodeId::from_text(name), Arc::from(":"))).collect();
        Configuration { seqno: SeqNo(seqno), nodes }
    }

    #[test]
    fn majorities() {
        assert_eq!([1, 2, 3, 4, 5].map(quorum), [1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_majority_of_the_union_is_not_a_majority_of_each() {
        let mut both = Configurations::default();
        both.push(configuration(1, &["0", "1", "2"]));
        both.push(configuration(3, &["2", "3", "4"]));
        let counts = |names: &'static str| move |id: &NodeId| names.contains(id.as_str());
        assert!(!both.has_quorum(counts("012")));
        assert!(both.has_quorum(counts("123")));
        assert!(!Configurations::default().has_quorum(|_| true));
    }

    #[test]
    fn commit_drops_the_replaced_and_rollback_the_new() {
        let mut all = Configurations::default();
        for (seqno, names) in [(1, &["0"][..]), (3, &["0", "1"]), (7, &["1", "2"])] {
            all.push(configuration(seqno, names));
        }
        let mut rolled_back = all.clone();
        assert_eq!(rolled_back.rollback(SeqNo(6)), [NodeId::from_text("2")].into());
        assert_eq!(rolled_back.newest().map(|c| c.seqno), Some(SeqNo(3)));
        assert!(!all.commit(SeqNo(2)));
        assert!(all.commit(SeqNo(7)));
        assert_eq!(all.iter().map(|c| c.seqno.0).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn agreement_equals_the_brute_force_definition() {
        let positions = |code: u64| {
            move |id: &NodeId| {
                let index: u32 = id.as_str().parse().expect("a digit");
                SeqNo(code / 6u64.pow(index) % 6)
            }
        };
        for members in
            [&["0"][..], &["0", "1"], &["0", "1", "2"], &["0", "1", "2", "3"], &["0", "1", "2", "3", "4"]]
        {
            let it = configuration(1, members);
            for code in 0..6u64.pow(5) {
                let position = positions(code);
                let held = |at: u64| it.has_quorum(|id| position(id) >= SeqNo(at));
                let expected = (0..6).rev().find(|at| held(*at)).expect("all hold 0");
                assert_eq!(it.agreed(position), SeqNo(expected), "{members:?} {code}");
            }
        }
    }
}
