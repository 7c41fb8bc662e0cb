//! What dispatch and endpoints ask of the node.

use super::{TxStatus, tx_status};
use crate::{endpoint::Frontend, historical::HistoricalQueries, indexing::Indexing, session::InterfaceRules};
use ccf_kv::Written;
use ccf_types::{Digest, SeqNo, TxId, View};

/// The role of a node in replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Orders transactions.
    Primary,
    /// Follows the primary.
    Backup,
}

/// A committed transaction on its way to the ledger.
#[derive(Debug)]
pub struct CommitRecord {
    /// The transaction as the store committed it.
    pub written: Box<Written>,
    /// Digest of application claims; [`Digest::ZERO`] when there are none.
    pub claims_digest: Digest,
}

/// The node will not replicate the transaction: it is not primary any more, or is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transaction cannot be replicated")]
pub struct NotReplicated;

/// The node as dispatch and endpoints see it. Implemented by the node; every method is called on worker
/// threads, on the path of requests, and must not block.
pub trait NodeView: Send + Sync {
    /// Whether this node orders transactions now.
    fn role(&self) -> Role;

    /// The current view.
    fn view(&self) -> View;

    /// The globally committed position.
    fn committed(&self) -> TxId;

    /// The view of this node's entry at a sequence number; `None` if it has no such entry.
    fn view_of(&self, seqno: SeqNo) -> Option<View>;

    /// The first sequence number of each view that has entries, from `since` on, oldest first.
    fn view_history(&self, since: View) -> Vec<TxId>;

    /// Whether a frontend serves requests.
    fn is_open(&self, frontend: Frontend) -> bool;

    /// Whether so many transactions wait for global commit that new ones are refused.
    fn too_many_pending(&self) -> bool {
        false
    }

    /// Bytes of names, keys and values that one transaction may write (`ledger.max_transaction_size`).
    fn transaction_bytes_max(&self) -> usize {
        32 << 20
    }

    /// Takes a transaction that the store committed, in any order of sequence numbers, to encode and
    /// replicate it.
    ///
    /// # Errors
    /// [`NotReplicated`] if it will not enter the ledger.
    fn replicate(&self, record: CommitRecord) -> Result<(), NotReplicated>;

    /// A transaction that will be appended after this call; once it is committed, this node was primary when it was
    /// called. Asks for a signature if none is on its way.
    fn barrier(&self) -> TxId {
        self.committed()
    }

    /// The address, `host:port`, an interface's redirection to a role leads to; `None` if it is not known.
    fn redirect_address(&self, role: Role, interface: &InterfaceRules) -> Option<String>;

    /// Past transactions; none before the node takes part in a service.
    fn historical(&self) -> Option<&dyn HistoricalQueries> {
        None
    }

    /// Indexes over committed transactions.
    fn indexing(&self) -> Option<&dyn Indexing> {
        None
    }

    /// The status of a transaction.
    fn tx_status(&self, tx_id: TxId) -> TxStatus {
        // In this order: what is committed at its view is so for ever, so that a view that is looked up later fits. The other way round
        // an entry could come, or be replaced, and be committed in between, and the final answer would be wrong.
        let committed = self.committed();
        tx_status(tx_id, self.view_of(tx_id.seqno), committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// A backup that takes in and commits entries of view 4 up to 12, in place of one of view 2, whenever somebody looks.
    #[derive(Default)]
    struct Moving(AtomicU64);

    impl Moving {
        fn look(&self) -> bool {
            self.0.fetch_add(1, Relaxed) > 0
        }
    }

    impl NodeView for Moving {
        fn role(&self) -> Role {
            Role::Backup
        }

        fn view(&self) -> View {
            View(4)
        }

        fn committed(&self) -> TxId {
            if self.look() { TxId::new(4, 12) } else { TxId::new(2, 9) }
        }

        fn view_of(&self, seqno: SeqNo) -> Option<View> {
            let moved = self.look();
            match seqno.0 {
                ..=9 => Some(View(2)),
                10 if !moved => Some(View(2)),
                _ => moved.then_some(View(4)),
            }
        }

        fn view_history(&self, _: View) -> Vec<TxId> {
            Vec::new()
        }

        fn is_open(&self, _: Frontend) -> bool {
            true
        }

        fn replicate(&self, _: CommitRecord) -> Result<(), NotReplicated> {
            Err(NotReplicated)
        }

        fn redirect_address(&self, _: Role, _: &InterfaceRules) -> Option<String> {
            None
        }
    }

    #[test]
    fn final_answers_are_right_while_the_node_moves_on() {
        for (tx_id, forbidden) in
            [(TxId::new(4, 11), TxStatus::Invalid), (TxId::new(2, 10), TxStatus::Committed)]
        {
            assert_ne!(Moving::default().tx_status(tx_id), forbidden, "{tx_id}");
            let moved = Moving::default();
            moved.look();
            let expected = if tx_id.view == View(4) { TxStatus::Committed } else { TxStatus::Invalid };
            assert_eq!(moved.tx_status(tx_id), expected);
        }
    }
}
