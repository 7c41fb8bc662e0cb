//! AES-256-GCM with 12-byte IVs: ledger entries, snapshots, and small sealed blobs.
//!
//! An IV must never be used twice with one key. Ledger entries derive theirs from the transaction; blobs draw
//! a random one, save for the recovery share wrapping, whose key is used once (crypto 15.2).

mod stream;

pub use stream::GcmStream;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of an IV.
pub const IV_LEN: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;
/// Bytes a blob has more than its plaintext: tag and IV.
pub const BLOB_OVERHEAD: usize = TAG_LEN + IV_LEN;

/// Why sealing or opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AeadError {
    /// The ciphertext, its tag, its IV or the additional data are not those that were sealed under this key.
    #[error("decryption failed: wrong key or modified data")]
    NotAuthentic,
    /// The plaintext is too long for one invocation of GCM (some 64 GiB).
    #[error("data too long for AES-GCM")]
    TooLong,
    /// A blob shorter than tag and IV.
    #[error("sealed blob of {0} bytes is too short")]
    BlobTooShort(usize),
    /// No random IV.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// An expanded AES-256-GCM key. Make it once per secret; sealing and opening then neither expand the key nor
/// allocate. The key is wiped on drop.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Expands the key.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the length is that of an AES-256 key");
        AeadKey(LessSafeKey::new(key))
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`.
    ///
    /// # Errors
    /// [`AeadError::TooLong`].
    pub fn seal_in_place(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AeadError> {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), data)
            .map_err(|_| AeadError::TooLong)?;
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Checks the tag and decrypts `data` in place. After an error the content of `data` is unspecified.
    ///
    /// # Errors
    /// [`AeadError::NotAuthentic`].
    pub fn open_in_place(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        tag: &[u8; TAG_LEN],
        data: &mut [u8],
    ) -> Result<(), AeadError> {
        self.0
            .open_in_place_separate_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), tag, data)
            .map_err(|_| AeadError::NotAuthentic)?;
        Ok(())
    }

    /// Checks the tag and decrypts `ciphertext` into `plaintext`, which must have the same length.
    ///
    /// # Errors
    /// [`AeadError::NotAuthentic`], also if the lengths differ.
    pub fn open_into(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        tag: &[u8; TAG_LEN],
        ciphertext: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), AeadError> {
        if ciphertext.len() != plaintext.len() {
            return Err(AeadError::NotAuthentic);
        }
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(*iv),
                Aad::from(aad),
                ciphertext,
                tag,
                plaintext,
            )
            .map_err(|_| AeadError::NotAuthentic)
    }

    /// Seals `plaintext` under a random IV: `tag(16), iv(12), ciphertext` (crypto 1).
    ///
    /// # Errors
    /// [`AeadError::Random`], [`AeadError::TooLong`].
    pub fn seal_blob(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, AeadError> {
        self.seal_blob_with_iv(&random::bytes()?, aad, plaintext)
    }

    /// As [`AeadKey::seal_blob`] with a given IV, for a key that seals only once.
    ///
    /// # Errors
    /// [`AeadError::TooLong`].
    pub fn seal_blob_with_iv(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, AeadError> {
        let mut blob = Vec::with_capacity(BLOB_OVERHEAD + plaintext.len());
        blob.extend_from_slice(&[0; TAG_LEN]);
        blob.extend_from_slice(iv);
        blob.extend_from_slice(plaintext);
        let tag = self.seal_in_place(iv, aad, &mut blob[BLOB_OVERHEAD..])?;
        blob[..TAG_LEN].copy_from_slice(&tag);
        Ok(blob)
    }

    /// Opens what [`AeadKey::seal_blob`] made.
    ///
    /// # Errors
    /// [`AeadError::BlobTooShort`], [`AeadError::NotAuthentic`].
    pub fn open_blob(&self, aad: &[u8], blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, AeadError> {
        let short = AeadError::BlobTooShort(blob.len());
        let (tag, rest) = blob.split_first_chunk::<TAG_LEN>().ok_or(short)?;
        let (iv, ciphertext) = rest.split_first_chunk::<IV_LEN>().ok_or(short)?;
        let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
        self.open_into(iv, aad, tag, ciphertext, &mut plaintext)?;
        Ok(plaintext)
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Test case 14 and 16 of the GCM specification (McGrew and Viega).
    #[test]
    fn published_vectors() {
        let mut data = [0; 16];
        let tag = AeadKey::new(&[0; 32]).seal_in_place(&[0; 12], b"", &mut data).unwrap();
        assert_eq!(hex::encode(data), "cea7403d4d606b6e074ec5d3baf39d18");
        assert_eq!(hex::encode(tag), "d0d1c8a799996bf0265b98b5d48ab919");

        let key = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").unwrap();
        let iv = hex::decode("cafebabefacedbaddecaf888").unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let mut data = hex::decode(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ))
        .unwrap();
        let key = AeadKey::new(&key.try_into().unwrap());
        let tag = key.seal_in_place(&iv.try_into().unwrap(), &aad, &mut data).unwrap();
        assert_eq!(hex::encode(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
        assert!(hex::encode(&data).starts_with("522dc1f099567d07f47f37a32a84427d"));
    }

    proptest! {
        /// Whatever is sealed opens again, in place and out of place, and one flipped bit anywhere is refused.
        #[test]
        fn blobs_round_trip(
            key in any::<[u8; 32]>(),
            aad in prop::collection::vec(any::<u8>(), 0..40),
            plaintext in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            let key = AeadKey::new(&key);
            let mut blob = key.seal_blob(&aad, &plaintext).unwrap();
            prop_assert_eq!(blob.len(), plaintext.len() + BLOB_OVERHEAD);
            prop_assert_eq!(&**key.open_blob(&aad, &blob).unwrap(), &plaintext[..]);

            let mut in_place = blob[BLOB_OVERHEAD..].to_vec();
            let tag = blob[..16].try_into().unwrap();
            key.open_in_place(blob[16..28].try_into().unwrap(), &aad, &tag, &mut in_place).unwrap();
            prop_assert_eq!(in_place, plaintext);

            let bit = flip.index(blob.len() * 8);
            blob[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.open_blob(&aad, &blob).unwrap_err(), AeadError::NotAuthentic);
        }
    }

    #[test]
    fn short_blobs_are_refused() {
        let key = AeadKey::new(&[7; 32]);
        for length in 0..BLOB_OVERHEAD {
            assert_eq!(key.open_blob(b"", &vec![0; length]).unwrap_err(), AeadError::BlobTooShort(length));
        }
    }
}
