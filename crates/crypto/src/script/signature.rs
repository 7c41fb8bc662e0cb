//! `sign` and `verifySignature` (crypto 16.1).

use super::{ScriptError, internal, range};
use crate::{
    cert::Certificate,
    hash::HashAlgorithm,
    key::{
        Curve, EcKeyPair, Ed25519KeyPair, KeyKind, PublicKey, RsaKeyPair, SignatureError, SignatureFormat,
    },
};

/// The first argument of both functions.
#[derive(Clone, Copy, Debug)]
pub struct SigningParameters<'a> {
    /// `EdDSA`, `ECDSA`, `RSA-PSS` or `HMAC`.
    pub name: &'a str,
    /// `SHA-256`, `SHA-384` or `SHA-512`; not for `EdDSA`.
    pub hash: Option<&'a str>,
    /// For `RSA-PSS`; 0 if absent.
    pub salt_length: Option<i64>,
}

/// `sign`: `key` is a private PEM, for HMAC any text. ECDSA signatures have the fixed-width form.
///
/// # Errors
/// `RangeError` for an algorithm that does not exist, `InternalError` if the key is unusable.
pub fn sign(parameters: &SigningParameters<'_>, key: &str, data: &[u8]) -> Result<Vec<u8>, ScriptError> {
    if parameters.name == "EdDSA" {
        let failed = "Failed to sign with EdDSA pair";
        let key = Ed25519KeyPair::from_pem(key).map_err(|error| internal(failed, error))?;
        return key.sign(data).map_err(|error| internal(failed, error));
    }
    let hash = match parameters.hash {
        Some("SHA-256") => HashAlgorithm::Sha256,
        Some("SHA-384") => HashAlgorithm::Sha384,
        Some("SHA-512") => HashAlgorithm::Sha512,
        _ => return Err(range("Unsupported hash algorithm, supported: SHA-256, SHA-384, SHA-512")),
    };
    let failed = |error: &dyn std::fmt::Display| internal("Failed to sign", error);
    match parameters.name {
        "ECDSA" => {
            let key = EcKeyPair::from_pem(key).map_err(|error| failed(&error))?;
            if key.curve() == Curve::P521 {
                return Err(failed(&"unsupported curve"));
            }
            key.sign(hash, data, SignatureFormat::P1363).map_err(|error| failed(&error))
        }
        "RSA-PSS" => {
            let salt_len = salt_len(parameters).ok_or_else(|| failed(&INVALID_SALT))?;
            let key = RsaKeyPair::from_pem(key).map_err(|error| failed(&error))?;
            key.sign_pss(hash, salt_len, data).map_err(|error| failed(&error))
        }
        "HMAC" => Ok(hash.hmac(key.as_bytes(), data)),
        _ => Err(range("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA, HMAC")),
    }
}

/// `verifySignature`: `key` is a public PEM or, except for EdDSA, a certificate.
///
/// # Errors
/// `RangeError` for an algorithm that does not exist or an unusable EdDSA key, `InternalError` for another
/// unusable key. A signature that does not match is `false`.
pub fn verify_signature(
    parameters: &SigningParameters<'_>,
    key: &str,
    signature: &[u8],
    data: &[u8],
) -> Result<bool, ScriptError> {
    if parameters.name == "EdDSA" {
        let key = PublicKey::from_pem(key).ok().filter(|key| key.kind() == KeyKind::Ed25519);
        let key = key.ok_or_else(|| range("Unsupported EdDSA public key"))?;
        return Ok(key.verify_ed25519(data, signature).is_ok());
    }
    if parameters.hash != Some("SHA-256") {
        return Err(range("Unsupported hash algorithm, supported: SHA-256"));
    }
    let failed = |error: &dyn std::fmt::Display| internal("Failed to verify signature", error);
    let read_key = || {
        if key.starts_with("-----BEGIN CERTIFICATE") {
            let certificate = Certificate::from_pem(key).map_err(|error| failed(&error))?;
            certificate.public_key().cloned().map_err(|error| failed(&error))
        } else {
            PublicKey::from_pem(key).map_err(|error| failed(&error))
        }
    };
    let verified = match parameters.name {
        "ECDSA" => {
            let key = read_key()?;
            let curve = key.curve().ok_or_else(|| failed(&SignatureError::WrongKey))?;
            match fit_halves(curve, signature) {
                Some(signature) => {
                    key.verify_ecdsa(HashAlgorithm::Sha256, data, &signature, SignatureFormat::P1363)
                }
                None => Err(SignatureError::Invalid),
            }
        }
        "RSA-PSS" => {
            let salt_len = salt_len(parameters).ok_or_else(|| failed(&INVALID_SALT))?;
            read_key()?.verify_rsa_pss(HashAlgorithm::Sha256, salt_len, data, signature)
        }
        _ => return Err(range("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA")),
    };
    match verified {
        Ok(()) => Ok(true),
        Err(SignatureError::Invalid) => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

const INVALID_SALT: &str = "invalid salt length";
/// Longest salt that is looked at: no supported key has room for a longer one.
const SALT_LEN_MAX: i64 = 1024;

fn salt_len(parameters: &SigningParameters<'_>) -> Option<usize> {
    let length = parameters.salt_length.unwrap_or(0);
    if (0..=SALT_LEN_MAX).contains(&length) { usize::try_from(length).ok() } else { None }
}

/// Two equal halves, each made as wide as the field; an odd last byte is ignored.
fn fit_halves(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let (half, width) = (signature.len() / 2, curve.field_len());
    let mut fixed = vec![0; 2 * width];
    for (out, number) in fixed.chunks_exact_mut(width).zip(signature.chunks_exact(half.max(1))) {
        let first = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
        let digits = &number[first..];
        let start = width.checked_sub(digits.len())?;
        out[start..].copy_from_slice(digits);
    }
    Some(fixed)
}
