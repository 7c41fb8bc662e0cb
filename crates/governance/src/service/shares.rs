//! Issuing recovery shares of a ledger secret (ledger specification, sections 7.5 and 7.7; crypto 15).

use crate::{
    identity::{InvalidIdentity, encryption_key},
    tables::{
        self,
        base64::Base64,
        member::{MemberStatus, RecoveryRole, effective_role},
        node::NodeStatus,
        secrets::{RecoveryShares, SealedShares},
    },
};
use ccf_crypto::{
    key::{PublicKey, SignatureError},
    sharing::{self, Share, SharedSecret},
};
use ccf_kv::{KvError, Tx};
use ccf_types::{MemberId, NodeId, SeqNo};
use std::collections::BTreeMap;

/// Shares cannot be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// Nobody could recover the service.
    #[error("there are no active recovery members")]
    NobodyToRecover,
    /// The service configuration is missing.
    #[error("service configuration is not available")]
    NoConfiguration,
    /// The threshold is 0, or above the number of shares.
    #[error("recovery threshold {threshold} does not fit {available} active recovery participants")]
    Threshold {
        /// As configured.
        threshold: u64,
        /// How many shares there would be.
        available: usize,
    },
    /// A member's encryption key does not serve.
    #[error("encryption key of member {member}: {reason}")]
    MemberKey {
        /// The member.
        member: MemberId,
        /// What is wrong.
        reason: InvalidIdentity,
    },
    /// A node's sealed recovery key does not serve.
    #[error("sealed recovery key of node {node}: {reason}")]
    NodeKey {
        /// The node.
        node: NodeId,
        /// What is wrong.
        reason: InvalidIdentity,
    },
    /// Splitting or wrapping failed.
    #[error(transparent)]
    Sharing(#[from] sharing::ShareError),
    /// Encryption failed.
    #[error(transparent)]
    Encryption(#[from] SignatureError),
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// The active members that take part in recovery, with their keys, ascending by ID.
struct RecoveryMembers {
    participants: Vec<(MemberId, PublicKey)>,
    owners: Vec<(MemberId, PublicKey)>,
}

fn recovery_members(tx: &Tx) -> Result<RecoveryMembers, ShareError> {
    let mut found = RecoveryMembers { participants: Vec::new(), owners: Vec::new() };
    let members = tx.ro(&tables::MEMBER_INFO);
    for (id, pem) in tx.ro(&tables::MEMBER_ENCRYPTION_KEYS).entries()? {
        let Some(info) = members.get(&id)?.filter(|info| info.status == MemberStatus::Active) else {
            continue;
        };
        let list = match effective_role(info.recovery_role, true) {
            RecoveryRole::Participant => &mut found.participants,
            RecoveryRole::Owner => &mut found.owners,
            RecoveryRole::NonParticipant => continue,
        };
        let key =
            encryption_key(&pem).map_err(|reason| ShareError::MemberKey { member: id.clone(), reason })?;
        list.push((id, key));
    }
    Ok(found)
}

/// Wraps the ledger secret with a fresh key and gives each recovery member its share of that key.
pub(super) fn issue(tx: &Tx, secret: &[u8; 32], previous: Option<SeqNo>) -> Result<(), ShareError> {
    let members = recovery_members(tx)?;
    let config = tx.ro(&tables::SERVICE_CONFIG).get()?.ok_or(ShareError::NoConfiguration)?;
    // With owners only, one share is made and given to nobody.
    let available = match (members.participants.len(), members.owners.len()) {
        (0, 0) => return Err(ShareError::NobodyToRecover),
        (0, _) => 1,
        (participants, _) => participants,
    };
    let unfit = ShareError::Threshold { threshold: config.recovery_threshold, available };
    let Ok(threshold) = usize::try_from(config.recovery_threshold) else { return Err(unfit) };
    if threshold == 0 || threshold > available {
        return Err(unfit);
    }

    let wrapping = SharedSecret::generate()?;
    let shares = wrapping.split(available, threshold)?;
    let mut encrypted = BTreeMap::new();
    for ((id, key), share) in members.participants.into_iter().zip(&shares) {
        encrypted.insert(id, encrypt(&key, share)?);
    }
    let full = wrapping.to_full_share();
    for (id, key) in members.owners {
        encrypted.insert(id, encrypt(&key, &full)?);
    }
    tx.rw(&tables::RECOVERY_SHARES).put(&RecoveryShares {
        encrypted_shares: encrypted,
        previous_secret_stored_version: previous,
        wrapped_latest_ledger_secret: Base64(wrapping.wrap(secret)?),
    })?;
    Ok(())
}

/// Wraps the ledger secret with a fresh key for the trusted nodes that can unseal it, even if there are none.
pub(super) fn issue_sealed(tx: &Tx, secret: &[u8; 32], previous: Option<SeqNo>) -> Result<(), ShareError> {
    let wrapping = SharedSecret::generate()?;
    let full = wrapping.to_full_share();
    let nodes = tx.ro(&tables::NODES);
    let mut encrypted = BTreeMap::new();
    for (id, sealed) in tx.ro(&tables::NODE_SEALED_RECOVERY_KEYS).entries()? {
        if nodes.get(&id)?.is_some_and(|info| info.status == NodeStatus::Trusted) {
            let key = encryption_key(&sealed.pubkey)
                .map_err(|reason| ShareError::NodeKey { node: id.clone(), reason })?;
            encrypted.insert(id, encrypt(&key, &full)?);
        }
    }
    tx.rw(&tables::SEALED_SHARES).put(&SealedShares {
        encrypted_wrapping_keys: encrypted,
        previous_secret_stored_version: previous,
        wrapped_latest_ledger_secret: Base64(wrapping.wrap(secret)?),
    })?;
    Ok(())
}

fn encrypt(key: &PublicKey, share: &Share) -> Result<Base64, SignatureError> {
    key.oaep_encrypt(&[], share.to_bytes().as_slice()).map(Base64)
}
