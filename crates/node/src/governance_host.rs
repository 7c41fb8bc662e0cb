//! The node as governance sees it.

use crate::{
    node_facts::{NodeFacts, StartupState},
    node_view::RunningNode,
    sealing::Sealing,
    service_hooks::KnownService,
    snapshots::Snapshots,
};
use ccf_crypto::key::EcKeyPair;
use ccf_governance::{
    NodeGovernance, NodePhase,
    join::{NodeMembership, message::CoseSignaturesConfig},
    recovery::SecretLinks,
    sealing::UnsealError,
};
use ccf_kv::Tx;
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{Digest, NodeId, SeqNo, TxId};
use parking_lot::{Mutex, RwLock};
use std::sync::{Arc, OnceLock, atomic::Ordering};

/// Answers governance from the running node.
pub(crate) struct GovernanceHost {
    /// This node.
    pub facts: Arc<NodeFacts>,
    /// Store, replication, status.
    pub node: Arc<RunningNode>,
    /// The service, once known.
    pub service: Arc<OnceLock<KnownService>>,
    /// All ledger secrets of this node.
    pub secrets: Arc<RwLock<LedgerSecrets>>,
    /// The links between ledger secrets seen in the ledger.
    pub links: Arc<Mutex<SecretLinks>>,
    /// Who takes snapshots.
    pub snapshots: Arc<OnceLock<Arc<Snapshots>>>,
    /// What this node seals and may unseal, if it is configured to.
    pub sealing: Option<Arc<Sealing>>,
    /// How long a pending node that does not ask any more is kept, milliseconds; 0 is for ever.
    pub pending_node_timeout_ms: u64,
}

impl NodeGovernance for GovernanceHost {
    fn root_at(&self, tx_id: TxId) -> Option<Digest> {
        self.node.inbox.root_at(tx_id.seqno)
    }

    fn phase(&self) -> NodePhase {
        match self.facts.state() {
            StartupState::PartOfNetwork => NodePhase::PartOfNetwork,
            StartupState::PartOfPublicNetwork => NodePhase::PartOfPublicNetwork,
            StartupState::ReadingPrivateLedger => NodePhase::ReadingPrivateLedger,
            StartupState::Initialized | StartupState::Pending | StartupState::ReadingPublicLedger => {
                NodePhase::Other
            }
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

    fn secret_links(&self) -> SecretLinks {
        self.links.lock().clone()
    }

    fn unsealed_secrets(&self) -> Option<Result<LedgerSecrets, UnsealError>> {
        self.sealing.as_ref()?.unseal(&self.secret_links())
    }

    fn request_snapshot(&self, tx_id: TxId) {
        if let Some(snapshots) = self.snapshots.get() {
            snapshots.request(tx_id.seqno);
        }
    }
}

impl NodeMembership for GovernanceHost {
    fn startup_seqno(&self) -> SeqNo {
        SeqNo(self.facts.startup_seqno.load(Ordering::Acquire))
    }

    fn ledger_secrets(&self, _: &Tx) -> Option<LedgerSecrets> {
        let secrets = self.secrets.read();
        secrets.latest().is_some().then(|| secrets.clone())
    }

    fn last_recovered_signed_seqno(&self) -> SeqNo {
        self.service.get().map_or(SeqNo::NONE, |service| service.last_recovered_signed)
    }

    fn cose_signatures(&self) -> CoseSignaturesConfig {
        let claims = self.service.get().map(|service| service.claims.clone()).unwrap_or_default();
        CoseSignaturesConfig { issuer: claims.issuer, subject: claims.subject }
    }

    fn primary(&self) -> Option<NodeId> {
        self.node.status.term().primary.clone()
    }

    fn node_id(&self) -> &NodeId {
        &self.facts.node_id
    }

    fn pending_node_timeout_ms(&self) -> u64 {
        self.pending_node_timeout_ms
    }
}
