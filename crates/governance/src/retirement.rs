//! Nodes that leave: what the framework writes after governance retired them, and what operators may remove
//! (node specification, section 12; consensus specification, section 8).

use crate::tables::{
    self,
    node::{NodeInfo, NodeStatus},
};
use ccf_kv::{KvError, Tx};
use ccf_types::NodeId;

/// A node cannot be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// No such node.
    #[error("No such node")]
    Unknown,
    /// The network may still need the node.
    #[error("Node is not completely retired")]
    NotRetiredCommitted,
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// Marks every node whose retirement is globally committed and not marked yet. The primary calls this whenever it pops
/// a configuration on commit and when it wins an election, and commits the transaction if the answer is not empty.
///
/// # Errors
/// [`KvError`]; then the transaction must be dropped.
pub fn set_retired_committed(tx: &Tx) -> Result<Vec<NodeId>, KvError> {
    let nodes = tx.rw(&tables::NODES);
    let mut marked = Vec::new();
    for (id, mut info) in nodes.entries()? {
        let committed = nodes.get_globally_committed(&id)?;
        let is_committed = committed.is_some_and(|committed| committed.status == NodeStatus::Retired);
        if is_committed && info.status == NodeStatus::Retired && !info.retired_committed {
            info.retired_committed = true;
            nodes.put(&id, &info)?;
            marked.push(id);
        }
    }
    Ok(marked)
}

/// Nodes that may be stopped and removed: every future primary knows that they are gone.
///
/// # Errors
/// [`KvError`].
pub fn removable_nodes(tx: &Tx) -> Result<Vec<(NodeId, NodeInfo)>, KvError> {
    let nodes = tx.ro(&tables::NODES);
    let mut removable = Vec::new();
    for (id, info) in nodes.entries()? {
        if is_removed_for_good(nodes.get_globally_committed(&id)?.as_ref()) {
            removable.push((id, info));
        }
    }
    Ok(removable)
}

fn is_removed_for_good(info: Option<&NodeInfo>) -> bool {
    info.is_some_and(|info| info.status == NodeStatus::Retired && info.retired_committed)
}

/// Removes a node that is retired for good, with its certificate and its sealed key.
///
/// # Errors
/// [`RemovalError`]; then the transaction must be dropped.
pub fn remove_node(tx: &Tx, id: &NodeId) -> Result<(), RemovalError> {
    let nodes = tx.ro(&tables::NODES);
    if !nodes.has(id)? {
        return Err(RemovalError::Unknown);
    }
    if !is_removed_for_good(nodes.get_globally_committed(id)?.as_ref()) {
        return Err(RemovalError::NotRetiredCommitted);
    }
    Ok(forget_node(tx, id)?)
}

/// Removes all rows about a node.
fn forget_node(tx: &Tx, id: &NodeId) -> Result<(), KvError> {
    tx.rw(&tables::NODES).remove(id)?;
    tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).remove(id)?;
    tx.rw(&tables::NODE_SEALED_RECOVERY_KEYS).remove(id)?;
    let names = tx.rw(&tables::SEALING_RECOVERY_NAMES);
    for (name, node) in names.entries()? {
        if node == id.as_str() {
            names.remove(&name)?;
        }
    }
    Ok(())
}

/// Forgets pending nodes that stopped polling longer ago than the timeout, in milliseconds; 0 is never. A row without
/// a plausible time gets `now_ms`, milliseconds since the Unix epoch. The primary calls this at least once a minute
/// and commits the transaction if it wrote something. The answer is the nodes forgotten.
///
/// # Errors
/// [`KvError`]; then the transaction must be dropped.
pub fn remove_expired_pending(tx: &Tx, now_ms: u64, timeout_ms: u64) -> Result<Vec<NodeId>, KvError> {
    let mut forgotten = Vec::new();
    if timeout_ms == 0 {
        return Ok(forgotten);
    }
    let nodes = tx.rw(&tables::NODES);
    for (id, mut info) in nodes.entries()? {
        if info.status != NodeStatus::Pending {
            continue;
        }
        match info.pending_last_seen.filter(|seen| *seen <= now_ms) {
            Some(seen) if now_ms - seen > timeout_ms => {
                forget_node(tx, &id)?;
                forgotten.push(id);
            }
            Some(_) => {}
            None => {
                info.pending_last_seen = Some(now_ms);
                nodes.put(&id, &info)?;
            }
        }
    }
    Ok(forgotten)
}
