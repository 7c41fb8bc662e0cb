//! `jwt`: a bearer token signed by an issuer that governance trusts.
//!
//! Tokens are not verified yet: callers with one are refused with a reason that says so, everybody else
//! as the complete policy would refuse them. An endpoint may therefore list `jwt` before other policies.

use super::{AuthnInput, AuthnPolicy, Caller, Refusal};
use serde_json::{Value, json};

/// The policy named `jwt` on a node without JWT support.
#[derive(Clone, Copy, Debug)]
pub struct JwtAbsent;

impl AuthnPolicy for JwtAbsent {
    fn name(&self) -> &str {
        "jwt"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let Some(header) = input.request.headers().get("authorization") else {
            return Err("Missing authorization header".into());
        };
        let Some(space) = header.iter().position(|&b| b == b' ') else {
            return Err("Authorization header only contains one field".into());
        };
        if &header[..space] != b"Bearer" {
            return Err("Authorization header does not have Bearer scheme".into());
        }
        Err("This node does not support JWT authentication yet".into())
    }

    fn challenge(&self, _: &str) -> Option<&'static str> {
        Some("Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"")
    }

    fn security_scheme(&self) -> Option<(&'static str, Value)> {
        Some(("jwt", json!({"bearerFormat": "JWT", "scheme": "bearer", "type": "http"})))
    }
}
