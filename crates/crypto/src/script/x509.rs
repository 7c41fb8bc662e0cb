//! `isValidX509CertBundle`, `isValidX509CertChain` and `pemToId` (crypto 16).

use time::OffsetDateTime;

use super::{ScriptError, internal};
use crate::{
    cert::{Certificate, verify_chain},
    key::KeyKind,
    pem,
};

/// `isValidX509CertBundle`: whether the first block of the text is a certificate; also for no text at all (governance
/// 7.5, quirk 8). What follows the first block is not looked at.
#[must_use]
pub fn is_valid_x509_cert_bundle(text: &str) -> bool {
    text.is_empty() || Certificate::from_pem(text).is_ok()
}

/// `isValidX509CertChain`: whether the first certificate of `chain`, helped by the others, leads to one of `trusted`,
/// all being valid at `now`.
///
/// # Errors
/// `InternalError` if the first block of `chain` is PEM but no certificate, or one whose key is neither EC nor RSA.
pub fn is_valid_x509_cert_chain(
    chain: &str,
    trusted: &str,
    now: OffsetDateTime,
) -> Result<bool, ScriptError> {
    let failed = |error: &dyn std::fmt::Display| internal("Failed to verify certificate chain", error);
    let Ok(first) = pem::decode(chain) else { return Ok(false) };
    let target = Certificate::from_der(&first.contents).map_err(|error| failed(&error))?;
    match target.public_key().map(crate::key::PublicKey::kind) {
        Ok(KeyKind::Ec(_) | KeyKind::Rsa(_)) => {}
        Ok(_) => return Err(failed(&"unsupported kind of key")),
        Err(error) => return Err(failed(&error)),
    }
    let (Ok(chain), Ok(trusted)) =
        (Certificate::bundle_from_pem(chain), Certificate::bundle_from_pem(trusted))
    else {
        return Ok(false);
    };
    Ok(verify_chain(&target, &chain[1..], &trusted, Some(now)).is_ok())
}

/// `pemToId`: the id of the member or user with this certificate.
///
/// # Errors
/// `InternalError` if it is not a certificate.
pub fn pem_to_id(text: &str) -> Result<String, ScriptError> {
    let certificate = Certificate::from_pem(text).map_err(|error| internal("Failed to parse PEM", error))?;
    Ok(certificate.fingerprint().to_string())
}
