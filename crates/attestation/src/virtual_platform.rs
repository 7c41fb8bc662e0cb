//! The virtual platform: evidence of the right shape, with no hardware behind it (crypto specification, 17.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use ccf_types::Digest;
use serde::{Deserialize, Serialize};

/// The one measurement of every virtual node.
pub const VIRTUAL_MEASUREMENT: &str = "Insecure hard-coded virtual measurement v1";

/// The JSON text that stands for a quote. Field order is the byte order of the keys.
#[derive(Clone, Debug, Serialize)]
pub struct VirtualEvidence {
    host_data: String,
    measurement: &'static str,
    report_data: String,
}

/// What virtual evidence says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedVirtual {
    /// The measurement's bytes.
    pub measurement: Vec<u8>,
    /// Hex digest of the node's executable.
    pub host_data: String,
    /// Digest of the node's public key.
    pub report_data: Digest,
}

impl VirtualEvidence {
    /// Evidence of a node: `executable` is the digest of its executable file, `public_key` that of its public key
    /// (DER SubjectPublicKeyInfo).
    #[must_use]
    pub fn new(executable: &Digest, public_key: &Digest) -> VirtualEvidence {
        VirtualEvidence {
            host_data: executable.to_string(),
            measurement: VIRTUAL_MEASUREMENT,
            report_data: STANDARD.encode(public_key.as_bytes()),
        }
    }

    /// The text, compact: the bytes of the quote in tables and messages.
    ///
    /// # Panics
    /// Never: strings always serialise.
    #[must_use]
    pub fn quote(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("three strings serialise")
    }
}

/// The evidence cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEvidence {
    /// Not the expected JSON object.
    #[error("virtual evidence is not the expected JSON")]
    Json,
    /// No host data.
    #[error("virtual evidence has no host data")]
    NoHostData,
    /// Report data that is no digest.
    #[error("the report data of virtual evidence is not 32 bytes in base64")]
    ReportData,
}

#[derive(Deserialize)]
struct Unverified {
    host_data: Option<String>,
    measurement: String,
    report_data: String,
}

impl VerifiedVirtual {
    /// Reads the quote of a virtual node.
    ///
    /// # Errors
    /// [`MalformedEvidence`].
    pub fn read(quote: &[u8]) -> Result<VerifiedVirtual, MalformedEvidence> {
        // The parser of the struct would also take a list.
        if quote.trim_ascii_start().first() != Some(&b'{') {
            return Err(MalformedEvidence::Json);
        }
        let unverified: Unverified = serde_json::from_slice(quote).map_err(|_| MalformedEvidence::Json)?;
        let report_data =
            STANDARD.decode(&unverified.report_data).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(VerifiedVirtual {
            measurement: unverified.measurement.into_bytes(),
            host_data: unverified.host_data.ok_or(MalformedEvidence::NoHostData)?,
            report_data: Digest(report_data.ok_or(MalformedEvidence::ReportData)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_compact_sorted_json_and_reads_back() {
        let quote = VirtualEvidence::new(&Digest([0x11; 32]), &Digest([0x22; 32])).quote();
        let expected = format!(
            r#"{{"host_data":"{}","measurement":"{VIRTUAL_MEASUREMENT}","report_data":"{}"}}"#,
            "11".repeat(32),
            STANDARD.encode([0x22; 32])
        );
        assert_eq!(String::from_utf8(quote.clone()).expect("text"), expected);
        let read = VerifiedVirtual::read(&quote).expect("valid");
        assert_eq!(read.report_data, Digest([0x22; 32]));
        assert_eq!(read.measurement, VIRTUAL_MEASUREMENT.as_bytes());
    }

    #[test]
    fn odd_evidence_is_refused() {
        assert_eq!(VerifiedVirtual::read(b"{}"), Err(MalformedEvidence::Json));
        let list = format!(r#"["","m","{}"]"#, STANDARD.encode([0x22; 32]));
        assert_eq!(VerifiedVirtual::read(list.as_bytes()), Err(MalformedEvidence::Json));
        let short = br#"{"host_data":"","measurement":"m","report_data":"AAAA"}"#;
        assert_eq!(VerifiedVirtual::read(short), Err(MalformedEvidence::ReportData));
        let full = format!(r#"{{"measurement":"m","report_data":"{}"}}"#, STANDARD.encode([0; 32]));
        assert_eq!(VerifiedVirtual::read(full.as_bytes()), Err(MalformedEvidence::NoHostData));
    }
}
