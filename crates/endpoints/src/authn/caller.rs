//! Who calls, as found by a policy.

use crate::session::CallerCertificate;
use bytes::Bytes;
use ccf_types::{MemberId, UserId};
use serde_json::Value;
use std::{any::Any, fmt, sync::Arc};

/// The identity of a caller.
#[derive(Clone)]
pub enum Caller {
    /// Policy `no_auth`: nobody in particular.
    NoAuth,
    /// Policy `user_cert`.
    User(UserId),
    /// Policy `member_cert`.
    Member(MemberId),
    /// Policy `any_cert`: whoever possesses this certificate.
    AnyCert(Arc<CallerCertificate>),
    /// Policy `jwt`.
    Jwt(Arc<JwtIdentity>),
    /// Policies `user_cose_sign1` and its typed variants.
    UserCose(Arc<UserCose>),
    /// Policies `member_cose_sign1` and its variants.
    MemberCose(Arc<MemberCose>),
    /// An `all_of` policy: its members by name, in alphabetical order.
    AllOf(Arc<[(String, Caller)]>),
    /// A policy of the application: its name and whatever it found.
    Custom(Arc<str>, Arc<dyn Any + Send + Sync>),
}

/// A verified token.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtIdentity {
    /// The issuer that governance registered the key under.
    pub key_issuer: String,
    /// Header of the token.
    pub header: Value,
    /// Payload of the token.
    pub payload: Value,
}

/// Protected header of a user's signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCoseHeader {
    /// COSE algorithm.
    pub alg: i64,
    /// Key identifier: the user ID as text.
    pub kid: Vec<u8>,
    /// `ccf.msg.type`.
    pub msg_type: Option<String>,
    /// `ccf.msg.created_at`, seconds since the Unix epoch.
    pub created_at: Option<u64>,
}

/// A user's signed request.
#[derive(Clone, Debug)]
pub struct UserCose {
    /// The signer.
    pub user_id: UserId,
    /// The signer's certificate in PEM.
    pub certificate: String,
    /// What was signed.
    pub content: Bytes,
    /// The whole message.
    pub envelope: Bytes,
    /// The signature's bytes.
    pub signature: Bytes,
    /// Protected header.
    pub header: UserCoseHeader,
}

/// Protected header of a member's signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCoseHeader {
    /// COSE algorithm.
    pub alg: i64,
    /// Key identifier: the member ID as text.
    pub kid: Vec<u8>,
    /// `ccf.gov.msg.type`.
    pub msg_type: Option<String>,
    /// `ccf.gov.msg.proposal_id`.
    pub proposal_id: Option<String>,
    /// `ccf.gov.msg.created_at`, seconds since the Unix epoch.
    pub created_at: u64,
}

/// A member's signed request.
#[derive(Clone, Debug)]
pub struct MemberCose {
    /// The signer.
    pub member_id: MemberId,
    /// The signer's certificate in PEM.
    pub certificate: String,
    /// What was signed.
    pub content: Bytes,
    /// The whole message.
    pub envelope: Bytes,
    /// The signature's bytes; their digest identifies the request.
    pub signature: Bytes,
    /// Protected header.
    pub header: MemberCoseHeader,
}

impl Caller {
    /// The name of the policy that found the caller; of `all_of`, the sorted names joined with `+`.
    #[must_use]
    pub fn policy(&self) -> String {
        match self {
            Caller::NoAuth => "no_auth".to_owned(),
            Caller::User(_) => "user_cert".to_owned(),
            Caller::Member(_) => "member_cert".to_owned(),
            Caller::AnyCert(_) => "any_cert".to_owned(),
            Caller::Jwt(_) => "jwt".to_owned(),
            Caller::UserCose(_) => "user_cose_sign1".to_owned(),
            Caller::MemberCose(_) => "member_cose_sign1".to_owned(),
            Caller::AllOf(members) => {
                members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("+")
            }
            Caller::Custom(name, _) => name.to_string(),
        }
    }

    /// The user, by certificate or signature, also as a member of `all_of`.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Caller::User(id) => Some(id),
            Caller::UserCose(cose) => Some(&cose.user_id),
            Caller::AllOf(members) => members.iter().find_map(|(_, caller)| caller.user_id()),
            _ => None,
        }
    }

    /// The member, by certificate or signature, also as a member of `all_of`.
    #[must_use]
    pub fn member_id(&self) -> Option<&MemberId> {
        match self {
            Caller::Member(id) => Some(id),
            Caller::MemberCose(cose) => Some(&cose.member_id),
            Caller::AllOf(members) => members.iter().find_map(|(_, caller)| caller.member_id()),
            _ => None,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy())?;
        match (self.user_id(), self.member_id()) {
            (Some(id), _) => write!(f, "({id})"),
            (None, Some(id)) => write!(f, "({id})"),
            (None, None) => Ok(()),
        }
    }
}
