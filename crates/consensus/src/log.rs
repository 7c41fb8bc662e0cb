//! What a replica asks of the ledger and the store, synchronously.

use crate::configuration::Nodes;
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::sync::Arc;

/// The ledger and the store behind one replica. The replica is the only one that tells them what stays.
pub trait Log {
    /// The size of the entry that `bytes` begin with; none if they do not hold a whole one.
    fn entry_len(&self, bytes: &[u8]) -> Option<usize>;

    /// Verifies one entry of another replica, applies it to the store and appends it to the ledger. A signature entry
    /// is verified against the own Merkle root.
    ///
    /// # Errors
    /// [`Rejected`] if the entry is not what its primary says; then neither store nor ledger has changed.
    fn apply(&mut self, expected: TxId, entry: &[u8]) -> Result<EntryFacts, Rejected>;

    /// Drops everything after `to.seqno` from store and ledger; later entries are of view `next_view`. Writes that
    /// wait for their place are dropped as well (quirk Q17).
    fn rollback(&mut self, to: TxId, next_view: View);

    /// Everything up to `to` is committed. Returns the nodes whose `retired_committed` became committed by this.
    fn compact(&mut self, to: SeqNo) -> Vec<NodeId>;

    /// The last of `first ..= last` that fits into a message of about `bytes` with all before it; at least `first`. A
    /// ledger that knows the sizes of its entries should say so: old entries may be far larger than recent ones.
    fn last_fitting(&self, first: SeqNo, last: SeqNo, bytes: u64) -> SeqNo {
        let _ = (first, bytes);
        last
    }

    /// Entries written from now on are of this view; nothing has to be dropped.
    fn set_view(&mut self, view: View);
}

/// What consensus needs to know of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// Whether it is a signature, the only kind of entry that can be committed.
    pub committable: bool,
    /// What it does to the set of nodes.
    pub reconfiguration: Option<Reconfiguration>,
}

/// A change of the set of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconfiguration {
    /// Changes relative to the newest configuration, from writes to the table of nodes.
    Changes(Vec<NodeChange>),
    /// The whole new set.
    Whole(Nodes),
}

/// One write to the table of nodes that consensus cares about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Status `Trusted`: a member from now on.
    Trusted {
        /// Which node.
        id: NodeId,
        /// Its node-to-node address, `host:port`.
        address: Arc<str>,
    },
    /// Status `Retired`, or the row of a member deleted: no member from now on.
    Removed(NodeId),
}

/// An entry that was written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEntry {
    /// Its position and view.
    pub tx_id: TxId,
    /// What it is.
    pub facts: EntryFacts,
    /// Its bytes on the wire.
    pub size: u32,
}

/// An entry of another replica was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry could not be verified or applied")]
pub struct Rejected;
