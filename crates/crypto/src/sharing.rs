//! Recovery shares (crypto 15.1) and the key they protect (15.2).
//!
//! A secret is ten numbers below the prime 2^31 - 1, each shared with a polynomial of its own (Shamir). From the
//! secret a key is derived that wraps the ledger secret, once. A wrong share shows only in that unwrapping fails.

use zeroize::{Zeroize, Zeroizing};

use crate::{
    aead::{AeadError, AeadKey, IV_LEN, KEY_LEN},
    hash::hkdf_sha256,
    random::{self, RandomError},
};

/// The prime of the field, 2^31 - 1.
const PRIME: u32 = 0x7fff_ffff;
/// Numbers in a secret.
const LIMBS: usize = 10;
/// Bytes of a share.
pub const SHARE_LEN: usize = 4 + 4 * LIMBS;
/// Most shares that one secret is split into: members of a consortium, with room.
pub const SHARES_MAX: usize = 1024;

/// Why shares were not made or do not give a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The threshold is 0 or larger than the number of shares, or there are more than [`SHARES_MAX`].
    #[error("cannot make {shares} shares with threshold {threshold}")]
    Threshold {
        /// Shares asked for.
        shares: usize,
        /// How many of them should give the secret.
        threshold: usize,
    },
    /// Not 44 bytes.
    #[error("a share has {SHARE_LEN} bytes, not {0}")]
    Length(usize),
    /// Fewer shares than the threshold.
    #[error("{given} shares given, {threshold} needed")]
    TooFew {
        /// Shares given.
        given: usize,
        /// Shares needed.
        threshold: usize,
    },
    /// Two of the shares used have the same position.
    #[error("two shares have the same position")]
    Duplicate,
    /// The full secret among ordinary shares.
    #[error("a full secret cannot be combined with shares")]
    FullSecret,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Wrapping or unwrapping failed, for unwrapping because the shares are wrong.
    #[error(transparent)]
    Wrap(#[from] AeadError),
}

/// A share of a secret, or with position 0 the full secret, which some members hold alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    x: u32,
    y: [u32; LIMBS],
}

/// A random secret: the constant terms of the polynomials.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret([u32; LIMBS]);

impl SharedSecret {
    /// A fresh secret.
    ///
    /// # Errors
    /// [`ShareError::Random`].
    pub fn generate() -> Result<Self, ShareError> {
        Ok(SharedSecret(random_limbs()?))
    }

    /// Splits into shares at the positions 1 to `shares`, of which any `threshold` give the secret.
    ///
    /// # Errors
    /// [`ShareError::Threshold`], [`ShareError::Random`].
    pub fn split(&self, shares: usize, threshold: usize) -> Result<Vec<Share>, ShareError> {
        if threshold == 0 || threshold > shares || shares > SHARES_MAX {
            return Err(ShareError::Threshold { shares, threshold });
        }
        let mut coefficients = Zeroizing::new(vec![self.0]);
        for _ in 1..threshold {
            coefficients.push(random_limbs()?);
        }
        let share = |x: u32| {
            let mut y = [0; LIMBS];
            for coefficient in coefficients.iter().rev() {
                for (sum, limb) in y.iter_mut().zip(coefficient) {
                    *sum = add(multiply(*sum, x), *limb);
                }
            }
            Share { x, y }
        };
        Ok((1..).take(shares).map(share).collect())
    }

    /// Recovers the secret from the first `threshold` of `shares`.
    ///
    /// # Errors
    /// [`ShareError::TooFew`], [`ShareError::Duplicate`], [`ShareError::FullSecret`].
    pub fn recover(shares: &[Share], threshold: usize) -> Result<Self, ShareError> {
        if threshold == 0 {
            return Err(ShareError::Threshold { shares: shares.len(), threshold });
        }
        let used = shares.get(..threshold).ok_or(ShareError::TooFew { given: shares.len(), threshold })?;
        let mut secret = SharedSecret([0; LIMBS]);
        for (i, share) in used.iter().enumerate() {
            // A position that is 0 only after reduction is no full secret, but no point of a polynomial either.
            let x = share.x % PRIME;
            if x == 0 {
                return Err(ShareError::FullSecret);
            }
            let (mut numerator, mut denominator) = (1, 1);
            for other in used.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| other) {
                let other = other.x % PRIME;
                numerator = multiply(numerator, other);
                denominator = multiply(denominator, subtract(other, x));
            }
            if denominator == 0 {
                return Err(ShareError::Duplicate);
            }
            let weight = multiply(numerator, invert(denominator));
            for (sum, y) in secret.0.iter_mut().zip(&share.y) {
                *sum = add(*sum, multiply(y % PRIME, weight));
            }
        }
        Ok(secret)
    }

    /// The full secret in the form of a share, at position 0.
    #[must_use]
    pub fn to_full_share(&self) -> Share {
        Share { x: 0, y: self.0 }
    }

    /// Wraps a ledger secret. Each secret may wrap only once, since the IV is always zero.
    ///
    /// # Errors
    /// [`ShareError::Wrap`].
    pub fn wrap(&self, ledger_secret: &[u8; KEY_LEN]) -> Result<Vec<u8>, ShareError> {
        Ok(self.key().seal_blob_with_iv(&[0; IV_LEN], b"", ledger_secret)?)
    }

    /// Unwraps a ledger secret.
    ///
    /// # Errors
    /// [`ShareError::Wrap`] if this is not the secret that wrapped it.
    pub fn unwrap(&self, blob: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, ShareError> {
        let secret = self.key().open_blob(b"", blob)?;
        let secret = <[u8; KEY_LEN]>::try_from(secret.as_slice()).map_err(|_| AeadError::NotAuthentic)?;
        Ok(Zeroizing::new(secret))
    }

    fn key(&self) -> AeadKey {
        let key = self.key_bytes();
        AeadKey::new(&key)
    }

    /// HKDF of the numbers, with the numbers again as the info: others do so too (K2).
    fn key_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut ikm = Zeroizing::new([0; 4 * LIMBS]);
        for (bytes, limb) in ikm.chunks_exact_mut(4).zip(&self.0) {
            bytes.copy_from_slice(&limb.to_le_bytes());
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        hkdf_sha256(&*ikm, b"", &*ikm, &mut *key).expect("32 bytes are within what HKDF gives");
        key
    }
}

impl Share {
    /// Reads the 44 bytes of a share.
    ///
    /// # Errors
    /// [`ShareError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShareError> {
        let bytes: &[u8; SHARE_LEN] = bytes.try_into().map_err(|_| ShareError::Length(bytes.len()))?;
        let mut words = bytes
            .chunks_exact(4)
            .map(|word| word.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte)));
        let x = words.next().unwrap_or_default();
        let mut y = [0; LIMBS];
        y.iter_mut().zip(words).for_each(|(limb, word)| *limb = word);
        Ok(Share { x, y })
    }

    /// The 44 bytes: position and numbers, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; SHARE_LEN]> {
        let mut bytes = Zeroizing::new([0; SHARE_LEN]);
        for (out, word) in bytes.chunks_exact_mut(4).zip(std::iter::once(&self.x).chain(&self.y)) {
            out.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Position; 0 for the full secret.
    #[must_use]
    pub fn position(&self) -> u32 {
        self.x
    }

    /// The secret, if this is the full secret.
    #[must_use]
    pub fn full_secret(&self) -> Option<SharedSecret> {
        (self.x == 0).then(|| SharedSecret(self.y.map(|limb| limb % PRIME)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.y.zeroize();
    }
}

impl Drop for SharedSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share(position {})", self.x)
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// Ten uniform elements of the field.
fn random_limbs() -> Result<[u32; LIMBS], RandomError> {
    let mut limbs = [0; LIMBS];
    for limb in &mut limbs {
        loop {
            let value = u32::from_le_bytes(random::bytes()?) & PRIME;
            if value != PRIME {
                *limb = value;
                break;
            }
        }
    }
    Ok(limbs)
}

fn add(a: u32, b: u32) -> u32 {
    ((u64::from(a) + u64::from(b)) % u64::from(PRIME)) as u32
}

fn subtract(a: u32, b: u32) -> u32 {
    add(a, PRIME - b)
}

fn multiply(a: u32, b: u32) -> u32 {
    (u64::from(a) * u64::from(b) % u64::from(PRIME)) as u32
}

/// The inverse by Fermat's theorem; the exponent is public.
fn invert(a: u32) -> u32 {
    let (mut result, mut base, mut exponent) = (1, a, PRIME - 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Vector C9: p(x) = 5 + 7x + 11x^2.
    #[test]
    fn small_polynomial() {
        let shares: Vec<Share> =
            [(1, 23), (2, 63), (3, 125)].map(|(x, y)| Share { x, y: [y; LIMBS] }).to_vec();
        assert_eq!(SharedSecret::recover(&shares, 3).unwrap().0, [5; LIMBS]);
        assert_ne!(SharedSecret::recover(&shares, 2).unwrap().0, [5; LIMBS]);
    }

    /// Vector C10: real shares, the secret, the key and the wrapped ledger secret.
    #[test]
    fn real_shares() {
        let share = |hex: &str| Share::from_bytes(&hex::decode(hex).unwrap()).unwrap();
        let mut shares = [
            share("01000000d451e409989597131984c54eef54eb34007e4534db63920eb890ac1a8726d40f6b87663888111968"),
            share("02000000e48f656e02742318d4ce6f5f009f6f0d065b2162e298db3c6ce9f26f3d2e2d34e9039c7063010f64"),
            share("03000000cd785a2d3531c02246c68f7d0d881d0a4e55c35ff0e4a005fb4c8057d99ff43373e60f5848099209"),
        ];
        let secret = SharedSecret::recover(&shares, 3).unwrap();
        assert_eq!(
            hex::encode(*secret.to_full_share().to_bytes()),
            "000000009abed67ff7951c1515e6904bdba990003bbe2f56d945c57add42ad57b688e946f8706f2fb739b015"
        );
        assert_eq!(
            hex::encode(*secret.key_bytes()),
            "c79af77f796b9bdc4f0c44474f5e1c4c50e6d1e99661341f824c675825171924"
        );
        let blob = hex::decode(concat!(
            "3446d9d83d68454c124db1da8df38fb4000000000000000000000000",
            "f33bf75e759be3e2072139c9daf61f6b12970097c700949c21fb03984b8b0a21"
        ))
        .unwrap();
        let ledger_secret = secret.unwrap(&blob).unwrap();
        assert_eq!(
            hex::encode(*ledger_secret),
            "0247b5e43538db6bfa1c76ea8561c09d47533c40a71c8cd38f0bdf28dbeea840"
        );
        assert_eq!(secret.wrap(&ledger_secret).unwrap(), blob);
        shares.swap(0, 2);
        assert_eq!(SharedSecret::recover(&shares, 3), Ok(secret));
        let wrong = SharedSecret::recover(&shares, 2).unwrap();
        assert_eq!(wrong.unwrap(&blob), Err(ShareError::Wrap(AeadError::NotAuthentic)));
    }

    /// Check 10: every subset of the threshold recovers, every smaller one does not.
    #[test]
    fn every_subset_recovers() {
        for count in 1..=8usize {
            let secret = SharedSecret::generate().unwrap();
            for threshold in 1..=count {
                let shares = secret.split(count, threshold).unwrap();
                assert!(shares.iter().zip(1..).all(|(share, x)| share.position() == x));
                for chosen in 0u32..1 << count {
                    let subset: Vec<Share> = (0..count)
                        .filter(|index| chosen >> index & 1 == 1)
                        .map(|index| shares[index].clone())
                        .collect();
                    if subset.len() == threshold {
                        assert_eq!(SharedSecret::recover(&subset, threshold), Ok(secret.clone()));
                    } else if subset.len() + 1 == threshold {
                        assert!(SharedSecret::recover(&subset, threshold).is_err());
                        assert!(SharedSecret::recover(&subset, subset.len()) != Ok(secret.clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn bad_shares_are_refused() {
        let secret = SharedSecret::generate().unwrap();
        let shares = secret.split(3, 2).unwrap();
        let twice = [shares[1].clone(), shares[1].clone()];
        assert_eq!(SharedSecret::recover(&twice, 2), Err(ShareError::Duplicate));
        let full = [secret.to_full_share(), shares[0].clone()];
        assert_eq!(SharedSecret::recover(&full, 2), Err(ShareError::FullSecret));
        assert_eq!(full[0].full_secret(), Some(secret.clone()));
        assert_eq!(shares[0].full_secret(), None);
        assert_eq!(Share::from_bytes(&[0; 43]), Err(ShareError::Length(43)));
        for (count, threshold) in [(0, 0), (3, 0), (3, 4), (SHARES_MAX + 1, 1)] {
            assert_eq!(
                secret.split(count, threshold),
                Err(ShareError::Threshold { shares: count, threshold })
            );
        }
    }

    proptest! {
        #[test]
        fn bytes_round_trip(bytes in prop::collection::vec(any::<u8>(), SHARE_LEN)) {
            let share = Share::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&share.to_bytes()[..], &bytes[..]);
            // Any bytes are a share; combining them never panics.
            let _ = SharedSecret::recover(&[share.clone(), Share { x: 1, y: [2; LIMBS] }], 2);
        }
    }
}
