//! What governance asks of the node it runs on.

use crate::{recovery::SecretLinks, sealing::UnsealError};
use ccf_crypto::key::EcKeyPair;
use ccf_kv::Tx;
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{Digest, TxId};
use std::sync::Arc;

/// The node as governance sees it. Every method is called on worker threads while a request is executed.
pub trait NodeGovernance: Send + Sync {
    /// The Merkle root over all entries up to and including this one. May wait a moment for the entry to be appended;
    /// `None` if it was rolled back or does not arrive in time.
    fn root_at(&self, tx_id: TxId) -> Option<Digest>;

    /// How far this node is in its own life.
    fn phase(&self) -> NodePhase;

    /// The latest ledger secret, as of the state that `tx` reads; `None` while the node has none.
    fn latest_ledger_secret(&self, tx: &Tx) -> Option<Arc<LedgerSecret>>;

    /// The key of the service identity; `None` while the node has none.
    fn service_key(&self) -> Option<Arc<EcKeyPair>>;

    /// A transaction, committed on this node, wants the ledger chunk closed at the next signature. Forget it if
    /// the transaction is rolled back.
    fn request_chunk(&self, tx_id: TxId);

    /// A transaction, committed on this node, wants a snapshot at the next signature. Forget it if the transaction
    /// is rolled back.
    fn request_snapshot(&self, tx_id: TxId);

    /// The links between ledger secrets that this node has seen while it replayed the public ledger. A node that never
    /// recovered a service has none.
    fn secret_links(&self) -> SecretLinks {
        SecretLinks::default()
    }

    /// The ledger secrets of the service before the recovery, by unsealing; `None` on a node that leaves that to the
    /// members.
    fn unsealed_secrets(&self) -> Option<Result<LedgerSecrets, UnsealError>> {
        None
    }
}

/// How far a node is in its life, as far as governance cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePhase {
    /// Takes part in the network: knows the whole state.
    PartOfNetwork,
    /// Recovered the public state only.
    PartOfPublicNetwork,
    /// Reads the private state of a recovered ledger.
    ReadingPrivateLedger,
    /// Anything before: joining, reading.
    Other,
}
