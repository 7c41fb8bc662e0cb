//! The transaction that creates a service from the public ledger of another (node specification, section 11.1).

use crate::{
    decision,
    genesis::{self, OwnPlatform},
    sealing::{self, SealingData},
    tables::{
        self,
        node::{NodeInfo, NodeStatus},
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_kv::{KvError, Tx};
use ccf_ledger::merkle::TreeBlob;
use ccf_types::{NodeId, TxId};
use serde_json::Value;

/// The inputs of the creating transaction of a recovered service.
#[derive(Clone, Debug)]
pub struct RecoveredService {
    /// The transaction's own ID: two views after the last signature of the recovered ledger, and the next seqno.
    pub create_tx_id: TxId,
    /// The new service certificate, PEM.
    pub service_cert: String,
    /// Anything the operator wants to say about the service.
    pub service_data: Option<Value>,
    /// The recovering node.
    pub node_id: NodeId,
    /// Its row; the status is set to trusted here.
    pub node: NodeInfo,
    /// The node's certificate issued by the new service, PEM.
    pub node_endorsed_cert: String,
    /// What the platform of the node says of itself: nodes like it may join.
    pub join_policy: OwnPlatform,
    /// The recovering node's sealed recovery key, if it has one.
    pub sealing: Option<SealingData>,
}

/// The service cannot be recovered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryGenesisError {
    /// The ledger holds no service.
    #[error("the recovered ledger holds no service")]
    NoService,
    /// The ledger was written by a release that is too old.
    #[error("the recovered service does not say which transaction created it: its release is too old")]
    NoCreateTxId,
    /// The ledger holds no signature.
    #[error("the recovered ledger holds no signature")]
    NoSignature,
    /// The Merkle tree of the last signature cannot be read.
    #[error("the Merkle tree of the last signature cannot be read: {0}")]
    Tree(String),
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// Writes what a recovered service begins with, over the replayed public state that ends with the last signature.
/// Members, users, constitution and configuration stay.
///
/// # Errors
/// [`RecoveryGenesisError`]; then the transaction must be dropped.
pub fn create_recovered_service(tx: &Tx, recovered: &RecoveredService) -> Result<(), RecoveryGenesisError> {
    let previous = tx.ro(&tables::SERVICE_INFO).get()?.ok_or(RecoveryGenesisError::NoService)?;
    let created = previous.current_service_create_txid.ok_or(RecoveryGenesisError::NoCreateTxId)?;
    // From the tree and not from the signature, which some services do not write.
    let tree = tx.ro(&tables::TREE).get()?.ok_or(RecoveryGenesisError::NoSignature)?;
    let tree = TreeBlob::parse(&tree).map_err(|error| RecoveryGenesisError::Tree(error.to_string()))?;
    tx.rw(&tables::PREVIOUS_SERVICE_LAST_SIGNED_ROOT).put(&tree.to_tree().root())?;
    tx.rw(&tables::PREVIOUS_SERVICE_IDENTITY).put(&previous.cert)?;
    tx.rw(&tables::SERVICE_INFO).put(&ServiceInfo {
        cert: recovered.service_cert.clone(),
        current_service_create_txid: Some(recovered.create_tx_id),
        previous_service_identity_version: Some(created.seqno),
        recovery_count: Some(previous.recovery_count.unwrap_or(0) + 1),
        service_data: recovered.service_data.clone(),
        status: ServiceStatus::Recovering,
    })?;

    decision::clear(tx)?;
    let nodes = tx.rw(&tables::NODES);
    for (id, mut info) in nodes.entries()? {
        if info.status != NodeStatus::Retired {
            info.status = NodeStatus::Retired;
            nodes.put(&id, &info)?;
        }
    }
    let own = NodeInfo { status: NodeStatus::Trusted, ledger_secret_seqno: None, ..recovered.node.clone() };
    nodes.put(&recovered.node_id, &own)?;
    tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).put(&recovered.node_id, &recovered.node_endorsed_cert)?;
    if let Some(sealing) = &recovered.sealing {
        sealing::record(tx, &recovered.node_id, sealing)?;
    }
    genesis::trust_own_platform(tx, &recovered.join_policy, genesis::StoredFeeds::KeepLower)?;
    Ok(())
}
