//! This node's sealing: the recovery key that its platform seals, and what its predecessor sealed at the same location
//! (node specification, section 11.6).

use crate::{config::SealingRecovery, platform};
use ccf_attestation::{DerivedKeys, VirtualKeys};
use ccf_governance::{
    recovery::SecretLinks,
    sealing::{SealError, SealedSecret, SealingData, UnsealError, new_recovery_key},
    tables::secrets::SealedRecoveryKey,
};
use ccf_kv::{KvError, Tx};
use ccf_ledger::secrets::LedgerSecrets;
use std::{io, sync::OnceLock};

/// What a node with `sealing_recovery` has.
pub(crate) struct Sealing {
    location: String,
    platform: Box<dyn DerivedKeys>,
    /// Made anew with each start; nobody has it in clear.
    key: SealedRecoveryKey,
    /// On a recovering node: the secret of the service before.
    predecessor: OnceLock<SealedSecret>,
}

/// A node with `sealing_recovery` cannot seal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealingError {
    /// The recovery key.
    #[error("the recovery key of this node cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// The executable.
    #[error("the executable of this node cannot be read: {0}")]
    Executable(#[from] io::Error),
}

impl Sealing {
    /// A new recovery key, sealed by the virtual platform: the only one on which nodes of this version run.
    ///
    /// # Errors
    /// [`SealingError`].
    pub(crate) fn new(config: &SealingRecovery) -> Result<Sealing, SealingError> {
        tracing::warn!(
            "sealing_recovery on the virtual platform is INSECURE: whoever has the ledger and this program can read all private data"
        );
        let platform = Box::new(VirtualKeys::new(platform::executable_digest()?));
        let key = new_recovery_key(&*platform)?;
        let location = config.location.name.clone();
        Ok(Sealing { location, platform, key, predecessor: OnceLock::new() })
    }

    /// What the service is to record.
    pub(crate) fn data(&self) -> SealingData {
        (self.key.clone(), self.location.clone())
    }

    /// The name of this node's location.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Keeps what a node of this location sealed, from the public state of the service before. False if there is nothing.
    ///
    /// # Errors
    /// [`KvError`] if a table cannot be read.
    pub(crate) fn find_predecessor(&self, tx: &Tx) -> Result<bool, KvError> {
        let found = SealedSecret::find(tx, &self.location)?;
        Ok(match found {
            // A node recovers once.
            Some(secret) => self.predecessor.set(secret).is_ok(),
            None => false,
        })
    }

    /// The secrets of the service before; `None` if this node did not recover it, but joined.
    pub(crate) fn unseal(&self, links: &SecretLinks) -> Option<Result<LedgerSecrets, UnsealError>> {
        let restored = self.predecessor.get()?.restore(&*self.platform, links);
        match &restored {
            Ok(secrets) => {
                tracing::info!("Unsealed {} ledger secret(s) of the service before", secrets.iter().count());
            }
            Err(reason) => {
                tracing::warn!("Failed to unseal ledger secret for private recovery: {reason}");
            }
        }
        Some(restored)
    }
}
