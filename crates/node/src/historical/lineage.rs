//! The identities of the service over all its recoveries, and what leads from today's back to each (crypto
//! specification, section 12).

use super::fetch::FetchError;
use ccf_crypto::{
    cert::{Certificate, Issuer},
    cose::{EndorsementRecord, IdentityError, ServiceKeys},
    key::{EcKeyPair, PublicKey},
};
use ccf_endpoints::historical::Endorsements;
use ccf_governance::tables::{
    self,
    service::{ServiceInfo, ServiceStatus},
};
use ccf_kv::{KvError, Tx};
use ccf_types::{MapName, SeqNo, TxId};
use std::sync::Arc;

/// Recoveries that are followed back; services have had a few.
const RECOVERIES_MAX: usize = 1000;

/// Why the service's identities cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// A table.
    #[error("the tables of the service's identity cannot be read: {0}")]
    Table(#[from] KvError),
    /// There is no service yet.
    #[error("the service's certificate is not known")]
    NoService,
    /// Something about earlier services is not known.
    #[error("what earlier service identities signed cannot be proved: {0}")]
    Incomplete(String),
    /// The chain of endorsements is broken.
    #[error("the endorsements of earlier service identities do not hold: {0}")]
    Chain(#[from] IdentityError),
}

/// Reads what the committed entry at a position writes under the only key of a public map, and makes sure that the
/// entry is authentic.
pub(super) type ReadValue<'a> = &'a dyn Fn(SeqNo, &MapName) -> Result<Option<Vec<u8>>, FetchError>;

/// A service before the last recovery.
struct Earlier {
    from: SeqNo,
    certificate: Certificate,
    /// Issued by the service of today for the key of this one.
    cross_certificate: Option<String>,
}

/// All identities of the service.
pub(crate) struct Lineage {
    current: ServiceInfo,
    certificate: Certificate,
    created: TxId,
    /// Newest first.
    earlier: Vec<Earlier>,
    keys: Option<Arc<ServiceKeys>>,
    /// What could not be told about earlier services, such as when their part of the ledger is not on this node.
    incomplete: Option<String>,
}

impl Lineage {
    /// Reads the identities back to the first one known. `key` is the service's own.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(super) fn read(
        tx: &Tx,
        key: Option<&EcKeyPair>,
        value: ReadValue<'_>,
    ) -> Result<Lineage, FetchError> {
        let current = tx.ro(&tables::SERVICE_INFO).get().map_err(LineageError::from)?;
        let current = current.ok_or(LineageError::NoService)?;
        let certificate = Certificate::from_pem(&current.cert).map_err(|_| LineageError::NoService)?;
        let created = current.current_service_create_txid.unwrap_or_default();
        let issuer = key.and_then(|key| Issuer::new(&certificate, key).ok());
        let mut earlier: Vec<Earlier> = Vec::new();
        let mut incomplete = None;
        let mut previous = current.previous_service_identity_version;
        // Identities of the same service, which old ledgers link too, are not earlier ones.
        while let Some(at) = previous.take().filter(|_| earlier.len() < RECOVERIES_MAX) {
            let found = value(at, tables::SERVICE_INFO.name()).unwrap_or_else(|error| {
                incomplete = Some(error.to_string());
                None
            });
            let Some(found) = found else { break };
            let Ok(info) = tables::SERVICE_INFO.decode(&found) else { break };
            let Ok(certificate) = Certificate::from_pem(&info.cert) else { break };
            let cross_certificate =
                issuer.as_ref().and_then(|issuer| issuer.cross_certify(&certificate).ok());
            let cross_certificate = cross_certificate.map(|certificate| certificate.to_pem());
            // Links always lead back; one that does not would never end.
            previous = info.previous_service_identity_version.filter(|next| *next < at);
            earlier.push(Earlier { from: at, certificate, cross_certificate });
        }
        let keys = match current.status {
            ServiceStatus::Open => read_keys(tx, &certificate, created, value).unwrap_or_else(|error| {
                incomplete = Some(error.to_string());
                None
            }),
            _ => None,
        };
        Ok(Lineage { current, certificate, created, earlier, keys, incomplete })
    }

    /// Whether the tables still say the same, and everything is known that positions from `seqno` on need.
    pub(super) fn is_current(&self, tx: &Tx, seqno: SeqNo) -> bool {
        let enough = self.incomplete.is_none() || seqno >= self.created.seqno;
        enough && tx.ro(&tables::SERVICE_INFO).get().ok().flatten().is_some_and(|info| info == self.current)
    }

    /// Whether positions from `seqno` on can be proved.
    ///
    /// # Errors
    /// [`LineageError::Incomplete`].
    pub(super) fn check(&self, seqno: SeqNo) -> Result<(), LineageError> {
        match &self.incomplete {
            Some(reason) if seqno < self.created.seqno => Err(LineageError::Incomplete(reason.clone())),
            _ => Ok(()),
        }
    }

    /// The keys of all epochs, once the service is open and if it ever endorsed itself.
    pub(super) fn keys(&self) -> Option<Arc<ServiceKeys>> {
        self.keys.clone()
    }

    /// The key with which the service of the time signed; none if nothing vouches for it.
    pub(super) fn key_at(&self, seqno: SeqNo) -> Option<&PublicKey> {
        if seqno >= self.created.seqno {
            return self.certificate.public_key().ok();
        }
        self.keys.as_ref()?.key_at(seqno)
    }

    /// The certificate of the service of the time, if known.
    pub(super) fn certificate_at(&self, seqno: SeqNo) -> Option<&Certificate> {
        if seqno >= self.created.seqno {
            return Some(&self.certificate);
        }
        self.earlier.iter().find(|service| service.from <= seqno).map(|service| &service.certificate)
    }

    /// Where the epoch of a position begins: positions of one epoch have the same endorsements.
    pub(super) fn epoch_of(&self, seqno: SeqNo) -> SeqNo {
        if seqno >= self.created.seqno {
            return self.created.seqno;
        }
        let begins = self.earlier.iter().map(|service| service.from).find(|from| *from <= seqno);
        begins.unwrap_or(SeqNo::NONE)
    }

    /// What leads from the service of today to that of the time; nothing if it is the same.
    pub(super) fn endorsements(&self, seqno: SeqNo) -> Endorsements {
        if seqno >= self.created.seqno {
            return Endorsements::default();
        }
        let service = self.earlier.iter().find(|service| service.from <= seqno);
        let same_key = service.is_some_and(|s| s.certificate.spki_der() == self.certificate.spki_der());
        let certificate = service.filter(|_| !same_key).and_then(|s| s.cross_certificate.clone());
        let cose = self.keys.as_ref().map(|keys| keys.endorsements_for(seqno)).unwrap_or_default();
        Endorsements {
            certificates: certificate.into_iter().collect(),
            cose: cose.into_iter().map(<[u8]>::to_vec).collect(),
        }
    }
}

/// The chain of endorsements, verified; none in services that never wrote one.
fn read_keys(
    tx: &Tx,
    certificate: &Certificate,
    created: TxId,
    value: ReadValue<'_>,
) -> Result<Option<Arc<ServiceKeys>>, FetchError> {
    let newest = tx.ro(&tables::IDENTITY_ENDORSEMENT).get().map_err(LineageError::from)?;
    let Some(newest) = newest else { return Ok(None) };
    let mut records: Vec<EndorsementRecord> = vec![newest];
    while let Some(at) = records.last().and_then(|record| record.previous_version) {
        if records.len() >= RECOVERIES_MAX {
            break;
        }
        let Some(found) = value(at, tables::IDENTITY_ENDORSEMENT.name())? else { break };
        records.push(tables::IDENTITY_ENDORSEMENT.decode(&found).map_err(LineageError::from)?);
    }
    let own = certificate.public_key().map_err(|_| LineageError::NoService)?;
    let keys = ServiceKeys::verify(&records, own, created).map_err(LineageError::from)?;
    Ok(Some(Arc::new(keys)))
}
