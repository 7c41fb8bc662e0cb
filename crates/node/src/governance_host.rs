//! The node as governance sees it.

use crate::{
    node_facts::{NodeFacts, StartupState},
    node_view::RunningNode,
    service_hooks::KnownService,
};
use ccf_crypto::key::EcKeyPair;
use ccf_governance::{NodeGovernance, NodePhase};
use ccf_kv::Tx;
use ccf_ledger::secrets::LedgerSecret;
use ccf_types::{Digest, TxId};
use std::sync::{Arc, OnceLock};

/// Answers governance from the running node.
pub(crate) struct GovernanceHost {
    /// This node.
    pub facts: Arc<NodeFacts>,
    /// Store, replication, status.
    pub node: Arc<RunningNode>,
    /// The service, once known.
    pub service: Arc<OnceLock<KnownService>>,
}

impl NodeGovernance for GovernanceHost {
    fn root_at(&self, tx_id: TxId) -> Option<Digest> {
        self.node.inbox.root_at(tx_id.seqno)
    }

    fn phase(&self) -> NodePhase {
        match self.facts.state() {
            StartupState::PartOfNetwork => NodePhase::PartOfNetwork,
            StartupState::Initialized
            | StartupState::Pending
            | StartupState::ReadingPublicLedger
            | StartupState::PartOfPublicNetwork
            | StartupState::ReadingPrivateLedger => NodePhase::Other,
        }
    }

    fn latest_ledger_secret(&self, _: &Tx) -> Option<Arc<LedgerSecret>> {
        self.node.store.context().downcast().ok()
    }

    fn service_key(&self) -> Option<Arc<EcKeyPair>> {
        self.service.get().map(|service| Arc::clone(&service.key))
    }

    fn request_chunk(&self, tx_id: TxId) {
        self.node.inbox.request_chunk(tx_id.seqno);
    }

    fn request_snapshot(&self, tx_id: TxId) {
        // Snapshots are not produced yet; what a request does to the ledger, the end of a chunk, happens all the same.
        self.node.inbox.request_chunk(tx_id.seqno);
    }
}
