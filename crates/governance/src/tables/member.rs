//! Values of the member tables (governance 2.1 and 12.3).

use super::base64::Base64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A row of `members.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Anything the consortium wants to say about the member; `None` is JSON null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_data: Option<Value>,
    /// As given; see [`RecoveryRole::effective`] for what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_role: Option<RecoveryRole>,
    /// Whether the member may propose and vote.
    pub status: MemberStatus,
}

/// Whether a member has acknowledged the state of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStatus {
    /// Added; cannot propose or vote yet.
    Accepted,
    /// Has acknowledged.
    Active,
}

/// A member's part in disaster recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryRole {
    /// None.
    NonParticipant,
    /// Holds one share.
    Participant,
    /// Holds the whole wrapping key.
    Owner,
}

impl RecoveryRole {
    /// The role of a member: as given, else by whether there is an encryption key.
    #[must_use]
    pub fn effective(given: Option<RecoveryRole>, has_encryption_key: bool) -> RecoveryRole {
        match given {
            Some(role) => role,
            None if has_encryption_key => RecoveryRole::Participant,
            None => RecoveryRole::NonParticipant,
        }
    }
}

/// A row of `members.acks`: the digest handed out last, and the message that acknowledged it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The signed acknowledgement, a tagged COSE Sign1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cose_sign1_req: Option<Base64>,
    /// Acknowledgement of services before COSE: kept until the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_req: Option<Value>,
    /// Hex Merkle root, or empty for a member of the genesis that never asked.
    pub state_digest: String,
}

/// A row of `users.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Anything the consortium wants to say about the user.
    pub user_data: Value,
}
