//! `no_auth`: everybody, without an identity.

use super::{AuthnInput, AuthnPolicy, Caller, Refusal};
use serde_json::{Value, json};

/// Accepts every caller.
#[derive(Clone, Copy, Debug)]
pub struct NoAuth;

impl AuthnPolicy for NoAuth {
    fn name(&self) -> &str {
        "no_auth"
    }

    fn authenticate(&self, _: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        Ok(Caller::NoAuth)
    }

    fn security_scheme(&self) -> Option<(&'static str, Value)> {
        Some(("", json!({})))
    }
}
