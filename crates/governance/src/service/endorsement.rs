//! The statement that links the service's identity to the one before (crypto specification, section 12.2).

use crate::tables::{self, service::ServiceInfo};
use ccf_crypto::{
    cose::{CoseError, endorse_previous_service, endorse_self},
    key::EcKeyPair,
};
use ccf_kv::{KvError, Tx};

/// The service identity cannot be endorsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndorsementError {
    /// It is not known when this service was created, or what the one before signed last.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Signing failed.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// Writes the endorsement of an opening service: of itself if it is the first, else of its predecessor.
pub(super) fn endorse(
    tx: &Tx,
    key: &EcKeyPair,
    service: &ServiceInfo,
    now: u64,
) -> Result<(), EndorsementError> {
    let created = service
        .current_service_create_txid
        .ok_or(EndorsementError::Missing("current_service_create_txid"))?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let table = tx.rw(&tables::IDENTITY_ENDORSEMENT);
    let record = match (table.get()?, table.version_of_previous_write()) {
        (Some(previous), Some(version)) => {
            let root = tx.ro(&tables::PREVIOUS_SERVICE_LAST_SIGNED_ROOT).get()?;
            let root = root.ok_or(EndorsementError::Missing("previous_service_last_signed_root"))?;
            endorse_previous_service(key, &previous, version, created, &root, now)?
        }
        _ => endorse_self(key, created, now)?,
    };
    table.put(&record)?;
    Ok(())
}
