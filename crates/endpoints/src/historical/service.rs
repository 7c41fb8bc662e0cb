//! What the service vouches for, now and before recoveries: its keys, and receipts it has issued.

use super::HistoricalQueries;
use ccf_crypto::{cose::LedgerSignature, jwk::EcJwk};
use ccf_kv::{Tx, UNIT};
use ccf_ledger::{receipt::CoseReceipt, signature::ServiceSignature, tables::COSE_SIGNATURES};
use serde_json::{Value, json};

/// Why a receipt is not one of this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOurReceipt {
    /// The keys of the service are not known yet.
    #[error("the keys of the service are not known yet")]
    NotYet,
    /// It is no receipt, or its signature does not hold.
    #[error("{0}")]
    Invalid(String),
}

/// Whether a COSE receipt was issued by this service, now or before a recovery (crypto specification, section 12.2).
///
/// # Errors
/// [`NotOurReceipt`].
pub fn verify_own_receipt(queries: &dyn HistoricalQueries, bytes: &[u8]) -> Result<(), NotOurReceipt> {
    let keys = queries.service_keys().ok_or(NotOurReceipt::NotYet)?;
    let invalid = |reason: String| NotOurReceipt::Invalid(reason);
    let receipt = CoseReceipt::decode(bytes).map_err(|e| invalid(e.to_string()))?;
    let signed_at = receipt.signature().header.tx_id;
    let key = keys.key_at(signed_at.seqno);
    let key = key.ok_or_else(|| invalid(format!("no service key is known for transaction {signed_at}")))?;
    receipt.verify(key).map_err(|e| invalid(e.to_string()))
}

/// The keys of the service since its beginning, oldest first, as a JSON Web Key Set; none while they are not known.
#[must_use]
pub fn trusted_keys(queries: &dyn HistoricalQueries) -> Option<Value> {
    let keys = queries.service_keys()?;
    let jwks: Vec<EcJwk> = keys
        .keys()
        .filter_map(|(_, key)| EcJwk::from_public(key, Some(key.node_id().to_string())).ok())
        .collect();
    Some(json!({ "keys": jwks }))
}

/// Issuer and subject of the service's signatures over the ledger, as the newest one has them.
#[must_use]
pub fn cose_signatures_config(tx: &Tx) -> Option<Value> {
    let value = tx.raw(&COSE_SIGNATURES).get(&UNIT)?;
    let signature = ServiceSignature::from_json(&value).ok()?;
    let claims = LedgerSignature::decode(&signature.cose).ok()?.header.claims;
    Some(json!({ "issuer": claims.issuer, "subject": claims.subject }))
}
