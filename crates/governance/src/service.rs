//! The life of the service: shares of its ledger secret, rekeying, opening (ledger specification, section 7.4;
//! governance 8.3). Pure functions of a transaction and of what the node knows.

mod endorsement;
mod shares;

pub use endorsement::EndorsementError;
pub use shares::ShareError;

use crate::{
    identity::{InvalidIdentity, encryption_key},
    node::{NodeGovernance, NodePhase},
    recovery,
    sealing::UnsealError,
    tables::{
        self,
        base64::Base64,
        node::{NodeInfo, NodeStatus},
        secrets::{EncryptedSecret, EncryptedSecrets, HistoricalSecret, PreviousSecret},
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_crypto::{aead::AeadError, cert::Certificate, key::EcKeyPair, random::RandomError};
use ccf_kv::{KvError, Tx};
use ccf_ledger::secrets::LedgerSecret;
use ccf_types::{NodeId, SeqNo};
use std::sync::Arc;

/// A step in the life of the service is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The store holds no service.
    #[error("service information is not available")]
    NoService,
    /// No such member.
    #[error("no such member")]
    NoSuchMember,
    /// The node knows no ledger secret or no service key.
    #[error("this node does not hold the secrets of the service")]
    NoSecrets,
    /// Only while the service is open and this node takes part.
    #[error("a rekey needs an open service and a node that is part of it")]
    NotOpen,
    /// The proposal names another previous service.
    #[error("Previous service identity does not match.")]
    PreviousIdentity,
    /// The proposal names another service.
    #[error("the next service identity does not match the current service certificate")]
    NextIdentity,
    /// Opening needs a node that knows the private state, or that has just recovered the public one.
    #[error("the node cannot open the service in its present state")]
    Phase,
    /// The node is to recover without members, and cannot.
    #[error("Failed to unseal ledger secret for private recovery")]
    Unseal(#[source] UnsealError),
    /// Shares could not be made.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The endorsement of the service identity could not be made.
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    /// The service certificate does not parse.
    #[error("service certificate: {0}")]
    Certificate(#[from] ccf_crypto::cert::CertificateError),
    /// A node's encryption key does not serve.
    #[error("encryption key of node {node}: {reason}")]
    NodeKey {
        /// The node.
        node: NodeId,
        /// What is wrong.
        reason: InvalidIdentity,
    },
    /// Encryption failed.
    #[error("encryption failed: {0}")]
    Encryption(String),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

impl From<AeadError> for ServiceError {
    fn from(error: AeadError) -> Self {
        ServiceError::Encryption(error.to_string())
    }
}

/// The latest ledger secret; depends on the table by which it changes.
pub(crate) fn latest_secret(node: &dyn NodeGovernance, tx: &Tx) -> Result<Arc<LedgerSecret>, ServiceError> {
    let _ = tx.ro(&tables::ENCRYPTED_LEDGER_SECRETS).has();
    node.latest_ledger_secret(tx).ok_or(ServiceError::NoSecrets)
}

pub(crate) fn service_key(node: &dyn NodeGovernance) -> Result<Arc<EcKeyPair>, ServiceError> {
    node.service_key().ok_or(ServiceError::NoSecrets)
}

/// The service certificate.
pub(crate) fn certificate(tx: &Tx) -> Result<Certificate, ServiceError> {
    Ok(Certificate::from_pem(&service_info(tx)?.cert)?)
}

pub(crate) fn service_info(tx: &Tx) -> Result<ServiceInfo, ServiceError> {
    tx.ro(&tables::SERVICE_INFO).get()?.ok_or(ServiceError::NoService)
}

/// New shares of the present ledger secret.
///
/// # Errors
/// [`ServiceError`]; then the transaction must be dropped.
pub fn refresh_shares(node: &dyn NodeGovernance, tx: &Tx) -> Result<(), ServiceError> {
    let secret = latest_secret(node, tx)?;
    Ok(shares::issue(tx, secret.danger_raw(), secret.previous_stored_at())?)
}

/// New sealed shares of the present ledger secret, for the nodes trusted now.
///
/// # Errors
/// [`ServiceError`]; then the transaction must be dropped.
pub fn shuffle_sealed_shares(node: &dyn NodeGovernance, tx: &Tx) -> Result<(), ServiceError> {
    if node.phase() != NodePhase::PartOfNetwork {
        return Ok(());
    }
    let secret = latest_secret(node, tx)?;
    Ok(shares::issue_sealed(tx, secret.danger_raw(), secret.previous_stored_at())?)
}

/// A new ledger secret, from the entry after this transaction's on. The local hook on `encrypted_ledger_secrets` must
/// install it, on the primary and on backups alike.
///
/// # Errors
/// [`ServiceError`]; then the transaction must be dropped.
pub fn rekey(node: &dyn NodeGovernance, tx: &Tx) -> Result<(), ServiceError> {
    if node.phase() != NodePhase::PartOfNetwork || service_info(tx)?.status != ServiceStatus::Open {
        return Err(ServiceError::NotOpen);
    }
    let old = latest_secret(node, tx)?;
    // Its position is known only at commit; nothing below depends on it.
    let new = LedgerSecret::random(SeqNo::NONE, None)?;
    issue_shares(tx, &new)?;

    let historical = tx.rw(&tables::HISTORICAL_LEDGER_SECRET);
    let previous = PreviousSecret {
        encrypted_data: Base64(new.key().seal_blob(&[], old.danger_raw())?),
        previous_secret_stored_version: historical.version_of_previous_write(),
        version: old.from(),
    };
    historical.put(&HistoricalSecret { next_version: None, previous_ledger_secret: Some(previous) })?;

    let mut for_nodes = EncryptedSecrets::new();
    for (id, info) in tx.ro(&tables::NODES).entries()? {
        if needs_secrets(tx, &id, &info)? {
            let encrypted = encrypt_for_node(&id, &info, new.danger_raw())?;
            let secret = EncryptedSecret {
                encrypted_secret: encrypted,
                previous_secret_stored_version: None,
                version: None,
            };
            for_nodes.insert(id, vec![secret]);
        }
    }
    tx.rw(&tables::ENCRYPTED_LEDGER_SECRETS).put(&for_nodes)?;
    Ok(())
}

/// Trusted nodes, and retired ones that may still have to replicate (ledger specification, section 7.2).
pub(crate) fn needs_secrets(tx: &Tx, id: &NodeId, info: &NodeInfo) -> Result<bool, KvError> {
    Ok(match info.status {
        NodeStatus::Trusted => true,
        NodeStatus::Pending => false,
        NodeStatus::Retired => {
            let committed = tx.ro(&tables::NODES).get_globally_committed(id)?;
            !committed.is_some_and(|info| info.retired_committed)
        }
    })
}

pub(crate) fn encrypt_for_node(
    id: &NodeId,
    info: &NodeInfo,
    secret: &[u8; 32],
) -> Result<Base64, ServiceError> {
    let key = encryption_key(&info.encryption_pub_key)
        .map_err(|reason| ServiceError::NodeKey { node: id.clone(), reason })?;
    let encrypted = key.oaep_encrypt(&[], secret);
    encrypted.map(Base64).map_err(|error| ServiceError::Encryption(error.to_string()))
}

/// Opens the service as an accepted proposal asks; the texts are PEM certificates. True if this made the service open,
/// which asks for a snapshot; false if it was open already.
///
/// # Errors
/// [`ServiceError`]; then the transaction must be dropped.
pub fn open(
    node: &dyn NodeGovernance,
    tx: &Tx,
    previous: Option<&str>,
    next: &str,
    now: u64,
) -> Result<bool, ServiceError> {
    let mut service = service_info(tx)?;
    match service.status {
        ServiceStatus::Open | ServiceStatus::WaitingForRecoveryShares => return Ok(false),
        ServiceStatus::Recovering => {
            let recovered = tx.ro(&tables::PREVIOUS_SERVICE_IDENTITY).get()?;
            if recovered.is_none() || recovered.as_deref() != previous {
                return Err(ServiceError::PreviousIdentity);
            }
        }
        ServiceStatus::Opening => {}
    }
    if next != service.cert {
        return Err(ServiceError::NextIdentity);
    }
    match node.phase() {
        NodePhase::PartOfPublicNetwork => {
            tx.rw(&tables::SUBMITTED_SHARES).clear();
            service.status = ServiceStatus::WaitingForRecoveryShares;
            tx.rw(&tables::SERVICE_INFO).put(&service)?;
            let how = match node.unsealed_secrets() {
                None => RECOVERY_BY_SHARES,
                Some(unsealed) => {
                    recovery::publish(tx, &unsealed.map_err(ServiceError::Unseal)?)?;
                    RECOVERY_BY_UNSEALING
                }
            };
            tx.rw(&tables::LAST_RECOVERY_TYPE).put(&how.to_owned())?;
            Ok(false)
        }
        NodePhase::PartOfNetwork => {
            let secret = latest_secret(node, tx)?;
            issue_shares(tx, &secret)?;
            let link = HistoricalSecret { next_version: Some(secret.from()), previous_ledger_secret: None };
            tx.rw(&tables::HISTORICAL_LEDGER_SECRET).put(&link)?;
            mark_open(node, tx, &mut service, now)?;
            Ok(true)
        }
        NodePhase::ReadingPrivateLedger | NodePhase::Other => Err(ServiceError::Phase),
    }
}

/// Shares of a secret for the members and for nodes that can unseal theirs.
pub(crate) fn issue_shares(tx: &Tx, secret: &LedgerSecret) -> Result<(), ServiceError> {
    shares::issue(tx, secret.danger_raw(), secret.previous_stored_at())?;
    shares::issue_sealed(tx, secret.danger_raw(), secret.previous_stored_at())?;
    Ok(())
}

/// The service is open, and says which service it continues.
pub(crate) fn mark_open(
    node: &dyn NodeGovernance,
    tx: &Tx,
    service: &mut ServiceInfo,
    now: u64,
) -> Result<(), ServiceError> {
    endorsement::endorse(tx, service_key(node)?.as_ref(), service, now)?;
    service.status = ServiceStatus::Open;
    tx.rw(&tables::SERVICE_INFO).put(service)?;
    Ok(())
}

/// The value of `last_recovery_type` when members' shares are awaited.
const RECOVERY_BY_SHARES: &str = "RECOVERY_SHARES";

/// Its value when the node has unsealed the ledger secret.
const RECOVERY_BY_UNSEALING: &str = "LOCAL_UNSEALING";
