//! How typed keys and values become bytes: [`Raw`] and [`Json`] (ledger specification, section 3).

use crate::{CodecError, SmallBytes};
use ccf_types::{Digest, MemberId, NodeId, UserId};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of an encoded key or value: borrowed from the value where possible.
#[derive(Clone, Debug)]
pub enum Encoded<'a> {
    /// The value's own bytes.
    Borrowed(&'a [u8]),
    /// Fresh bytes.
    Owned(SmallBytes),
}

impl AsRef<[u8]> for Encoded<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Encoded::Borrowed(bytes) => bytes,
            Encoded::Owned(bytes) => bytes,
        }
    }
}

impl From<Encoded<'_>> for SmallBytes {
    fn from(encoded: Encoded<'_>) -> Self {
        match encoded {
            Encoded::Borrowed(bytes) => SmallBytes::copy_from(bytes),
            Encoded::Owned(bytes) => bytes,
        }
    }
}

/// A way to write a `T` as bytes and to read it back.
pub trait Codec<T: ?Sized> {
    /// The bytes of `value`.
    ///
    /// # Errors
    /// If the value has no representation.
    fn encode(value: &T) -> Result<Encoded<'_>, CodecError>;

    /// The value of `bytes`.
    ///
    /// # Errors
    /// If the bytes are not one.
    fn decode(bytes: &[u8]) -> Result<T, CodecError>
    where
        T: Sized;
}

/// Bytes and texts as they are, integers in fixed width little-endian, digests as hex text, identifiers as
/// text, `()` as eight zero bytes.
#[derive(Clone, Copy, Debug)]
pub enum Raw {}

/// Compact JSON. Keys of objects must come out in ascending byte order: declare struct fields so, and use
/// ordered maps only.
#[derive(Clone, Copy, Debug)]
pub enum Json {}

/// The only key of a single-element table, and the only value of a set.
pub const UNIT: [u8; 8] = [0; 8];

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(value: &T) -> Result<Encoded<'_>, CodecError> {
        let bytes = serde_json::to_vec(value)?;
        Ok(Encoded::Owned(bytes.into()))
    }

    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Codec<()> for Raw {
    fn encode((): &()) -> Result<Encoded<'_>, CodecError> {
        Ok(Encoded::Borrowed(&UNIT))
    }

    /// Any bytes: the value carries no meaning, and one kind of set writes it empty.
    fn decode(_: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }
}

impl Codec<Vec<u8>> for Raw {
    fn encode(value: &Vec<u8>) -> Result<Encoded<'_>, CodecError> {
        Ok(Encoded::Borrowed(value))
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        Ok(bytes.to_vec())
    }
}

impl Codec<SmallBytes> for Raw {
    fn encode(value: &SmallBytes) -> Result<Encoded<'_>, CodecError> {
        Ok(Encoded::Owned(value.clone()))
    }

    fn decode(bytes: &[u8]) -> Result<SmallBytes, CodecError> {
        Ok(bytes.into())
    }
}

impl Codec<String> for Raw {
    fn encode(value: &String) -> Result<Encoded<'_>, CodecError> {
        Ok(Encoded::Borrowed(value.as_bytes()))
    }

    fn decode(bytes: &[u8]) -> Result<String, CodecError> {
        Ok(text(bytes)?.to_owned())
    }
}

impl Codec<Digest> for Raw {
    fn encode(value: &Digest) -> Result<Encoded<'_>, CodecError> {
        Ok(Encoded::Owned(value.to_string().as_str().into()))
    }

    fn decode(bytes: &[u8]) -> Result<Digest, CodecError> {
        text(bytes)?.parse().map_err(|_| CodecError::Digest)
    }
}

macro_rules! raw_identifier {
    ($($name:ty),*) => {$(
        impl Codec<$name> for Raw {
            fn encode(value: &$name) -> Result<Encoded<'_>, CodecError> {
                Ok(Encoded::Borrowed(value.as_ref()))
            }

            fn decode(bytes: &[u8]) -> Result<$name, CodecError> {
                Ok(<$name>::from_text(text(bytes)?))
            }
        }
    )*};
}
raw_identifier!(NodeId, MemberId, UserId);

macro_rules! raw_integer {
    ($($integer:ty),*) => {$(
        impl Codec<$integer> for Raw {
            fn encode(value: &$integer) -> Result<Encoded<'_>, CodecError> {
                Ok(Encoded::Owned(value.to_le_bytes().as_slice().into()))
            }

            fn decode(bytes: &[u8]) -> Result<$integer, CodecError> {
                let expected = size_of::<$integer>();
                let fixed = bytes.try_into().map_err(|_| CodecError::Width { expected, actual: bytes.len() })?;
                Ok(<$integer>::from_le_bytes(fixed))
            }
        }
    )*};
}
raw_integer!(u8, u16, u32, u64, i8, i16, i32, i64);

fn text(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| CodecError::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<C: Codec<T>, T: PartialEq + std::fmt::Debug>(value: &T, bytes: &[u8]) {
        assert_eq!(C::encode(value).unwrap().as_ref(), bytes);
        assert_eq!(&C::decode(bytes).unwrap(), value);
    }

    #[test]
    fn bytes_are_as_specified() {
        check::<Raw, _>(&(), &[0; 8]);
        check::<Raw, _>(&0x0102_u64, &[2, 1, 0, 0, 0, 0, 0, 0]);
        check::<Raw, _>(&-1_i16, &[255, 255]);
        check::<Raw, _>(&"ab".to_owned(), b"ab");
        check::<Raw, _>(&Digest([0xab; 32]), "ab".repeat(32).as_bytes());
        check::<Raw, _>(&UserId::from_text("u"), b"u");
        check::<Json, _>(&"ab".to_owned(), b"\"ab\"");
        check::<Json, _>(&vec![1, 2], b"[1,2]");
        assert!(matches!(
            <Raw as Codec<u32>>::decode(b"123"),
            Err(CodecError::Width { expected: 4, actual: 3 })
        ));
        assert!(matches!(<Raw as Codec<String>>::decode(&[255]), Err(CodecError::Text)));
        assert!(<Raw as Codec<Digest>>::decode(b"00").is_err());
        assert!(<Json as Codec<u64>>::decode(b"{").is_err());
    }
}
