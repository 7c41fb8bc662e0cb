//! AES-256-GCM with an IV of 8 bytes, not padded to 12: the cipher of messages between nodes (consensus 11.3).
//!
//! Everything else is sealed with [`crate::aead`].

use aes_gcm::{
    AeadInOut, AesGcm, KeyInit,
    aead::{
        array::Array,
        consts::{U8, U16},
        inout::InOutBuf,
    },
    aes::Aes256,
};

use crate::aead::{AeadError, KEY_LEN, TAG_LEN};

/// Length of an IV in bytes.
pub const IV_LEN: usize = 8;

/// An expanded key, wiped on drop.
pub struct ChannelKey(Box<AesGcm<Aes256, U8>>);

impl ChannelKey {
    /// Expands the key.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        // Boxed: the key schedule is large and the holder moves between states.
        ChannelKey(Box::new(AesGcm::new(&Array::from(*key))))
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`. An IV must never be used twice.
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
            .encrypt_inout_detached(&Array::from(*iv), aad, InOutBuf::from(data))
            .map_err(|_| AeadError::TooLong)?;
        Ok(tag.into())
    }

    /// Checks the tag and decrypts `data` in place. After an error `data` is as before.
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
        let tag: Array<u8, U16> = Array::from(*tag);
        self.0
            .decrypt_inout_detached(&Array::from(*iv), aad, InOutBuf::from(data), &tag)
            .map_err(|_| AeadError::NotAuthentic)
    }
}

impl std::fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 17 of the GCM specification (McGrew and Viega), the one with 256-bit key and 8-byte IV.
    #[test]
    fn published_vector() {
        let key = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").unwrap();
        let iv = hex::decode("cafebabefacedbad").unwrap().try_into().unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let plain = hex::decode(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ))
        .unwrap();
        let key = ChannelKey::new(&key.try_into().unwrap());
        let mut data = plain.clone();
        let tag = key.seal_in_place(&iv, &aad, &mut data).unwrap();
        assert_eq!(hex::encode(tag), "3a337dbf46a792c45e454913fe2ea8f2");
        assert!(hex::encode(&data).starts_with("c3762df1ca787d32ae47c13bf19844cb"));
        key.open_in_place(&iv, &aad, &tag, &mut data).unwrap();
        assert_eq!(data, plain);
        assert_eq!(key.open_in_place(&iv, &aad[1..], &tag, &mut data), Err(AeadError::NotAuthentic));
        assert_eq!(data, plain);
    }
}
