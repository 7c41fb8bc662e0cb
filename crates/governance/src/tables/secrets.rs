//! Values of the tables that keep ledger secrets (ledger specification, section 7).

use super::base64::Base64;
use ccf_types::{MemberId, NodeId, SeqNo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `recovery_shares`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryShares {
    /// Each recovery member's share, RSA-OAEP under the member's key.
    pub encrypted_shares: BTreeMap<MemberId, Base64>,
    /// Where the secret before the wrapped one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<SeqNo>,
    /// The latest ledger secret under the wrapping key.
    pub wrapped_latest_ledger_secret: Base64,
}

/// `sealed_shares`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedShares {
    /// The wrapping key for each node that can unseal it.
    pub encrypted_wrapping_keys: BTreeMap<NodeId, Base64>,
    /// Where the secret before the wrapped one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<SeqNo>,
    /// The latest ledger secret under the wrapping key.
    pub wrapped_latest_ledger_secret: Base64,
}

/// A row of `nodes.sealed_recovery_keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRecoveryKey {
    /// The private key under the sealing key.
    pub ciphertext: Base64,
    /// PEM.
    pub pubkey: String,
    /// Hex of the TCB version whose firmware derives the sealing key.
    pub tcb_version: String,
    /// `SNP_TCB_v1`.
    pub version: String,
}

/// `historical_encrypted_ledger_secret`: a link of the chain of ledger secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoricalSecret {
    /// From where the new secret applies; absent: from the entry after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_version: Option<SeqNo>,
    /// The secret before, under the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_ledger_secret: Option<PreviousSecret>,
}

/// An older ledger secret, encrypted under the one that replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// AES-GCM: tag, IV, ciphertext.
    pub encrypted_data: Base64,
    /// Where the secret before this one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<SeqNo>,
    /// From where it applied.
    pub version: SeqNo,
}

/// `encrypted_ledger_secrets`: for each node, the secrets it needs.
pub type EncryptedSecrets = BTreeMap<NodeId, Vec<EncryptedSecret>>;

/// A ledger secret for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedSecret {
    /// RSA-OAEP under the node's encryption key.
    pub encrypted_secret: Base64,
    /// Where the secret before this one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<SeqNo>,
    /// From where it applies; null: from the entry after this one.
    pub version: Option<SeqNo>,
}
