//! Bytes inside JSON tables: standard base64 text with padding (ledger specification, section 1).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Bytes that are a base64 string in JSON. When read, an array of integers is accepted too, as old ledgers have it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    /// The bytes of a standard base64 text, or `None` if it is not one.
    #[must_use]
    pub fn decode(text: &str) -> Option<Base64> {
        STANDARD.decode(text).ok().map(Base64)
    }

    /// The text.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode(&self.0))
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Base64(bytes)
    }
}

impl AsRef<[u8]> for Base64 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a base64 string or an array of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                Base64::decode(text).ok_or_else(|| E::custom("not standard base64"))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Base64, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Base64(bytes))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_arrays_are_read_and_text_is_written() {
        let read = |text: &str| serde_json::from_str::<Base64>(text).map(|b| b.0).map_err(|_| ());
        assert_eq!(read("\"AQI=\""), Ok(vec![1, 2]));
        assert_eq!(read("[1,2]"), Ok(vec![1, 2]));
        for odd in ["\"AQI\"", "\"A_I=\"", "[256]", "null", "{}"] {
            assert_eq!(read(odd), Err(()), "{odd}");
        }
        assert_eq!(serde_json::to_string(&Base64(vec![1, 2])).ok().as_deref(), Some("\"AQI=\""));
    }
}
