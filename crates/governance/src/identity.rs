//! Identifiers and keys from PEM texts (crypto specification, section 1.2).

use ccf_crypto::{
    cert::Certificate,
    key::{KeyKind, PublicKey},
};
use ccf_types::MemberId;

/// A PEM text that does not serve as the identity or key it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// No certificate.
    #[error("not an X.509 certificate in PEM: {0}")]
    Certificate(String),
    /// A certificate whose key is not one of the curves of signed requests.
    #[error("the certificate's key is not an elliptic curve key (P-256, P-384 or P-521)")]
    NotEllipticCurve,
    /// No key.
    #[error("not a public key in PEM: {0}")]
    Key(String),
    /// A key to which nothing can be encrypted.
    #[error("not an RSA public key")]
    NotRsa,
}

/// The identifier of a member: hex SHA-256 of the DER certificate.
///
/// # Errors
/// [`InvalidIdentity`] if the text is no certificate of a key that can sign governance messages.
pub fn member_id(certificate_pem: &str) -> Result<MemberId, InvalidIdentity> {
    let certificate =
        Certificate::from_pem(certificate_pem).map_err(|e| InvalidIdentity::Certificate(e.to_string()))?;
    let key = certificate.public_key().map_err(|e| InvalidIdentity::Certificate(e.to_string()))?;
    if key.curve().is_none() {
        return Err(InvalidIdentity::NotEllipticCurve);
    }
    Ok(certificate.member_id())
}

/// A member's encryption key.
///
/// # Errors
/// [`InvalidIdentity`] if the text is no RSA public key.
pub fn encryption_key(pem: &str) -> Result<PublicKey, InvalidIdentity> {
    let key = PublicKey::from_pem(pem).map_err(|e| InvalidIdentity::Key(e.to_string()))?;
    if matches!(key.kind(), KeyKind::Rsa(_)) { Ok(key) } else { Err(InvalidIdentity::NotRsa) }
}
