//! Evidence as it stands in the nodes table and in join requests (crypto specification, section 17.1).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Kinds of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuoteFormat {
    /// Intel SGX, found in old ledgers.
    #[serde(rename = "OE_SGX_v1")]
    Sgx,
    /// No hardware at all.
    #[serde(rename = "Insecure_Virtual")]
    Virtual,
    /// AMD SEV-SNP.
    #[serde(rename = "AMD_SEV_SNP_v1")]
    Snp,
}

/// A node's attestation evidence. Field order is the byte order of the JSON keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteInfo {
    /// The platform's endorsed version, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed_tcb: Option<String>,
    /// Collateral that endorses the quote.
    #[serde(with = "base64_bytes")]
    pub endorsements: Vec<u8>,
    /// How to read the quote.
    pub format: QuoteFormat,
    /// The quote itself.
    #[serde(with = "base64_bytes")]
    pub quote: Vec<u8>,
    /// COSE Sign1 endorsement of the utility VM.
    #[serde(default, with = "optional_base64_bytes", skip_serializing_if = "Option::is_none")]
    pub uvm_endorsements: Option<Vec<u8>>,
}

/// Why evidence is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The evidence cannot be read or does not hold.
    #[error("the attestation evidence is malformed: {0}")]
    Malformed(&'static str),
    /// The evidence names no host data.
    #[error("the attestation evidence has no host data")]
    NoHostData,
    /// A kind of evidence that this build cannot verify.
    #[error("evidence of format {0:?} cannot be verified by this version")]
    Unsupported(QuoteFormat),
}

impl QuoteInfo {
    /// The quote as base64, as endpoints print it.
    #[must_use]
    pub fn quote_base64(&self) -> String {
        STANDARD.encode(&self.quote)
    }

    /// The endorsements as base64, as endpoints print them.
    #[must_use]
    pub fn endorsements_base64(&self) -> String {
        STANDARD.encode(&self.endorsements)
    }
}

mod base64_bytes {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

mod optional_base64_bytes {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|t| STANDARD.decode(t.as_bytes()).map_err(D::Error::custom)).transpose()
    }
}
