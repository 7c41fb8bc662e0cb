//! Authentication policies (applications specification, section 3).
//!
//! An endpoint lists policies; the first that yields an identity wins. When all refuse, the answer is 401
//! with one detail per policy.

mod all_of;
mod caller;
mod certificate;
mod cose;
mod jwt;
mod no_auth;
mod policies;

pub use all_of::{AllOf, DuplicateMember};
pub use caller::{Caller, JwtIdentity, MemberCose, MemberCoseHeader, UserCose, UserCoseHeader};
pub use certificate::{AnyCert, MemberCert, UserCert};
pub use cose::{MemberCoseSign1, UserCoseSign1};
pub use jwt::JwtAbsent;
pub use no_auth::NoAuth;
pub use policies::{Policies, UnknownPolicy};

use crate::{
    error::{ErrorCode, ErrorResponse},
    http::Request,
    session::Session,
};
use ccf_kv::Tx;
use serde_json::{Value, json};
use smallvec::SmallVec;
use std::{borrow::Cow, sync::Arc};

/// What a policy may look at.
#[derive(Clone, Copy)]
pub struct AuthnInput<'a> {
    /// The transaction of the request; what is read becomes a dependency of it.
    pub tx: &'a Tx,
    /// The request.
    pub request: &'a Request,
    /// The session, with the caller's certificate.
    pub session: &'a Session,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

/// Why a policy did not yield an identity.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Not this caller; the next policy is asked. The text goes into the details of the 401.
    Reason(Cow<'static, str>),
    /// The request ends here with this error, as when a signed body cannot be decoded.
    Error(Box<ErrorResponse>),
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Refusal::Reason(Cow::Borrowed(reason))
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Reason(Cow::Owned(reason))
    }
}

impl From<ErrorResponse> for Refusal {
    fn from(error: ErrorResponse) -> Self {
        Refusal::Error(Box::new(error))
    }
}

impl From<ccf_kv::KvError> for Refusal {
    fn from(error: ccf_kv::KvError) -> Self {
        Refusal::from(ErrorResponse::from(error))
    }
}

/// A way to find out who calls. Applications may add their own.
pub trait AuthnPolicy: Send + Sync {
    /// The name in metadata, in error details and in `caller.policy`.
    fn name(&self) -> &str;

    /// The caller's identity.
    ///
    /// # Errors
    /// [`Refusal`] if this policy does not recognise the caller.
    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal>;

    /// The `www-authenticate` header of a 401 when this policy is the last of the endpoint and refused for
    /// this reason.
    fn challenge(&self, _reason: &str) -> Option<&'static str> {
        None
    }

    /// Name and definition of the OpenAPI security scheme; an empty name stands for "no authentication".
    fn security_scheme(&self) -> Option<(&'static str, Value)> {
        None
    }
}

/// Asks the policies in order. `None`: there are none, and the caller has no identity.
///
/// # Errors
/// 401 `InvalidAuthenticationInfo` with the reasons of all policies, or the error of the policy that ended
/// the request.
pub fn authenticate(
    policies: &[Arc<dyn AuthnPolicy>],
    input: &AuthnInput<'_>,
) -> Result<Option<Caller>, ErrorResponse> {
    let Some(last) = policies.last() else { return Ok(None) };
    let mut reasons: SmallVec<[(&str, Cow<'static, str>); 4]> = SmallVec::new();
    for policy in policies {
        match policy.authenticate(input) {
            Ok(caller) => return Ok(Some(caller)),
            Err(Refusal::Reason(reason)) => reasons.push((policy.name(), reason)),
            Err(Refusal::Error(error)) => return Err(*error),
        }
    }
    let mut error =
        ErrorResponse::new(ErrorCode::InvalidAuthenticationInfo, "Invalid authentication credentials.");
    let challenge = reasons.last().and_then(|(_, reason)| last.challenge(reason));
    for (policy, message) in reasons {
        let code = ErrorCode::InvalidAuthenticationInfo.as_str();
        error.details.push(json!({"auth_policy": policy, "code": code, "message": message}));
    }
    Err(match challenge {
        Some(challenge) => error.with_header("www-authenticate", challenge),
        None => error,
    })
}
