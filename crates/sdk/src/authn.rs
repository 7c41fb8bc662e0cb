//! Authentication policies, ready to be listed by an endpoint.

pub use ccf_endpoints::authn::{
    AuthnInput, AuthnPolicy, Caller, JwtIdentity, MemberCose, MemberCoseHeader, Refusal, UserCose,
    UserCoseHeader,
};

use ccf_endpoints::authn;
use std::sync::Arc;

/// A policy as endpoints list it.
pub type Policy = Arc<dyn AuthnPolicy>;

/// Registered users, by the certificate of their TLS session.
#[must_use]
pub fn user_cert() -> Policy {
    Arc::new(authn::UserCert)
}

/// Members of the consortium, by the certificate of their TLS session.
#[must_use]
pub fn member_cert() -> Policy {
    Arc::new(authn::MemberCert)
}

/// Anybody who presents a certificate that is valid now.
#[must_use]
pub fn any_cert() -> Policy {
    Arc::new(authn::AnyCert)
}

/// Bearers of a token. Nodes cannot verify tokens yet and refuse their bearers with a reason that says so.
#[must_use]
pub fn jwt() -> Policy {
    Arc::new(authn::JwtAbsent)
}

/// Registered users, by their signature of the request.
#[must_use]
pub fn user_cose_sign1() -> Policy {
    Arc::new(authn::UserCoseSign1::default())
}

/// Registered users, by their signature of a request of this type.
#[must_use]
pub fn typed_user_cose_sign1(msg_type: &str) -> Policy {
    Arc::new(authn::UserCoseSign1::typed(msg_type))
}

/// Members of the consortium, by their signature of the request.
#[must_use]
pub fn member_cose_sign1() -> Policy {
    Arc::new(authn::MemberCoseSign1::any())
}

/// Everybody; listed last, it makes authentication optional.
#[must_use]
pub fn no_auth() -> Policy {
    Arc::new(authn::NoAuth)
}

/// All of several policies at once.
///
/// # Errors
/// [`DuplicateMember`] if a policy is listed twice.
pub fn all_of(members: impl IntoIterator<Item = Policy>) -> Result<Policy, DuplicateMember> {
    Ok(Arc::new(authn::AllOf::new(members)?))
}

pub use ccf_endpoints::authn::DuplicateMember;
