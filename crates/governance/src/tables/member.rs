//! Values of the member tables (governance 2.1 and 12.3).

use super::base64::Base64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use ccf_endpoints::tables::{MemberInfo, MemberStatus, RecoveryRole, UserInfo};

/// The role a member really has: as given, else by whether there is an encryption key.
#[must_use]
pub fn effective_role(given: Option<RecoveryRole>, has_encryption_key: bool) -> RecoveryRole {
    match given {
        Some(role) => role,
        None if has_encryption_key => RecoveryRole::Participant,
        None => RecoveryRole::NonParticipant,
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
