//! The functions behind `ccf.crypto` of scripts (crypto 16), so that the JavaScript layer only converts arguments.
//!
//! Argument counts and types are that layer's business; values are checked here. The error says which JavaScript
//! class to throw.

mod jwk;
mod signature;
mod wrapping;
mod x509;

pub use jwk::{
    eddsa_jwk_to_pem, eddsa_pem_to_jwk, jwk_to_pem, pem_to_jwk, pub_eddsa_jwk_to_pem, pub_eddsa_pem_to_jwk,
    pub_jwk_to_pem, pub_pem_to_jwk, pub_rsa_jwk_to_pem, pub_rsa_pem_to_jwk, rsa_jwk_to_pem, rsa_pem_to_jwk,
};
pub use signature::{SigningParameters, sign, verify_signature};
pub use wrapping::{WrappingParameters, unwrap_key, wrap_key};
pub use x509::{is_valid_x509_cert_bundle, is_valid_x509_cert_chain, pem_to_id};

use ccf_types::Digest;
use zeroize::Zeroizing;

use crate::{
    hash::sha256,
    key::{Curve, EcKeyPair, Ed25519KeyPair, KeyError, PublicKey, RsaKeyPair, X25519KeyPair},
    random,
};

/// What a script is thrown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// `RangeError`: a value that no call accepts.
    #[error("{0}")]
    Range(String),
    /// `InternalError`: the operation failed.
    #[error("{0}")]
    Internal(String),
}

/// Both halves of a fresh key, PEM.
pub struct PemPair {
    /// `PRIVATE KEY`.
    pub private_key: Zeroizing<String>,
    /// `PUBLIC KEY`.
    pub public_key: String,
}

/// `generateAesKey`: 128, 192 or 256 random bits.
///
/// # Errors
/// `RangeError` for another size.
pub fn generate_aes_key(bits: i64) -> Result<Zeroizing<Vec<u8>>, ScriptError> {
    let bytes = match bits {
        128 | 192 | 256 => bits as usize / 8,
        _ => return Err(range("invalid key size, supported: 128, 192, 256")),
    };
    let mut key = Zeroizing::new(vec![0; bytes]);
    random::fill(&mut key).map_err(|error| internal("Failed to generate AES key", error))?;
    Ok(key)
}

/// `generateRsaKeyPair`, with the exponent 65537 unless another is given.
///
/// # Errors
/// `InternalError` for a size or exponent that is not supported.
pub fn generate_rsa_key_pair(bits: i64, exponent: Option<i64>) -> Result<PemPair, ScriptError> {
    let failed = |error: KeyError| internal("Failed to generate RSA key pair", error);
    let bits = usize::try_from(bits).map_err(|_| failed(KeyError::Unsupported))?;
    let exponent = u64::try_from(exponent.unwrap_or(65537)).map_err(|_| failed(KeyError::Unsupported))?;
    let key = RsaKeyPair::generate_with_exponent(bits, exponent).map_err(failed)?;
    Ok(pem_pair(key.to_pkcs8_pem(), key.public_key()))
}

/// `generateEcdsaKeyPair` on `secp256r1` or `secp384r1`.
///
/// # Errors
/// `RangeError` for another curve.
pub fn generate_ecdsa_key_pair(curve: &str) -> Result<PemPair, ScriptError> {
    let curve = match curve {
        "secp256r1" => Curve::P256,
        "secp384r1" => Curve::P384,
        _ => return Err(range("Unsupported curve id, supported: secp256r1, secp384r1")),
    };
    let failed = |error: KeyError| internal("Failed to generate EC key pair", error);
    let key = EcKeyPair::generate(curve).map_err(failed)?;
    Ok(pem_pair(key.to_pkcs8_pem().map_err(failed)?, key.public_key()))
}

/// `generateEddsaKeyPair` on `curve25519` (Ed25519) or `x25519`.
///
/// # Errors
/// `RangeError` for another curve.
pub fn generate_eddsa_key_pair(curve: &str) -> Result<PemPair, ScriptError> {
    let failed = |error: KeyError| internal("Failed to generate EdDSA key pair", error);
    match curve {
        "curve25519" => {
            let key = Ed25519KeyPair::generate().map_err(failed)?;
            Ok(pem_pair(key.to_pkcs8_pem().map_err(failed)?, key.public_key()))
        }
        "x25519" => {
            let key = X25519KeyPair::generate().map_err(failed)?;
            Ok(pem_pair(key.to_pkcs8_pem(), key.public_key()))
        }
        _ => Err(range("Unsupported curve id, supported: curve25519, x25519")),
    }
}

/// `digest`, of which only `SHA-256` exists.
///
/// # Errors
/// `RangeError` for another algorithm.
pub fn digest(algorithm: &str, data: &[u8]) -> Result<Digest, ScriptError> {
    if algorithm == "SHA-256" {
        Ok(sha256(data))
    } else {
        Err(range("unsupported digest algorithm, supported: SHA-256"))
    }
}

fn pem_pair(private_key: Zeroizing<String>, public: &PublicKey) -> PemPair {
    PemPair { private_key, public_key: public.to_pem() }
}

fn range(message: &str) -> ScriptError {
    ScriptError::Range(message.to_owned())
}

fn internal(what: &str, error: impl std::fmt::Display) -> ScriptError {
    ScriptError::Internal(format!("{what}: {error}"))
}
