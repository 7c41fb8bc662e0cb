//! Whether a joining node's evidence fits the join policy (crypto specification, section 17.6, steps 2 to 9).

use crate::tables::{
    self,
    node::{QuoteFormat, QuoteInfo},
};
use ccf_attestation::{MalformedEvidence, VerifiedVirtual};
use ccf_endpoints::{ErrorCode, ErrorResponse};
use ccf_kv::Tx;
use ccf_types::Digest;

fn refused(message: &str) -> ErrorResponse {
    ErrorResponse::with_status(401, ErrorCode::InvalidQuote, message)
}

/// Checks the evidence against the policy of its platform, and that it speaks of the key whose digest is `public_key`.
/// The answer is the measurement in hex.
pub(crate) fn check(tx: &Tx, quote: &QuoteInfo, public_key: &Digest) -> Result<String, ErrorResponse> {
    match quote.format {
        QuoteFormat::InsecureVirtual => check_virtual(tx, &quote.quote.0, public_key),
        QuoteFormat::SevSnp => {
            Err(refused("Quote could not be verified: evidence of SEV-SNP is not supported by this release"))
        }
        QuoteFormat::Sgx => Err(refused("Quote could not be verified")),
    }
}

fn check_virtual(tx: &Tx, quote: &[u8], public_key: &Digest) -> Result<String, ErrorResponse> {
    let evidence = VerifiedVirtual::read(quote).map_err(|error| match error {
        MalformedEvidence::NoHostData => refused("Quote does not contain trusted host data"),
        MalformedEvidence::Json | MalformedEvidence::ReportData => refused("Quote could not be verified"),
    })?;
    if !tx.ro(&tables::VIRTUAL_HOST_DATA).contains(&evidence.host_data)? {
        return Err(refused("Quote host data is not authorised"));
    }
    let measurement = String::from_utf8_lossy(&evidence.measurement).into_owned();
    if !tx.ro(&tables::VIRTUAL_MEASUREMENTS).has(&measurement)? {
        return Err(refused("Quote does not contain known enclave measurement"));
    }
    if evidence.report_data != *public_key {
        return Err(refused("Quote report data does not match the hash of the public key for this node"));
    }
    Ok(hex::encode(&evidence.measurement))
}
