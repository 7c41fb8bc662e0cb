//! What a scenario may demand.

use crate::{driver::Driver, entries::Kind, trace};
use ccf_consensus::quorum;
use ccf_simulator::Node;
use ccf_types::{NodeId, SeqNo, TxId};
use serde_json::{Map, Value, json};

/// The rounds that nodes have to come into sync.
const ROUNDS_MAX: usize = 20;

impl Driver<'_> {
    /// Majorities of the committed configurations hold what the node calls committed.
    pub(crate) fn assert_commit_safety(&self, id: &NodeId) -> Result<(), String> {
        let node = self.node(id)?;
        let commit = node.commit();
        for configuration in node.replica.configurations().iter().filter(|it| it.seqno <= commit) {
            let holds = |member: &&NodeId| {
                self.nodes.get(*member).is_some_and(|other| same_prefix(node, other, commit))
            };
            let count = configuration.nodes.keys().filter(holds).count();
            if count < quorum(configuration.nodes.len()) {
                return Err(format!(
                    "node {id} has committed {commit}, which {count} of {} nodes hold of the configuration at {}",
                    configuration.nodes.len(),
                    configuration.seqno
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn assert_state_sync(&self) -> Result<(), String> {
        let nodes: Vec<&Node> = self.nodes.values().collect();
        in_sync(&nodes)
    }

    pub(crate) fn assert_commit(&self, id: &NodeId, expected: SeqNo) -> Result<(), String> {
        let commit = self.node(id)?.commit();
        if commit == expected {
            Ok(())
        } else {
            Err(format!("node {id} has committed {commit}, not {expected}"))
        }
    }

    pub(crate) fn assert_last(&self, id: &NodeId, expected: TxId) -> Result<(), String> {
        let last = self.node(id)?.replica.last();
        if last == expected {
            Ok(())
        } else {
            Err(format!("the last entry of node {id} is {last}, not {expected}"))
        }
    }

    pub(crate) fn assert_detail(
        &self,
        id: &NodeId,
        key: &str,
        value: &str,
        equal: bool,
    ) -> Result<(), String> {
        let details = details(self.node(id)?);
        let found = details.get(key).ok_or_else(|| format!("node {id} has no detail {key}"))?;
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        if (text == value) == equal { Ok(()) } else { Err(format!("{key} of node {id} is {text}")) }
    }

    pub(crate) fn assert_configuration(
        &self,
        id: &NodeId,
        seqno: SeqNo,
        expected: Option<&[NodeId]>,
    ) -> Result<(), String> {
        let mut configurations = self.node(id)?.replica.configurations().iter();
        let found = configurations.find(|it| it.seqno == seqno).map(|it| it.nodes.keys().collect::<Vec<_>>());
        let expected = expected.map(|names| {
            let mut names: Vec<&NodeId> = names.iter().collect();
            names.sort();
            names
        });
        if found == expected {
            Ok(())
        } else {
            Err(format!("at {seqno} node {id} has the configuration {found:?}"))
        }
    }

    /// The latest primary brings all active nodes to the same state.
    pub(crate) fn loop_until_sync(&mut self) -> Result<(), String> {
        let primary = self.primary(crate::driver::Target::Latest)?.ok_or("there is no primary")?;
        self.replicate(&primary, Kind::Raw, true, b"signature")?;
        let mut active = Vec::new();
        for id in self.ids() {
            if self.node(&id)?.replica.retirement_phase().is_some() {
                self.output.line(&format!("Note over n[{id}]: Ignoring from sync check, due to retirement"));
            } else {
                active.push(id);
            }
        }
        for id in &active {
            self.reconnect_node(id)?;
        }
        let mut result = Ok(());
        for _ in 0..ROUNDS_MAX {
            self.periodic(&primary, 10)?;
            self.dispatch_all()?;
            let is_active = |node: &&Node| node.replica.retirement_phase().is_none();
            let nodes: Vec<&Node> = self.nodes.values().filter(is_active).collect();
            result = in_sync(&nodes);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    pub(crate) fn reconnect_node(&mut self, id: &NodeId) -> Result<(), String> {
        for other in self.ids() {
            if other != *id {
                self.connect(id, &other, "reconnect")?;
            }
        }
        Ok(())
    }
}

fn same_prefix(one: &Node, other: &Node, to: SeqNo) -> bool {
    let prefix = |node: &Node| node.log.bytes(SeqNo::NONE, to);
    prefix(one).is_some() && prefix(one) == prefix(other)
}

fn in_sync(nodes: &[&Node]) -> Result<(), String> {
    let Some((first, others)) = nodes.split_first() else { return Ok(()) };
    for other in others {
        let (one, two) = (&first.replica, &other.replica);
        let pair = format!("nodes {} and {}", one.id(), two.id());
        if one.view() != two.view() {
            return Err(format!("{pair} are in views {} and {}", one.view(), two.view()));
        }
        if one.last() != two.last() || !same_prefix(first, other, one.last().seqno) {
            return Err(format!("{pair} have different logs, up to {} and {}", one.last(), two.last()));
        }
        if first.commit() != other.commit() {
            return Err(format!("{pair} have committed {} and {}", first.commit(), other.commit()));
        }
    }
    Ok(())
}

/// What the node's endpoint on consensus shows (section 8).
fn details(node: &Node) -> Map<String, Value> {
    let status = node.replica.status();
    let acks: Map<String, Value> = status
        .peers
        .iter()
        .map(|(id, peer)| {
            (id.to_string(), json!({ "seqno": peer.matched.0, "last_received_ms": peer.silent_ms }))
        })
        .collect();
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| details.insert(key.to_owned(), value);
    put("configs", trace::all(&status.configurations));
    put("acks", Value::Object(acks));
    put("membership_state", json!(if status.retirement_phase.is_some() { "Retired" } else { "Active" }));
    put("leadership_state", json!(status.leadership.as_str()));
    if let Some(phase) = status.retirement_phase {
        put("retirement_phase", json!(phase.as_str()));
    }
    put("primary_id", json!(status.primary));
    put("current_view", json!(status.view.0));
    put("ticking", json!(status.ticking));
    put("reconfiguration_type", json!("OneTransaction"));
    details
}
