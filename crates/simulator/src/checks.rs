//! The invariants of the formal model (consensus specification, section 16), checked after every step.

use crate::{
    memory_log::{LogCall, MemoryLog},
    node::Node,
};
use ccf_consensus::{Leadership, Nodes, TxStatus, quorum};
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, by the name of the model where it has one.
    pub invariant: &'static str,
    /// Where it was seen.
    pub details: String,
}

/// What is known of the run so far.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    primaries: BTreeMap<View, NodeId>,
    /// Every entry ever written: the entry before it, and its bytes.
    written: BTreeMap<TxId, (TxId, Arc<[u8]>)>,
    /// The committed log, as the first node to commit had it.
    committed: Vec<TxId>,
    /// How far a primary of each view committed.
    commits: BTreeMap<View, SeqNo>,
    seen: BTreeMap<NodeId, Seen>,
    /// Nodes hold only what their disks have.
    disks_count: bool,
}

/// What a node was like when last looked at.
#[derive(Clone, Debug, Default)]
struct Seen {
    view: View,
    commit: SeqNo,
    leadership: Option<Leadership>,
    matched: BTreeMap<NodeId, SeqNo>,
}

type Checked = Result<(), Violation>;

impl Checks {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Checks {
        Checks::default()
    }

    /// What is committed must be on the disks of a majority, not only in its memory.
    #[must_use]
    pub fn of_disks(self, disks_count: bool) -> Checks {
        Checks { disks_count, ..self }
    }

    /// How many entries are committed.
    #[must_use]
    pub fn committed(&self) -> SeqNo {
        SeqNo(self.committed.len() as u64)
    }

    /// Whether a log that ends with `last` can never be committed: something else was, at that place.
    #[must_use]
    pub fn is_abandoned(&self, last: TxId) -> bool {
        let at = usize::try_from(last.seqno.0).ok().and_then(|at| at.checked_sub(1));
        at.and_then(|at| self.committed.get(at)).is_some_and(|committed| *committed != last)
    }

    /// How many entries were ever written, and in how many views there was a primary.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        (self.written.len(), self.primaries.len())
    }

    /// Looks at a node that has just done something. `nodes` are all nodes, crashed ones as they were.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn after_step<'a>(
        &mut self,
        id: &NodeId,
        calls: &[LogCall],
        nodes: &'a dyn Fn(&NodeId) -> Option<&'a Node>,
    ) -> Checked {
        let Some(node) = nodes(id) else { return Ok(()) };
        for call in calls {
            match call {
                LogCall::Append(tx_id) => self.appended(node, *tx_id)?,
                LogCall::Compact(to) => self.compacted(node, *to, nodes)?,
                LogCall::Rollback(..) => self.quorum_log(id, nodes)?,
                LogCall::SetView(_) => {}
            }
        }
        self.monotone(node)?;
        self.leadership(node, nodes)?;
        if !calls.is_empty() {
            derived_from_log(node)?;
        }
        Ok(())
    }

    /// No two nodes ever disagree whether a transaction is committed or invalid.
    ///
    /// # Errors
    /// A transaction of which they do.
    pub fn statuses(&self, nodes: &[&Node]) -> Checked {
        for tx_id in self.written.keys() {
            let statuses: BTreeSet<&str> = nodes
                .iter()
                .filter_map(|node| match node.replica.tx_status(*tx_id) {
                    TxStatus::Committed => Some("committed"),
                    TxStatus::Invalid => Some("invalid"),
                    TxStatus::Pending | TxStatus::Unknown => None,
                })
                .collect();
            require(statuses.len() < 2, "StatusInv", || format!("{tx_id} is both committed and invalid"))?;
            let index = usize::try_from(tx_id.seqno.0 - 1).unwrap_or(usize::MAX);
            let is_committed = self.committed.get(index) == Some(tx_id);
            require(!is_committed || !statuses.contains("invalid"), "StatusInv", || {
                format!("{tx_id} is committed and called invalid")
            })?;
        }
        Ok(())
    }

    /// LogMatchingInv and MonoLogInv.
    fn appended(&mut self, node: &Node, tx_id: TxId) -> Checked {
        let Some(entry) = node.log.get(tx_id.seqno).filter(|entry| entry.tx_id == tx_id) else {
            return Ok(()); // dropped again in the same step
        };
        let before = node.log.get(tx_id.seqno.previous());
        let previous = before.map_or(TxId::default(), |before| before.tx_id);
        require(previous.view <= tx_id.view, "MonoLogInv", || format!("{tx_id} follows {previous}"))?;
        if previous.view < tx_id.view && tx_id.seqno > SeqNo(1) {
            let signed = before.is_some_and(|before| before.committable);
            require(signed, "MonoLogInv", || format!("view {} begins after {previous}", tx_id.view))?;
        }
        let written = self.written.entry(tx_id).or_insert_with(|| (previous, entry.bytes.clone()));
        require(*written == (previous, entry.bytes.clone()), "LogMatchingInv", || {
            format!("{} has another {tx_id}", node.replica.id())
        })
    }

    /// LogInv, SignatureInv, and that majorities hold what is committed.
    fn compacted<'a>(
        &mut self,
        node: &Node,
        to: SeqNo,
        nodes: &'a dyn Fn(&NodeId) -> Option<&'a Node>,
    ) -> Checked {
        let id = node.replica.id();
        let known = self.committed.len();
        for entry in node.log.entries().iter().take(usize::try_from(to.0).unwrap_or(usize::MAX)) {
            let index = usize::try_from(entry.tx_id.seqno.0 - 1).unwrap_or(usize::MAX);
            match self.committed.get(index) {
                Some(committed) => require(*committed == entry.tx_id, "LogInv", || {
                    format!("{id} commits {}, {committed} was committed", entry.tx_id)
                })?,
                None => self.committed.push(entry.tx_id),
            }
        }
        require(node.log.get(to).is_some_and(|entry| entry.committable), "SignatureInv", || {
            format!("{id} commits up to {to}")
        })?;
        if self.committed.len() > known {
            let leads =
                node.replica.leadership() == Leadership::Leader || node.replica.retirement_phase().is_some();
            require(leads, "LogInv", || format!("{id} commits {to} before any primary"))?;
            let of_view = node.log.get(to).map(|entry| entry.tx_id.view);
            require(of_view == Some(node.replica.view()), "CommitOwnViewInv", || {
                format!("{id} commits {to} in view {}", node.replica.view())
            })?;
            self.commits.insert(node.replica.view(), to);
        }
        self.quorum_log(id, nodes)
    }

    /// QuorumLogInv: a majority of the newest committed configuration holds everything committed, on disk if commits wait
    /// for disks.
    fn quorum_log<'a>(&self, id: &NodeId, nodes: &'a dyn Fn(&NodeId) -> Option<&'a Node>) -> Checked {
        let Some(last) = self.committed.last() else { return Ok(()) };
        let held = |id: &NodeId| {
            nodes(id).is_some_and(|node| {
                holds(&node.log, *last) && (!self.disks_count || node.log.on_disk() >= last.seqno)
            })
        };
        let newest = self.committed.iter().rev().find_map(|tx_id| configuration_of(self.written.get(tx_id)?));
        let Some(newest) = newest else { return Ok(()) };
        let count = newest.keys().filter(|id| held(id)).count();
        require(count >= quorum(newest.len()), "QuorumLogInv", || {
            format!("after a step of {id}, {last} is committed and {count} of {} hold it", newest.len())
        })
    }

    fn monotone(&mut self, node: &Node) -> Checked {
        let id = node.replica.id();
        let (view, commit, leadership) = (node.replica.view(), node.commit(), node.replica.leadership());
        let seen = self.seen.entry(id.clone()).or_default();
        require(view >= seen.view, "MonoTermInv", || format!("{id} goes back to view {view}"))?;
        require(commit >= seen.commit, "MonoCommitInv", || format!("{id} goes back to commit {commit}"))?;
        if leadership == Leadership::Leader {
            let same = seen.leadership == Some(leadership) && seen.view == view;
            if !same {
                seen.matched.clear();
            }
            for (peer, state) in node.replica.peers() {
                let before = seen.matched.insert(peer.clone(), state.matched).unwrap_or(SeqNo::NONE);
                require(state.matched >= before, "MonoMatchInv", || format!("{id} loses what {peer} has"))?;
            }
        }
        (seen.view, seen.commit, seen.leadership) = (view, commit, Some(leadership));
        Ok(())
    }

    /// MoreThanOneLeaderInv, LeaderCompletenessInv, MatchIndexBoundedByLogInv.
    fn leadership<'a>(&mut self, node: &Node, nodes: &'a dyn Fn(&NodeId) -> Option<&'a Node>) -> Checked {
        let (id, view) = (node.replica.id(), node.replica.view());
        if node.replica.leadership() != Leadership::Leader {
            return Ok(());
        }
        let first = self.primaries.entry(view).or_insert_with(|| id.clone());
        require(first == id, "MoreThanOneLeaderInv", || format!("{first} and {id} lead view {view}"))?;
        if let Some((_, to)) = self.commits.range(..view).next_back() {
            let index = usize::try_from(to.0 - 1).unwrap_or(usize::MAX);
            let complete = self.committed.get(index).is_some_and(|tx_id| holds(&node.log, *tx_id));
            require(complete, "LeaderCompletenessInv", || {
                format!("{id} leads view {view} and lacks entry {to}")
            })?;
        }
        for (peer, state) in node.replica.peers() {
            let Some(other) = nodes(peer).filter(|other| other.replica.view() == view) else { continue };
            let has = node.log.get(state.matched).is_none_or(|entry| holds(&other.log, entry.tx_id));
            require(has, "MatchIndexBoundedByLogInv", || {
                format!("{peer} lacks {} that {id} counts", state.matched)
            })?;
        }
        Ok(())
    }
}

/// LogConfigurationConsistentInv, CommitCommittableIndices, MembershipStateConsistentInv: what a replica keeps is what
/// its log says.
fn derived_from_log(node: &Node) -> Checked {
    let replica = &node.replica;
    let id = replica.id();
    require(replica.last().seqno == node.log.last(), "LogInv", || {
        format!("{id} and its ledger have other ends")
    })?;
    let commit = node.commit();
    let (mut active, mut ordered, mut signed) = (Vec::<(SeqNo, Nodes)>::new(), None, None);
    let mut signatures = Vec::new();
    let reconfigurations = node.log.reconfigurations();
    for entry in node.log.entries() {
        let at = entry.tx_id.seqno;
        if let Some(nodes) = reconfigurations.get(&at) {
            let newest = active.last().map(|(_, nodes)| nodes);
            if newest.is_some_and(|newest| newest.contains_key(id))
                && !nodes.contains_key(id)
                && ordered.is_none()
            {
                ordered = Some(at);
            }
            if newest != Some(nodes) {
                active.push((at, nodes.clone()));
            }
        }
        if entry.committable {
            signed = signed.or(ordered.map(|_| at));
            if at > commit {
                signatures.push(at);
            }
        }
    }
    let committed = active.iter().rposition(|(at, _)| *at <= commit).unwrap_or(0);
    let expected: Vec<_> = active.drain(..).skip(committed).collect();
    let found: Vec<_> = replica.configurations().iter().map(|it| (it.seqno, it.nodes.clone())).collect();
    require(found == expected, "LogConfigurationConsistentInv", || {
        format!("{id}: {found:?}, not {expected:?}")
    })?;
    let found: Vec<_> = replica.committable().collect();
    require(found == signatures, "CommittableInv", || format!("{id}: {found:?}, not {signatures:?}"))?;
    let state = replica.trace_state();
    require((state.ordered, state.signed) == (ordered, signed), "MembershipStateConsistentInv", || {
        format!("{id}: {:?} {:?}, not {ordered:?} {signed:?}", state.ordered, state.signed)
    })
}

fn holds(log: &MemoryLog, tx_id: TxId) -> bool {
    log.get(tx_id.seqno).is_some_and(|entry| entry.tx_id == tx_id)
}

fn configuration_of((_, bytes): &(TxId, Arc<[u8]>)) -> Option<Nodes> {
    match crate::payload::decode(bytes.get(crate::memory_log::HEADER_SIZE..)?)? {
        crate::Payload::Reconfiguration(nodes) => Some(nodes),
        _ => None,
    }
}

fn require(holds: bool, invariant: &'static str, details: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, details: details() }) }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.details)
    }
}
