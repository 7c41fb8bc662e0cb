//! Reading path parameters and signed bodies.

use ccf_endpoints::{Caller, EndpointContext, ErrorCode, ErrorResponse, authn::MemberCose};
use std::{fmt, sync::Arc};

/// What an identifier in a path is of.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Member,
    Proposal,
    User,
    Node,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Named::Member => "member",
            Named::Proposal => "proposal",
            Named::User => "user",
            Named::Node => "node",
        })
    }
}

/// A path parameter as it stands in the path.
pub(super) fn raw_param(context: &EndpointContext<'_>, name: &str) -> Result<String, ErrorResponse> {
    let value = context.params().text(name);
    value
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| ErrorResponse::internal(format!("No parameter '{name}'.")))
}

/// An identifier in the path: 64 hex digits of either case, although stored ones are lower-case only.
pub(super) fn id_param(
    context: &EndpointContext<'_>,
    name: &str,
    of: Named,
) -> Result<String, ErrorResponse> {
    let id = raw_param(context, name)?;
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    let text = format!("'{id}' is not a valid hex-encoded {of} ID");
    Err(ErrorResponse::new(ErrorCode::InvalidResourceName, text))
}

/// The signed request that authentication found.
pub(super) fn message(context: &EndpointContext<'_>) -> Result<Arc<MemberCose>, ErrorResponse> {
    match context.caller() {
        Some(Caller::MemberCose(message)) => Ok(Arc::clone(message)),
        _ => Err(ErrorResponse::internal("The request was not authenticated by a signature.")),
    }
}

/// The signer must be the member in the path (governance 4.1 and 4.4).
pub(super) fn check_signer(message: &MemberCose, member_in_path: &str) -> Result<(), ErrorResponse> {
    if message.member_id.as_str() == member_in_path {
        return Ok(());
    }
    let text = format!(
        "Member ID from path parameter (m[{member_in_path}]) does not match member ID from body signature (m[{}]).",
        message.member_id
    );
    Err(ErrorResponse::with_status(400, ErrorCode::InvalidAuthenticationInfo, text))
}

/// The signed proposal ID must be the one in the path (governance 4.2).
pub(super) fn check_proposal(message: &MemberCose, proposal_in_path: &str) -> Result<(), ErrorResponse> {
    if message.header.proposal_id.as_deref() == Some(proposal_in_path) {
        return Ok(());
    }
    let text = "Authenticated proposal id does not match URL";
    Err(ErrorResponse::new(ErrorCode::InvalidResourceName, text))
}
