//! Wrapping keys for another party (crypto 16.2): RSA-OAEP, AES key wrap with padding (RFC 5649), and both in a row
//! as PKCS#11 does (CKM_RSA_AES_KEY_WRAP).

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{Array, KeyInit},
};
use aes_kw::AesKwp;
use zeroize::Zeroizing;

use crate::{
    key::{KeyKind, PublicKey, RsaKeyPair, SignatureError},
    random::{self, RandomError},
};

/// Largest key that is wrapped or unwrapped.
pub const WRAPPED_BYTES_MAX: usize = 1024 * 1024;

/// Why wrapping or unwrapping failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// A wrapping key shorter than 16 bytes, or an AES key size other than 128, 192 and 256 bits.
    #[error("unsupported AES key size")]
    KeySize,
    /// Nothing to wrap, or too much.
    #[error("the key to wrap has an unsupported size")]
    DataSize,
    /// The wrapped key was not made with this key, or was modified.
    #[error("the wrapped key is not authentic")]
    NotAuthentic,
    /// The RSA key is unusable or the data too long for it.
    #[error("RSA-OAEP failed: {0}")]
    Rsa(#[from] SignatureError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A key for AES-KWP. Of longer material the first 32, 24 or 16 bytes are used (A10).
enum Kwp {
    Aes128(AesKwp<Aes128>),
    Aes192(AesKwp<Aes192>),
    Aes256(AesKwp<Aes256>),
}

impl Kwp {
    fn new(key: &[u8]) -> Result<Self, WrapError> {
        if let Some((key, _)) = key.split_first_chunk::<32>() {
            Ok(Kwp::Aes256(AesKwp::new(&Array::from(*key))))
        } else if let Some((key, _)) = key.split_first_chunk::<24>() {
            Ok(Kwp::Aes192(AesKwp::new(&Array::from(*key))))
        } else if let Some((key, _)) = key.split_first_chunk::<16>() {
            Ok(Kwp::Aes128(AesKwp::new(&Array::from(*key))))
        } else {
            Err(WrapError::KeySize)
        }
    }
}

/// Wraps `data` with AES-KWP.
///
/// # Errors
/// [`WrapError::KeySize`], [`WrapError::DataSize`].
pub fn aes_kwp_wrap(key: &[u8], data: &[u8]) -> Result<Vec<u8>, WrapError> {
    let kwp = Kwp::new(key)?;
    if data.is_empty() || data.len() > WRAPPED_BYTES_MAX {
        return Err(WrapError::DataSize);
    }
    let mut out = vec![0; data.len().next_multiple_of(8) + 8];
    let wrapped = match &kwp {
        Kwp::Aes128(kwp) => kwp.wrap_key(data, &mut out),
        Kwp::Aes192(kwp) => kwp.wrap_key(data, &mut out),
        Kwp::Aes256(kwp) => kwp.wrap_key(data, &mut out),
    };
    let length = wrapped.map_err(|_| WrapError::DataSize)?.len();
    out.truncate(length);
    Ok(out)
}

/// Unwraps what [`aes_kwp_wrap`] made.
///
/// # Errors
/// [`WrapError::KeySize`], [`WrapError::NotAuthentic`].
pub fn aes_kwp_unwrap(key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let kwp = Kwp::new(key)?;
    if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) || wrapped.len() > WRAPPED_BYTES_MAX + 16 {
        return Err(WrapError::NotAuthentic);
    }
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let data = match &kwp {
        Kwp::Aes128(kwp) => kwp.unwrap_key(wrapped, &mut out),
        Kwp::Aes192(kwp) => kwp.unwrap_key(wrapped, &mut out),
        Kwp::Aes256(kwp) => kwp.unwrap_key(wrapped, &mut out),
    };
    let length = data.map_err(|_| WrapError::NotAuthentic)?.len();
    out.truncate(length);
    Ok(out)
}

/// Wraps `data` with a fresh AES key of `aes_bits`, and that key with RSA-OAEP.
///
/// # Errors
/// [`WrapError`].
pub fn rsa_aes_wrap(
    key: &PublicKey,
    label: &[u8],
    aes_bits: usize,
    data: &[u8],
) -> Result<Vec<u8>, WrapError> {
    let bytes = match aes_bits {
        128 | 192 | 256 => aes_bits / 8,
        _ => return Err(WrapError::KeySize),
    };
    let mut aes_key = Zeroizing::new(vec![0; bytes]);
    random::fill(&mut aes_key)?;
    let mut wrapped = key.oaep_encrypt(label, &aes_key)?;
    wrapped.extend_from_slice(&aes_kwp_wrap(&aes_key, data)?);
    Ok(wrapped)
}

/// Unwraps what [`rsa_aes_wrap`] made.
///
/// # Errors
/// [`WrapError`].
pub fn rsa_aes_unwrap(
    key: &RsaKeyPair,
    label: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let KeyKind::Rsa(bits) = key.public_key().kind() else { return Err(WrapError::KeySize) };
    let (aes_key, data) = wrapped.split_at_checked(bits.div_ceil(8)).ok_or(WrapError::NotAuthentic)?;
    let aes_key = key.oaep_decrypt(label, aes_key)?;
    if ![16, 24, 32].contains(&aes_key.len()) {
        return Err(WrapError::KeySize);
    }
    aes_kwp_unwrap(&aes_key, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5649 section 6: vectors C11 and V8 of the specification.
    #[test]
    fn published_vectors() {
        let kek = hex::decode("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8").unwrap();
        for (data, wrapped) in [
            ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
            (
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
        ] {
            let (data, wrapped) = (hex::decode(data).unwrap(), hex::decode(wrapped).unwrap());
            assert_eq!(aes_kwp_wrap(&kek, &data).unwrap(), wrapped);
            assert_eq!(*aes_kwp_unwrap(&kek, &wrapped).unwrap(), data);
        }
    }

    proptest! {
        #[test]
        fn wrapped_keys_round_trip(
            key in prop::collection::vec(any::<u8>(), 16..40),
            data in prop::collection::vec(any::<u8>(), 1..80),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut wrapped = aes_kwp_wrap(&key, &data).unwrap();
            prop_assert_eq!(&**aes_kwp_unwrap(&key, &wrapped).unwrap(), &data[..]);
            let bit = flip.index(wrapped.len() * 8);
            wrapped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(aes_kwp_unwrap(&key, &wrapped), Err(WrapError::NotAuthentic));
            prop_assert!(aes_kwp_unwrap(&key, &wrapped[1..]).is_err());
        }
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(aes_kwp_wrap(&[0; 15], b"x"), Err(WrapError::KeySize));
        assert_eq!(aes_kwp_wrap(&[0; 16], b""), Err(WrapError::DataSize));
        for length in 0..16 {
            assert_eq!(aes_kwp_unwrap(&[0; 16], &vec![0; length]), Err(WrapError::NotAuthentic));
        }
        // Of odd lengths the longest fitting prefix is the key.
        let data = aes_kwp_wrap(&[7; 31], b"secret").unwrap();
        assert_eq!(**aes_kwp_unwrap(&[7; 24], &data).unwrap(), *b"secret");
    }
}
