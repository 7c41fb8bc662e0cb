//! The simulated network of a scenario: nodes, who is connected with whom, and life-cycle commands.

use crate::{
    entries::{self, Kind},
    output::Output,
    trace,
};
use ccf_consensus::{BackupStart, Batching, Configuration, Leadership, Settings};
use ccf_simulator::{LogCall, Node};
use ccf_types::{NodeId, SeqNo, View};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A scenario being run.
#[derive(Debug)]
pub struct Driver<'a> {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) connected: BTreeSet<(NodeId, NodeId)>,
    pub(crate) pre_vote: bool,
    pub(crate) output: &'a mut Output,
}

/// Which primary a command means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Latest,
    Of(View),
}

impl<'a> Driver<'a> {
    pub(crate) fn new(output: &'a mut Output) -> Driver<'a> {
        Driver { nodes: BTreeMap::new(), connected: BTreeSet::new(), pre_vote: true, output }
    }

    pub(crate) fn node(&self, id: &NodeId) -> Result<&Node, String> {
        self.nodes.get(id).ok_or_else(|| format!("there is no node {id}"))
    }

    /// Does something with a node and prints what came of it.
    pub(crate) fn with_node<T>(
        &mut self,
        id: &NodeId,
        action: impl FnOnce(&mut Node) -> T,
    ) -> Result<T, String> {
        let node = self.nodes.get_mut(id).ok_or_else(|| format!("there is no node {id}"))?;
        let result = action(node);
        for call in node.log.take_calls() {
            let lines = match call {
                LogCall::Append(tx_id) => {
                    let data =
                        node.log.get(tx_id.seqno).map(ccf_simulator::StoredEntry::data).unwrap_or_default();
                    let (size, head) = (data.len(), head(data));
                    vec![format!("[ledger] appending: {tx_id}=[{size} bytes] {head}")]
                }
                LogCall::Rollback(to, view) => vec![
                    format!("[KV] rolling back to {to}, in term {view}"),
                    format!("[ledger] truncating to {}", to.seqno),
                ],
                LogCall::Compact(to) => vec![format!("[KV] compacting to {to}")],
                LogCall::SetView(view) => vec![format!("[KV] initialising in term {view}")],
            };
            for line in lines {
                self.output.line(&format!("n[{id}]->>n[{id}]: {line}"));
            }
        }
        for traced in node.traces.drain(..) {
            self.output.event(&trace::event(&traced));
        }
        Ok(result)
    }

    pub(crate) fn create(&mut self, id: &NodeId) -> Result<(), String> {
        if self.nodes.contains_key(id) {
            return Err(format!("there is a node {id} already"));
        }
        let settings = Settings {
            message_timeout_ms: 10,
            election_timeout_ms: 100,
            pre_vote: self.pre_vote,
            ticking_from_start: true,
            batching: Batching::Reference,
            send_at_signature: false,
            send_at_commit: false,
            wait_for_disk: false,
            seed: self.nodes.len() as u64,
            trace: self.output.is_tracing(),
        };
        self.nodes.insert(id.clone(), Node::new(id.clone(), settings, entries::decode));
        self.output.line(&format!("Note over n[{id}]: Node {id} created"));
        Ok(())
    }

    pub(crate) fn start_node(&mut self, id: &NodeId) -> Result<(), String> {
        if !self.nodes.is_empty() {
            return Err("start_node is for the first node only".to_owned());
        }
        self.create(id)?;
        self.with_node(id, Node::start_service)?;
        self.replicate(id, Kind::Reconfiguration, false, &entries::names([id.clone()]))
    }

    /// Nodes with a configuration that no entry made.
    pub(crate) fn nodes_at_start(&mut self, ids: &[NodeId]) -> Result<(), String> {
        for id in ids {
            self.create(id)?;
        }
        let address: Arc<str> = ":".into();
        let nodes: BTreeMap<_, _> = ids.iter().map(|id| (id.clone(), address.clone())).collect();
        for id in ids {
            let configuration = Some(Configuration { seqno: SeqNo::NONE, nodes: nodes.clone() });
            self.with_node(id, |node| {
                let mut out = Vec::new();
                let start = BackupStart { configuration, ..BackupStart::default() };
                node.replica.start_backup(start, &mut node.log, &mut out);
            })?;
        }
        Ok(())
    }

    /// Creates nodes and connects them with all others.
    pub(crate) fn add(&mut self, ids: &[NodeId]) -> Result<(), String> {
        for id in ids {
            self.create(id)?;
            self.output.line(&format!("Note over n[{id}]: Node {id} trusted"));
        }
        for id in ids {
            for other in self.ids() {
                if *id != other {
                    self.connect(id, &other, "connect")?;
                }
            }
        }
        Ok(())
    }

    /// The configuration of all nodes but some.
    pub(crate) fn configure_without(&mut self, target: Target, out: &[NodeId]) -> Result<(), String> {
        for id in out {
            self.node(id)?;
            self.output.line(&format!("Note over n[{id}]: Node {id} retired"));
        }
        let members: Vec<NodeId> = self.ids().into_iter().filter(|id| !out.contains(id)).collect();
        self.replicate_on(target, Kind::Reconfiguration, false, &entries::names(members))
    }

    /// Replicates on the primary that a command means; nothing if the latest is meant and there is none.
    pub(crate) fn replicate_on(
        &mut self,
        target: Target,
        kind: Kind,
        committable: bool,
        data: &[u8],
    ) -> Result<(), String> {
        match self.primary(target)? {
            Some(id) => self.replicate(&id, kind, committable, data),
            None => Ok(()),
        }
    }

    pub(crate) fn replicate(
        &mut self,
        id: &NodeId,
        kind: Kind,
        committable: bool,
        data: &[u8],
    ) -> Result<(), String> {
        let replica = &self.node(id)?.replica;
        let (view, seqno) = (replica.view(), replica.last().seqno.next());
        let (size, head, kind_text) = (data.len(), head(data), kind.as_str());
        self.output.line(&format!(
            "n[{id}]->>n[{id}]: replicate {view}.{seqno} = [{size} bytes] {head} [{kind_text}]"
        ));
        let payload = entries::encode(kind, data);
        self.with_node(id, |node| node.write(committable, &payload))?
            .map(|_| ())
            .map_err(|error| format!("node {id} did not replicate: {error}"))
    }

    pub(crate) fn primary(&self, target: Target) -> Result<Option<NodeId>, String> {
        let leads = |node: &&Node| node.replica.leadership() == Leadership::Leader;
        let of = |node: &Node| (node.replica.view(), node.replica.id().clone());
        let primaries: BTreeSet<(View, NodeId)> = self.nodes.values().filter(leads).map(of).collect();
        match target {
            Target::Latest => Ok(primaries.into_iter().next_back().map(|(_, id)| id)),
            Target::Of(wanted) => primaries
                .into_iter()
                .find(|(view, _)| *view == wanted)
                .map(|(_, id)| Some(id))
                .ok_or_else(|| format!("there is no primary of view {wanted}")),
        }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().cloned().collect()
    }

    pub(crate) fn connect(&mut self, one: &NodeId, other: &NodeId, word: &str) -> Result<(), String> {
        self.node(one)?;
        self.node(other)?;
        self.output.line(&format!("n[{one}]-->n[{other}]: {word}"));
        self.connected.insert((one.clone(), other.clone()));
        self.connected.insert((other.clone(), one.clone()));
        Ok(())
    }

    pub(crate) fn disconnect(&mut self, one: &NodeId, other: &NodeId) -> Result<(), String> {
        self.node(one)?;
        self.node(other)?;
        let there = self.connected.remove(&(one.clone(), other.clone()));
        let back = self.connected.remove(&(other.clone(), one.clone()));
        if there || back {
            self.output.line(&format!("n[{one}]-->n[{other}]: disconnect"));
        }
        Ok(())
    }

    pub(crate) fn periodic(&mut self, id: &NodeId, elapsed_ms: u64) -> Result<(), String> {
        self.node(id)?;
        self.output.line(&format!("n[{id}]->>n[{id}]: periodic for {elapsed_ms} ms"));
        self.with_node(id, |node| node.tick(elapsed_ms))
    }
}

/// The first 15 bytes, as text.
fn head(data: &[u8]) -> String {
    String::from_utf8_lossy(data.get(..15).unwrap_or(data)).into_owned()
}
