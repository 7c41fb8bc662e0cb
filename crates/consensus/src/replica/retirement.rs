//! Changes of the set of nodes and the retirement of nodes (section 8).

use super::{Host, Leadership, Replica, RetirementPhase};
use crate::{
    configuration::{Configuration, Nodes},
    log::{NodeChange, Reconfiguration},
    output::Output,
    peers::Peer,
    trace::TraceEvent,
};
use ccf_types::{NodeId, SeqNo};

impl Replica {
    /// The set of nodes after a change of the newest one.
    pub(super) fn changed(&self, change: &Reconfiguration) -> Nodes {
        match change {
            Reconfiguration::Whole(nodes) => nodes.clone(),
            Reconfiguration::Changes(changes) => {
                let mut nodes =
                    self.configurations.newest().map(|newest| newest.nodes.clone()).unwrap_or_default();
                for change in changes {
                    match change {
                        NodeChange::Trusted { id, address } => {
                            nodes.entry(id.clone()).or_insert_with(|| address.clone());
                        }
                        NodeChange::Removed(id) => {
                            nodes.remove(id);
                        }
                    }
                }
                nodes
            }
        }
    }

    /// A configuration is active as soon as its entry is in the log, committed or not.
    pub(super) fn add_configuration(&mut self, seqno: SeqNo, nodes: Nodes, host: &mut Host<'_>) {
        let added = Configuration { seqno, nodes };
        self.trace(host, || TraceEvent::AddConfiguration {
            configurations: self.configurations.clone(),
            added: added.clone(),
        });
        let newest = self.configurations.newest();
        let was_member = newest.is_some_and(|newest| newest.nodes.contains_key(&self.id));
        if was_member && !added.nodes.contains_key(&self.id) && self.ordered.is_none() {
            self.ordered = Some(seqno);
        }
        if newest.is_some_and(|newest| newest.nodes == added.nodes) {
            return;
        }
        self.configurations.push(added.clone());
        for (id, address) in added.nodes {
            if id == self.id || self.peers.contains_key(&id) {
                continue;
            }
            // It is sent what comes from now on; what it lacks it will say.
            let next = self.last.next();
            self.peers.insert(id.clone(), Peer::new(address.clone(), next));
            host.out.push(Output::PeerAdded { id: id.clone(), address });
            if self.leadership == Leadership::Leader {
                self.send_append_entries(&id, next, host);
            }
        }
    }

    /// How far the retirement of this node has come; none for an active one.
    #[must_use]
    pub fn retirement_phase(&self) -> Option<RetirementPhase> {
        match (self.ordered, self.signed) {
            _ if self.retired_committed.is_some() => Some(RetirementPhase::RetiredCommitted),
            (_, Some(signed)) if signed <= self.commit => Some(RetirementPhase::Completed),
            (_, Some(_)) => Some(RetirementPhase::Signed),
            (Some(_), None) => Some(RetirementPhase::Ordered),
            (None, None) => None,
        }
    }

    pub(super) fn undo_retirement(&mut self, to: SeqNo) {
        self.signed = self.signed.filter(|signed| *signed <= to);
        self.ordered = self.ordered.filter(|ordered| *ordered <= to);
    }

    /// The retirement of these nodes is known for good. Others are forgotten; the own one ends every role, for ever.
    pub(super) fn forget_retired(&mut self, retired: Vec<NodeId>, host: &mut Host<'_>) {
        let mut own = false;
        for id in retired {
            if id == self.id {
                own = true;
            } else if self.peers.remove(&id).is_some() {
                host.out.push(Output::PeerRemoved(id));
            }
        }
        if own && self.retired_committed.is_none() {
            if self.leadership == Leadership::Leader {
                self.propose_successor(host);
            }
            self.retired_committed = Some(self.commit);
            self.leave(host);
            host.out.push(Output::RetiredCommitted);
        }
    }
}
