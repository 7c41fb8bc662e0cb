//! A network that loses nothing and keeps the order: however much is written, and however slow disks and links are, no
//! backup has a reason to refuse entries, and everything is committed in the end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use ccf_consensus::{Batching, Input, Message, Settings};
use ccf_simulator::{Node, Random, payload};
use ccf_types::{NodeId, TxId};
use std::collections::{BTreeMap, VecDeque};

const NAMES: [&str; 3] = ["0", "1", "2"];

/// More than a node that is behind by all that these tests write needs.
const ROUNDS_MAX: usize = 2000;

/// As a real node has it, but for elections, of which there is no need.
fn settings(batching: Batching) -> Settings {
    Settings { election_timeout_ms: u64::MAX / 2, wait_for_disk: true, batching, ..Settings::default() }
}

struct Network {
    nodes: BTreeMap<NodeId, Node>,
    /// What is under way, by sender and receiver.
    links: BTreeMap<(NodeId, NodeId), VecDeque<(Message, Vec<u8>)>>,
    refusals: usize,
}

impl Network {
    fn send(&mut self) {
        for (id, node) in &mut self.nodes {
            while let Some((to, message)) = node.outbox.pop_front() {
                let entries = node.entries_of(&message).expect("nothing is ever dropped");
                self.links.entry((id.clone(), to)).or_default().push_back((message, entries));
            }
        }
    }

    fn deliver(&mut self, turn: u64) {
        let busy: Vec<_> =
            self.links.iter().filter(|(_, link)| !link.is_empty()).map(|(ends, _)| ends.clone()).collect();
        let Some(ends) = busy.get(usize::try_from(turn).unwrap() % busy.len().max(1)) else { return };
        let (message, entries) = self.links.get_mut(ends).and_then(VecDeque::pop_front).unwrap();
        if let Message::AppendEntriesResponse(response) = &message {
            self.refusals += usize::from(!response.success);
        }
        self.nodes.get_mut(&ends.1).unwrap().receive(&ends.0, message, &entries);
        self.send();
    }

    fn deliver_all(&mut self) {
        while self.links.values().any(|link| !link.is_empty()) {
            self.deliver(0);
        }
    }

    /// A disk gets as far as `share` percent of what its node has.
    fn persist(&mut self, name: &str, share: u64) {
        let node = self.nodes.get_mut(name).unwrap();
        let at = ccf_types::SeqNo(node.replica.last().seqno.0 * share / 100);
        node.step(Input::Persisted(TxId { view: node.replica.view_at(at), seqno: at }));
        self.send();
    }

    fn tick(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().tick(Settings::default().message_timeout_ms);
        self.send();
    }

    fn write(&mut self, committable: bool, data: &[u8]) {
        self.nodes.get_mut("0").unwrap().write(committable, data).unwrap();
    }

    /// Whether every node knows that everything is committed.
    fn is_settled(&self) -> bool {
        let last = self.nodes["0"].replica.last();
        self.nodes.values().all(|node| node.replica.committed() == last)
    }

    /// What is far behind is brought up window by window.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.deliver_all();
            NAMES.iter().for_each(|name| self.persist(name, 100));
            self.tick("0");
            if self.is_settled() {
                return;
            }
        }
        panic!("the network does not come to rest");
    }
}

#[test]
fn a_quiet_network_gives_no_reason_to_refuse_entries() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let batching = if seed % 2 == 0 { Batching::Average } else { Batching::Count(random.between(1, 9)) };
        let node = |name| {
            let id = NodeId::from_text(name);
            (id.clone(), Node::new(id, settings(batching), payload::decode))
        };
        let nodes = NAMES.into_iter().map(node).collect();
        let mut network = Network { nodes, links: BTreeMap::new(), refusals: 0 };
        network.nodes.get_mut("0").unwrap().start_service();
        network.write(false, &payload::configuration(&["0"]));
        network.write(true, b"s");
        network.write(false, &payload::configuration(&NAMES));
        network.write(true, b"s");
        network.send();
        network.settle();
        // Nodes that joined say that they have nothing yet.
        network.refusals = 0;
        for _ in 0..1500 {
            let name = NAMES[usize::try_from(random.up_to(2)).unwrap()];
            match random.up_to(9) {
                0 => {
                    (0..random.between(1, 400)).for_each(|n| network.write(false, &payload::data(n)));
                    network.write(true, b"s");
                    network.send();
                }
                1 => network.persist(name, random.between(90, 100)),
                2 => network.tick("0"),
                _ => network.deliver(random.up_to(1000)),
            }
        }
        assert_eq!(network.refusals, 0, "seed {seed}");
        network.settle();
        assert_eq!(network.refusals, 0, "seed {seed}");
    }
}
