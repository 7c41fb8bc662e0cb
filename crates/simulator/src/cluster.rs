//! A network moved by hand: messages stay where they are until a test delivers or drops them.

use crate::{node::Node, payload};
use ccf_consensus::{Batching, Message, Settings};
use ccf_types::{NodeId, SeqNo, TxId};
use std::collections::BTreeMap;

/// Nodes by name.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    pre_vote: bool,
}

/// The election timeout of every node, in milliseconds.
pub(crate) const ELECTION_TIMEOUT_MS: u64 = 100;

/// The period of a primary's messages, in milliseconds.
pub(crate) const MESSAGE_TIMEOUT_MS: u64 = 10;

impl Cluster {
    /// A service of the nodes named, whose configuration and signature (2.4, or 2.2 of a single node) are committed
    /// everywhere. The first node is primary of view 2.
    ///
    /// # Panics
    /// If there are no names, or consensus fails to agree on a quiet network.
    #[must_use]
    pub fn started(names: &[&str], pre_vote: bool) -> Cluster {
        let mut cluster = Cluster { nodes: BTreeMap::new(), pre_vote };
        for name in names {
            cluster.create(name);
        }
        let first = names.first().expect("a service has a node");
        cluster.node_mut(first).start_service();
        cluster.configure(first, &[first]);
        cluster.sign(first);
        if names.len() > 1 {
            cluster.configure(first, names);
            cluster.sign(first);
        }
        for _ in 0..4 {
            cluster.node_mut(first).tick(MESSAGE_TIMEOUT_MS);
            cluster.deliver_all();
        }
        let signed = cluster.node(first).replica.last();
        for name in names {
            assert_eq!(cluster.node(name).replica.committed(), signed, "{name} is in sync");
        }
        cluster
    }

    /// Adds a node that has not started.
    pub fn create(&mut self, name: &str) {
        let id = NodeId::from_text(name);
        let settings = Settings {
            message_timeout_ms: MESSAGE_TIMEOUT_MS,
            election_timeout_ms: ELECTION_TIMEOUT_MS,
            pre_vote: self.pre_vote,
            ticking_from_start: true,
            batching: Batching::Average,
            send_at_signature: false,
            send_at_commit: false,
            wait_for_disk: false,
            seed: self.nodes.len() as u64,
            trace: false,
        };
        self.nodes.insert(id.clone(), Node::new(id, settings, payload::decode));
    }

    /// All names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<NodeId> {
        self.nodes.keys().cloned().collect()
    }

    /// One node.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).expect("a node of this name")
    }

    /// One node.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("a node of this name")
    }

    /// Writes a configuration.
    pub fn configure(&mut self, name: &str, nodes: &[&str]) -> TxId {
        self.write(name, false, &payload::configuration(nodes))
    }

    /// Writes a signature.
    pub fn sign(&mut self, name: &str) -> TxId {
        self.write(name, true, b"s")
    }

    /// Writes data.
    pub fn data(&mut self, name: &str) -> TxId {
        self.write(name, false, &payload::data(0))
    }

    /// Writes that nodes are removable.
    pub fn retired_committed(&mut self, name: &str, nodes: &[&str]) -> TxId {
        self.write(name, false, &payload::retired_committed(nodes))
    }

    fn write(&mut self, name: &str, committable: bool, data: &[u8]) -> TxId {
        self.node_mut(name).write(committable, data).expect("the node is primary")
    }

    /// Lets an election timeout pass on one node.
    pub fn time_out(&mut self, name: &str) {
        self.node_mut(name).tick(ELECTION_TIMEOUT_MS);
    }

    /// Lets a period pass on one node.
    pub fn period(&mut self, name: &str) {
        self.node_mut(name).tick(MESSAGE_TIMEOUT_MS);
    }

    /// Takes the first message from one node to another off its queue.
    pub fn take(&mut self, from: &str, to: &str) -> Option<Message> {
        self.node_mut(from).take_message(&NodeId::from_text(to))
    }

    /// Delivers a message, with the entries it names if the sender still has them.
    pub fn deliver_message(&mut self, from: &str, to: &str, message: Message) {
        if let Some(entries) = self.node(from).entries_of(&message) {
            let from = NodeId::from_text(from);
            self.node_mut(to).receive(&from, message, &entries);
        }
    }

    /// Delivers the first message from one node to another. Whether there was one.
    pub fn deliver_one(&mut self, from: &str, to: &str) -> bool {
        let message = self.take(from, to);
        if let Some(message) = message {
            self.deliver_message(from, to, message);
        }
        message.is_some()
    }

    /// Delivers everything queued from one node to another, also what is queued meanwhile.
    pub fn deliver(&mut self, from: &str, to: &str) {
        while self.deliver_one(from, to) {}
    }

    /// Delivers between two nodes until both are quiet.
    pub fn exchange(&mut self, one: &str, other: &str) {
        while self.deliver_one(one, other) || self.deliver_one(other, one) {}
    }

    /// Drops what one node has queued.
    pub fn drop_all(&mut self, from: &str) {
        self.node_mut(from).outbox.clear();
    }

    /// Drops what one node has queued for another.
    pub fn drop_to(&mut self, from: &str, to: &str) {
        let to = NodeId::from_text(to);
        self.node_mut(from).outbox.retain(|(receiver, _)| *receiver != to);
    }

    /// Delivers everything until the network is quiet.
    pub fn deliver_all(&mut self) {
        while let Some((from, (to, message))) =
            self.nodes.iter_mut().find_map(|(id, node)| Some((id.clone(), node.outbox.pop_front()?)))
        {
            if self.nodes.contains_key(&to) {
                self.deliver_message(from.as_str(), to.as_str(), message);
            }
        }
    }

    /// The commit of a node.
    #[must_use]
    pub fn commit(&self, name: &str) -> SeqNo {
        self.node(name).commit()
    }
}
