//! The governance tables that authentication reads (governance specification, section 2). Declared here because
//! this is the lowest crate that needs them; governance writes them.

use ccf_kv::{KvError, Raw, Tx, TypedMap};
use ccf_types::{MemberId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Certificates of users, in PEM.
pub const USER_CERTS: TypedMap<UserId, String, Raw, Raw> = TypedMap::new("public:ccf.gov.users.certs");

/// What governance knows of users besides their certificates; only present when data was given.
pub const USER_INFO: TypedMap<UserId, UserInfo> = TypedMap::new("public:ccf.gov.users.info");

/// Certificates of members, in PEM.
pub const MEMBER_CERTS: TypedMap<MemberId, String, Raw, Raw> = TypedMap::new("public:ccf.gov.members.certs");

/// Status, role and data of members.
pub const MEMBER_INFO: TypedMap<MemberId, MemberInfo> = TypedMap::new("public:ccf.gov.members.info");

/// A user's data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Whatever governance stored.
    #[serde(default)]
    pub user_data: Value,
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Whatever governance stored.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub member_data: Value,
    /// Part in recovery, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_role: Option<RecoveryRole>,
    /// Whether the member has acknowledged.
    pub status: MemberStatus,
}

/// Standing of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStatus {
    /// Added; may acknowledge, not propose or vote.
    Accepted,
    /// Has acknowledged.
    Active,
}

/// Part of a member in recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryRole {
    /// Holds nothing.
    NonParticipant,
    /// Holds a share.
    Participant,
    /// Holds the whole wrapping key.
    Owner,
}

pub(crate) fn has_user(tx: &Tx, id: &UserId) -> Result<bool, KvError> {
    tx.ro(&USER_CERTS).has(id)
}

pub(crate) fn has_member(tx: &Tx, id: &MemberId) -> Result<bool, KvError> {
    tx.ro(&MEMBER_CERTS).has(id)
}
