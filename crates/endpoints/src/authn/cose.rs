//! Requests signed as COSE Sign1: `user_cose_sign1`, `member_cose_sign1` and their variants (applications
//! specification, section 3.4; crypto specification, section 14).

use super::{
    AuthnInput, AuthnPolicy, Caller, MemberCose, MemberCoseHeader, Refusal, UserCose, UserCoseHeader,
};
use crate::{
    error::ErrorResponse,
    tables::{MEMBER_CERTS, MEMBER_INFO, MemberStatus, USER_CERTS},
};
use bytes::Bytes;
use ccf_crypto::{
    cert::Certificate,
    cose::{CoseError, MemberRequest, Sign1, UserRequest, algorithm},
    key::PublicKey,
};
use ccf_types::{MemberId, UserId};
use serde_json::{Value, json};
use std::sync::Arc;

/// Users that sign their requests.
#[derive(Clone, Debug, Default)]
pub struct UserCoseSign1 {
    msg_type: Option<String>,
}

impl UserCoseSign1 {
    /// The policy `typed_user_cose_sign1`: only messages of this type.
    #[must_use]
    pub fn typed(msg_type: &str) -> UserCoseSign1 {
        UserCoseSign1 { msg_type: Some(msg_type.to_owned()) }
    }
}

impl AuthnPolicy for UserCoseSign1 {
    fn name(&self) -> &str {
        if self.msg_type.is_some() { "typed_user_cose_sign1" } else { "user_cose_sign1" }
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        check_content_type(input)?;
        let request =
            UserRequest::decode(input.request.body()).map_err(|error| not_decoded(error, "user"))?;
        check_algorithm(&request.message)?;
        let user_id = UserId::from_text(request.key_id);
        let Some(certificate) = input.tx.ro(&USER_CERTS).get(&user_id)? else {
            return Err("Signer is not a known user".into());
        };
        verify(&certificate, |key| request.verify(key))?;
        if let Some(expected) = &self.msg_type {
            let found = request.message_type;
            if found != Some(expected) {
                let found = found.unwrap_or("none");
                return Err(format!("Unexpected message type: {found}, expected: {expected}").into());
            }
        }
        let parts = Parts::of(input, &request.message, request.content)?;
        Ok(Caller::UserCose(Arc::new(UserCose {
            user_id,
            certificate,
            header: UserCoseHeader {
                alg: parts.alg,
                kid: request.key_id.as_bytes().to_vec(),
                msg_type: request.message_type.map(str::to_owned),
                created_at: request.created_at,
            },
            content: parts.content,
            envelope: parts.envelope,
            signature: parts.signature,
        })))
    }

    fn challenge(&self, _: &str) -> Option<&'static str> {
        Some(CHALLENGE)
    }

    fn security_scheme(&self) -> Option<(&'static str, Value)> {
        Some(("user_cose_sign1", scheme("Request payload signed by a user as a COSE Sign1 message.")))
    }
}

/// Members that sign their requests.
#[derive(Clone, Debug)]
pub struct MemberCoseSign1 {
    active: bool,
    msg_type: Option<&'static str>,
}

impl MemberCoseSign1 {
    /// The policy `member_cose_sign1`: any member, messages of this type.
    #[must_use]
    pub fn typed(msg_type: &'static str) -> MemberCoseSign1 {
        MemberCoseSign1 { active: false, msg_type: Some(msg_type) }
    }

    /// The policy `member_cose_sign1`: any member, messages of any type or none.
    #[must_use]
    pub fn any() -> MemberCoseSign1 {
        MemberCoseSign1 { active: false, msg_type: None }
    }

    /// The policy `active_member_cose_sign1`: only members that have acknowledged.
    #[must_use]
    pub fn active(mut self) -> MemberCoseSign1 {
        self.active = true;
        self
    }
}

impl AuthnPolicy for MemberCoseSign1 {
    fn name(&self) -> &str {
        if self.active { "active_member_cose_sign1" } else { "member_cose_sign1" }
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        check_content_type(input)?;
        let request =
            MemberRequest::decode(input.request.body()).map_err(|error| not_decoded(error, "member"))?;
        check_algorithm(&request.message)?;
        let member_id = MemberId::from_text(request.key_id);
        let Some(certificate) = input.tx.ro(&MEMBER_CERTS).get(&member_id)? else {
            return Err("Signer is not a known member".into());
        };
        verify(&certificate, |key| request.verify(key))?;
        if let Some(expected) = self.msg_type {
            match request.message_type {
                Some(found) if found == expected => {}
                Some(found) => {
                    return Err(format!(
                        "Found ccf.gov.msg.type set to {found}, expected ccf.gov.msg.type to be {expected}"
                    )
                    .into());
                }
                None => {
                    let text =
                        format!("Missing ccf.gov.msg.type, expected ccf.gov.msg.type to be {expected}");
                    return Err(text.into());
                }
            }
        }
        if self.active {
            let info = input.tx.ro(&MEMBER_INFO).get(&member_id)?;
            if info.is_none_or(|info| info.status != MemberStatus::Active) {
                return Err("Signer is not an ACTIVE member".into());
            }
        }
        let parts = Parts::of(input, &request.message, request.content)?;
        Ok(Caller::MemberCose(Arc::new(MemberCose {
            member_id,
            certificate,
            header: MemberCoseHeader {
                alg: parts.alg,
                kid: request.key_id.as_bytes().to_vec(),
                msg_type: request.message_type.map(str::to_owned),
                proposal_id: request.proposal_id.map(str::to_owned),
                created_at: request.created_at,
            },
            content: parts.content,
            envelope: parts.envelope,
            signature: parts.signature,
        })))
    }

    fn challenge(&self, _: &str) -> Option<&'static str> {
        Some(CHALLENGE)
    }

    fn security_scheme(&self) -> Option<(&'static str, Value)> {
        let text = "Request payload signed by a member as a COSE Sign1 message.";
        let name = if self.active { "active_member_cose_sign1" } else { "member_cose_sign1" };
        Some((name, scheme(text)))
    }
}

const CHALLENGE: &str = "COSE-SIGN1 realm=\"Signed request access\"";

fn scheme(description: &str) -> Value {
    json!({"description": description, "scheme": "cose_sign1", "type": "http"})
}

fn check_content_type(input: &AuthnInput<'_>) -> Result<(), Refusal> {
    match input.request.headers().get("content-type") {
        None => Err("Missing content-type header".into()),
        Some(b"application/cose") => Ok(()),
        Some(_) => Err("Content type is not set to application/cose".into()),
    }
}

/// A message that is no COSE Sign1 of the expected shape is an error of the request, as in the reference; one
/// that is understood but not accepted only fails this policy.
fn not_decoded(error: CoseError, signer: &str) -> Refusal {
    match error {
        CoseError::UnknownKeyId => format!("Signer is not a known {signer}").into(),
        error if error.is_malformed() => unreadable(&error),
        error => format!("Failed to validate COSE Sign1: {error}").into(),
    }
}

fn unreadable(error: &CoseError) -> Refusal {
    ErrorResponse::internal(format!("Parse COSE CBOR: {error}")).into()
}

/// Requests are signed with ECDSA only; whether the algorithm is that of the signer's key is seen when it is known.
fn check_algorithm(message: &Sign1<'_>) -> Result<(), Refusal> {
    match message.algorithm() {
        Ok(algorithm::ES256 | algorithm::ES384 | algorithm::ES512) => Ok(()),
        Ok(other) => Err(format!("Unsupported algorithm: {other}").into()),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Verifies with the key of a certificate from a table, whatever its dates.
fn verify(pem: &str, verify: impl FnOnce(&PublicKey) -> Result<(), CoseError>) -> Result<(), Refusal> {
    let certificate = Certificate::from_pem(pem).ok();
    let key = certificate.as_ref().and_then(|certificate| certificate.public_key().ok());
    match key.map(verify) {
        Some(Ok(())) => Ok(()),
        _ => Err("Failed to validate COSE Sign1".into()),
    }
}

/// The parts of a message as shares of the request's body.
struct Parts {
    alg: i64,
    content: Bytes,
    envelope: Bytes,
    signature: Bytes,
}

impl Parts {
    fn of(input: &AuthnInput<'_>, message: &Sign1<'_>, content: &[u8]) -> Result<Parts, Refusal> {
        let envelope = input.request.body_bytes().clone();
        Ok(Parts {
            alg: message.algorithm().map_err(|error| unreadable(&error))?,
            content: envelope.slice_ref(content),
            signature: envelope.slice_ref(message.signature()),
            envelope,
        })
    }
}
