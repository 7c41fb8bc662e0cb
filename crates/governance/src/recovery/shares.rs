//! Shares that members send back, and what happens when there are enough (crypto specification, section 15.5).

use super::{SecretChainError, restore::publish};
use crate::{
    node::NodeGovernance,
    service::{self, ServiceError},
    tables::{self, base64::Base64},
};
use ccf_crypto::{
    aead::AeadError,
    sharing::{self, SHARE_LEN, Share, SharedSecret},
};
use ccf_kv::{KvError, Tx};
use ccf_types::MemberId;

/// What a submission came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Members whose share is there.
    pub count: u64,
    /// How many are needed.
    pub threshold: u64,
    /// The member sent the full secret.
    pub is_full: bool,
    /// The ledger secrets are restored: when this transaction is globally committed private recovery begins.
    pub restored: bool,
}

/// A share cannot be taken, or the shares do not restore the secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The share cannot be stored; drop the transaction.
    #[error("Error submitting recovery shares.")]
    Store(#[source] ServiceError),
    /// The shares do not restore the secrets. They are all cleared: commit the transaction.
    #[error("Failed to initiate private recovery.")]
    Restore(#[source] RestoreError),
}

/// The submitted shares do not restore the ledger secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A stored share is not one that this service encrypted.
    #[error("a submitted share cannot be decrypted: {0}")]
    Decrypt(#[from] AeadError),
    /// Shares do not combine, or combine to a key that opens nothing.
    #[error(transparent)]
    Shares(#[from] sharing::ShareError),
    /// The ledger holds no wrapped secret.
    #[error("the ledger holds no recovery shares")]
    NoShares,
    /// The chain of secrets is broken.
    #[error(transparent)]
    Chain(#[from] SecretChainError),
    /// The restored secrets cannot be given to the nodes.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// Stores a member's share and, when there are enough, restores the ledger secrets and sends them to all nodes.
///
/// # Errors
/// [`SubmitError`], which says what to do with the transaction.
pub fn submit_share(
    node: &dyn NodeGovernance,
    tx: &Tx,
    member: &MemberId,
    share: &[u8],
) -> Result<Submitted, SubmitError> {
    let (count, threshold) = store(node, tx, member, share).map_err(SubmitError::Store)?;
    let is_full = Share::from_bytes(share).is_ok_and(|share| share.position() == 0);
    let restored = is_full || count >= threshold;
    if restored && let Err(error) = restore(node, tx, threshold) {
        tx.rw(&tables::SUBMITTED_SHARES).clear();
        return Err(SubmitError::Restore(error));
    }
    Ok(Submitted { count, threshold, is_full, restored })
}

/// Stores a share; the answer is how many there are and how many are needed.
fn store(
    node: &dyn NodeGovernance,
    tx: &Tx,
    member: &MemberId,
    share: &[u8],
) -> Result<(u64, u64), ServiceError> {
    let config = tx.ro(&tables::SERVICE_CONFIG).get()?;
    let threshold = config.ok_or(service::ShareError::NoConfiguration)?.recovery_threshold;
    let secret = service::latest_secret(node, tx)?;
    let submitted = tx.rw(&tables::SUBMITTED_SHARES);
    submitted.put(member, &Base64(secret.key().seal_blob(&[], share)?))?;
    Ok((submitted.size() as u64, threshold))
}

/// Restores all secrets from the shares in the store and writes them for the nodes, or writes nothing.
fn restore(node: &dyn NodeGovernance, tx: &Tx, threshold: u64) -> Result<(), RestoreError> {
    let current = service::latest_secret(node, tx)?;
    let mut shares = Vec::new();
    let mut full = None;
    for (_, encrypted) in tx.ro(&tables::SUBMITTED_SHARES).entries()? {
        let bytes = ccf_crypto::Zeroizing::new(current.key().open_blob(&[], &encrypted.0)?);
        if bytes.len() != SHARE_LEN {
            return Err(sharing::ShareError::Length(bytes.len()).into());
        }
        let share = Share::from_bytes(&bytes)?;
        match share.full_secret() {
            Some(secret) => full = full.or(Some(secret)),
            None => shares.push(share),
        }
    }
    let wrapping = match full {
        Some(secret) => secret,
        None => {
            let needed = usize::try_from(threshold).unwrap_or(usize::MAX);
            SharedSecret::recover(&shares, needed)?
        }
    };
    let wrapped = tx.ro(&tables::RECOVERY_SHARES).get()?.ok_or(RestoreError::NoShares)?;
    let latest = wrapping.unwrap(&wrapped.wrapped_latest_ledger_secret.0)?;
    let secrets = node.secret_links().restore(&latest)?;
    Ok(publish(tx, &secrets)?)
}
