//! The virtual platform: evidence of the right shape, with no hardware behind it (crypto specification, 17.2).

use crate::{QuoteFormat, QuoteInfo, VerifyError};
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

    /// The evidence as it goes into tables and messages.
    ///
    /// # Panics
    /// Never: strings always serialise.
    #[must_use]
    pub fn quote_info(&self) -> QuoteInfo {
        QuoteInfo {
            endorsed_tcb: None,
            endorsements: Vec::new(),
            format: QuoteFormat::Virtual,
            quote: serde_json::to_vec(self).expect("three strings serialise"),
            uvm_endorsements: None,
        }
    }
}

#[derive(Deserialize)]
struct Unverified {
    host_data: Option<String>,
    measurement: String,
    report_data: String,
}

impl VerifiedVirtual {
    /// Reads virtual evidence.
    ///
    /// # Errors
    /// [`VerifyError`] if the evidence is of another format, lacks a field, or its report data is no digest.
    pub fn read(info: &QuoteInfo) -> Result<VerifiedVirtual, VerifyError> {
        if info.format != QuoteFormat::Virtual {
            return Err(VerifyError::Unsupported(info.format));
        }
        let unverified: Unverified =
            serde_json::from_slice(&info.quote).map_err(|_| VerifyError::Malformed("not the expected JSON"))?;
        let report_data = STANDARD.decode(&unverified.report_data).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(VerifiedVirtual {
            measurement: unverified.measurement.into_bytes(),
            host_data: unverified.host_data.ok_or(VerifyError::NoHostData)?,
            report_data: Digest(report_data.ok_or(VerifyError::Malformed("report data is not 32 bytes"))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_compact_sorted_json_and_reads_back() {
        let info = VirtualEvidence::new(&Digest([0x11; 32]), &Digest([0x22; 32])).quote_info();
        let expected = format!(
            r#"{{"host_data":"{}","measurement":"{VIRTUAL_MEASUREMENT}","report_data":"{}"}}"#,
            "11".repeat(32),
            STANDARD.encode([0x22; 32])
        );
        assert_eq!(String::from_utf8(info.quote.clone()).expect("text"), expected);
        let read = VerifiedVirtual::read(&info).expect("valid");
        assert_eq!(read.report_data, Digest([0x22; 32]));
        assert_eq!(read.measurement, VIRTUAL_MEASUREMENT.as_bytes());
        let stored = serde_json::to_string(&info).expect("serialises");
        assert!(stored.starts_with(r#"{"endorsements":"","format":"Insecure_Virtual","quote":""#), "{stored}");
        assert_eq!(serde_json::from_str::<QuoteInfo>(&stored).expect("reads"), info);
    }

    #[test]
    fn odd_evidence_is_refused() {
        let of = |format, quote: &str| QuoteInfo {
            endorsed_tcb: None,
            endorsements: vec![],
            format,
            quote: quote.as_bytes().to_vec(),
            uvm_endorsements: None,
        };
        assert_eq!(VerifiedVirtual::read(&of(QuoteFormat::Snp, "")), Err(VerifyError::Unsupported(QuoteFormat::Snp)));
        assert!(VerifiedVirtual::read(&of(QuoteFormat::Virtual, "{}")).is_err());
        let short = r#"{"host_data":"","measurement":"m","report_data":"AAAA"}"#;
        assert!(VerifiedVirtual::read(&of(QuoteFormat::Virtual, short)).is_err());
        let full = format!(r#"{{"measurement":"m","report_data":"{}"}}"#, STANDARD.encode([0; 32]));
        assert_eq!(VerifiedVirtual::read(&of(QuoteFormat::Virtual, &full)), Err(VerifyError::NoHostData));
    }
}
