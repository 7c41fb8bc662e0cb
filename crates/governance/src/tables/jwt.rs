//! Values of the JWT tables (governance 12.3 and 13).

use super::base64::Base64;
use serde::{Deserialize, Serialize};

/// A row of `jwt.issuers`. The constitution stores more members, which the framework ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtIssuer {
    /// Keys are fetched from the issuer again and again.
    #[serde(default)]
    pub auto_refresh: bool,
    /// The certificates by which the issuer's server is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert_bundle_name: Option<String>,
}

/// One key, an element of a row of `jwt.public_signing_keys_metadata_v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtKey {
    /// The `iss` that tokens signed with this key must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Who published it.
    pub issuer: String,
    /// DER SubjectPublicKeyInfo.
    pub public_key: Base64,
}
