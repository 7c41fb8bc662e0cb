//! Requests signed as COSE Sign1: `user_cose_sign1`, `member_cose_sign1` and their variants (applications
//! specification, section 3.4; crypto specification, section 14).

use super::{AuthnInput, AuthnPolicy, Caller, Refusal};
use serde_json::{Value, json};

/// Users that sign their requests.
#[derive(Clone, Debug)]
pub struct UserCoseSign1 {
    name: &'static str,
    msg_type: Option<String>,
    /// Labels of message type and creation time in the protected header.
    labels: (String, String),
}

impl Default for UserCoseSign1 {
    fn default() -> Self {
        UserCoseSign1 {
            name: "user_cose_sign1",
            msg_type: None,
            labels: ("ccf.msg.type".to_owned(), "ccf.msg.created_at".to_owned()),
        }
    }
}

impl UserCoseSign1 {
    /// The policy `typed_user_cose_sign1`: only messages of this type.
    #[must_use]
    pub fn typed(msg_type: &str) -> UserCoseSign1 {
        UserCoseSign1 {
            name: "typed_user_cose_sign1",
            msg_type: Some(msg_type.to_owned()),
            ..UserCoseSign1::default()
        }
    }

    /// With other labels for message type and creation time in the protected header.
    #[must_use]
    pub fn with_labels(mut self, msg_type: &str, created_at: &str) -> UserCoseSign1 {
        self.labels = (msg_type.to_owned(), created_at.to_owned());
        self
    }
}

impl AuthnPolicy for UserCoseSign1 {
    fn name(&self) -> &str {
        self.name
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        check_content_type(input)?;
        let _ = (&self.msg_type, &self.labels);
        Err("Failed to validate COSE Sign1".into())
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
        let _ = self.msg_type;
        Err("Failed to validate COSE Sign1".into())
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
