//! Restored ledger secrets on their way to the nodes, and the end of private recovery (ledger specification, 7.2, 7.4).

use crate::{
    node::NodeGovernance,
    service::{self, ServiceError},
    tables::{
        self,
        base64::Base64,
        secrets::{EncryptedSecret, EncryptedSecrets, HistoricalSecret, PreviousSecret},
        service::ServiceStatus,
    },
};
use ccf_crypto::{Zeroizing, key::RsaKeyPair};
use ccf_kv::Tx;
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{NodeId, SeqNo};
use std::sync::Arc;

/// What a write to `encrypted_ledger_secrets` holds for one node.
#[derive(Debug)]
pub enum SecretsForNode {
    /// Nothing.
    Nothing,
    /// A rekey: the secret applies from the entry after the write on. Install it when the write is applied.
    Rekeyed(Arc<LedgerSecret>),
    /// Secrets of the time before a recovery. Private recovery begins when the write is globally committed, on a node
    /// that knows the public state only; other nodes have them already.
    Restored(LedgerSecrets),
}

/// The secrets sent to this node cannot be used; going on would encrypt with a secret that nobody else uses.
#[derive(Debug, thiserror::Error)]
#[error("the ledger secrets sent to this node cannot be used: {0}")]
pub struct UnusableSecrets(String);

/// Reads the value of `encrypted_ledger_secrets` written at `written_at`, for the node with this encryption key.
///
/// # Errors
/// [`UnusableSecrets`].
pub fn secrets_for_node(
    value: &[u8],
    written_at: SeqNo,
    node: &NodeId,
    key: &RsaKeyPair,
) -> Result<SecretsForNode, UnusableSecrets> {
    let unusable = |reason: String| UnusableSecrets(reason);
    let all: EncryptedSecrets = serde_json::from_slice(value).map_err(|e| unusable(e.to_string()))?;
    let Some(own) = all.get(node).filter(|own| !own.is_empty()) else {
        return Ok(SecretsForNode::Nothing);
    };
    let mut restored = Vec::new();
    for secret in own {
        let raw = key.oaep_decrypt(&[], &secret.encrypted_secret.0).map_err(|e| unusable(e.to_string()))?;
        let raw: [u8; 32] = raw.as_slice().try_into().map_err(|_| unusable("not 32 bytes".to_owned()))?;
        let raw = Zeroizing::new(raw);
        match secret.version {
            None => {
                let rekeyed = LedgerSecret::new(&raw, written_at.next(), Some(written_at));
                return Ok(SecretsForNode::Rekeyed(Arc::new(rekeyed)));
            }
            Some(from) => {
                restored.push(LedgerSecret::new(&raw, from, secret.previous_secret_stored_version));
            }
        }
    }
    let restored = LedgerSecrets::new(restored).map_err(|e| unusable(e.to_string()))?;
    Ok(SecretsForNode::Restored(restored))
}

/// Writes restored secrets for every node that needs them.
pub(crate) fn publish(tx: &Tx, secrets: &LedgerSecrets) -> Result<(), ServiceError> {
    let mut for_nodes = EncryptedSecrets::new();
    for (id, info) in tx.ro(&tables::NODES).entries()? {
        if !service::needs_secrets(tx, &id, &info)? {
            continue;
        }
        let encrypted = secrets.iter().map(|secret| {
            Ok(EncryptedSecret {
                encrypted_secret: service::encrypt_for_node(&id, &info, secret.danger_raw())?,
                previous_secret_stored_version: secret.previous_stored_at(),
                version: Some(secret.from()),
            })
        });
        let encrypted = encrypted.collect::<Result<Vec<_>, ServiceError>>()?;
        for_nodes.insert(id, encrypted);
    }
    Ok(tx.rw(&tables::ENCRYPTED_LEDGER_SECRETS).put(&for_nodes)?)
}

/// Ends a recovery: the primary calls this when it has replayed the private ledger, and commits. `restored` is the
/// latest secret of the time before the recovery. False if another primary has done it already: then drop the
/// transaction. True asks for a snapshot; and the present secret's predecessor is stored at this transaction's
/// seqno from its local commit on.
///
/// # Errors
/// [`ServiceError`]; then the transaction must be dropped.
pub fn close(
    node: &dyn NodeGovernance,
    tx: &Tx,
    restored: &LedgerSecret,
    now: u64,
) -> Result<bool, ServiceError> {
    let mut info = service::service_info(tx)?;
    if info.status != ServiceStatus::WaitingForRecoveryShares {
        return Ok(false);
    }
    let current = service::latest_secret(node, tx)?;
    tx.rw(&tables::SUBMITTED_SHARES).clear();
    service::issue_shares(tx, &current)?;
    let historical = tx.rw(&tables::HISTORICAL_LEDGER_SECRET);
    let previous = PreviousSecret {
        encrypted_data: Base64(current.key().seal_blob(&[], restored.danger_raw())?),
        previous_secret_stored_version: historical.version_of_previous_write(),
        version: restored.from(),
    };
    historical.put(&HistoricalSecret {
        next_version: Some(current.from()),
        previous_ledger_secret: Some(previous),
    })?;
    service::mark_open(node, tx, &mut info, now)?;
    Ok(true)
}
