//! `wrapKey` and `unwrapKey` (crypto 16.2).

use zeroize::Zeroizing;

use super::{ScriptError, internal, range};
use crate::{
    key::{KeyError, PublicKey, RsaKeyPair},
    wrap,
};

/// The last argument of both functions.
#[derive(Clone, Copy, Debug)]
pub struct WrappingParameters<'a> {
    /// `RSA-OAEP`, `AES-KWP` or `RSA-OAEP-AES-KWP`.
    pub name: &'a str,
    /// Label of RSA-OAEP; absent and empty are the same.
    pub label: Option<&'a [u8]>,
    /// Bits of the key in between, to wrap with `RSA-OAEP-AES-KWP`.
    pub aes_key_size: Option<i64>,
}

/// `wrapKey`: `wrapping_key` is a public PEM or an AES key.
///
/// # Errors
/// `RangeError` for an algorithm that does not exist, `InternalError` if wrapping fails.
pub fn wrap_key(
    key: &[u8],
    wrapping_key: &[u8],
    parameters: &WrappingParameters<'_>,
) -> Result<Vec<u8>, ScriptError> {
    let failed = |error: &dyn std::fmt::Display| internal("Failed to wrap key", error);
    let label = parameters.label.unwrap_or_default();
    let public = || {
        let pem = std::str::from_utf8(wrapping_key).map_err(|_| KeyError::Malformed);
        pem.and_then(PublicKey::from_pem).map_err(|error| failed(&error))
    };
    match parameters.name {
        "RSA-OAEP" => public()?.oaep_encrypt(label, key).map_err(|error| failed(&error)),
        "AES-KWP" => wrap::aes_kwp_wrap(wrapping_key, key).map_err(|error| failed(&error)),
        "RSA-OAEP-AES-KWP" => {
            let bits = parameters.aes_key_size.and_then(|bits| usize::try_from(bits).ok()).unwrap_or(0);
            wrap::rsa_aes_wrap(&public()?, label, bits, key).map_err(|error| failed(&error))
        }
        _ => Err(unsupported()),
    }
}

/// `unwrapKey`: `unwrapping_key` is a private PEM or an AES key.
///
/// # Errors
/// `RangeError` for an algorithm that does not exist, `InternalError` if unwrapping fails.
pub fn unwrap_key(
    wrapped: &[u8],
    unwrapping_key: &[u8],
    parameters: &WrappingParameters<'_>,
) -> Result<Zeroizing<Vec<u8>>, ScriptError> {
    let failed = |error: &dyn std::fmt::Display| internal("Failed to unwrap key", error);
    let label = parameters.label.unwrap_or_default();
    let private = || {
        let pem = std::str::from_utf8(unwrapping_key).map_err(|_| KeyError::Malformed);
        pem.and_then(RsaKeyPair::from_pem).map_err(|error| failed(&error))
    };
    match parameters.name {
        "RSA-OAEP" => private()?.oaep_decrypt(label, wrapped).map_err(|error| failed(&error)),
        "AES-KWP" => wrap::aes_kwp_unwrap(unwrapping_key, wrapped).map_err(|error| failed(&error)),
        "RSA-OAEP-AES-KWP" => {
            wrap::rsa_aes_unwrap(&private()?, label, wrapped).map_err(|error| failed(&error))
        }
        _ => Err(unsupported()),
    }
}

fn unsupported() -> ScriptError {
    range("unsupported key wrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP")
}
