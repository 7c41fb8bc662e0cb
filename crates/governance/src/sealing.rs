//! Recovery without members: a share of the ledger secret for each trusted node, under a key that only the node's platform
//! opens again (ledger specification, section 7.7; crypto 15.6).
//!
//! | When | Call |
//! |---|---|
//! | a node joins or creates a service | [`new_recovery_key`], then [`record`] in the transaction |
//! | shares are issued, a node becomes trusted | [`crate::service::shuffle_sealed_shares`] and what issues shares |
//! | the public ledger is replayed | [`SealedSecret::find`] |
//! | the recovered service is opened | [`SealedSecret::restore`] |

use crate::{
    identity::encryption_key,
    recovery::{SecretChainError, SecretLinks},
    tables::{self, base64::Base64, secrets::SealedRecoveryKey},
};
use ccf_attestation::{DerivedKeys, NoDerivedKey};
use ccf_crypto::{
    Zeroizing,
    aead::{AeadError, AeadKey},
    hash::hkdf_sha256,
    key::{KeyError, RsaKeyPair, SignatureError},
    sharing::{self, SHARE_LEN, Share},
};
use ccf_kv::{KvError, Tx};
use ccf_ledger::secrets::LedgerSecrets;
use ccf_types::NodeId;

/// A node's sealed recovery key and the name of its location.
pub type SealingData = (SealedRecoveryKey, String);

/// Size of recovery keys.
const RECOVERY_KEY_BITS: usize = 2048;

/// The longest name of a location: names are keys of a table.
pub const LOCATION_NAME_BYTES_MAX: usize = 256;

/// The longest sealed key that is taken from another node; the PEM text of an RSA key of 4096 bits is half as long.
const SEALED_KEY_BYTES_MAX: usize = 8192;

/// What the sealing key is derived for.
const SEALING_KEY_INFO: &[u8] = b"CCF AMD Local Sealing Key";

/// A recovery key cannot be made or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The platform gives no key.
    #[error(transparent)]
    Platform(#[from] NoDerivedKey),
    /// The key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key cannot be encrypted.
    #[error(transparent)]
    Encryption(#[from] AeadError),
}

/// A ledger secret cannot be unsealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// The key was sealed by another kind of platform.
    #[error("the recovery key was sealed with {sealed}, but this platform has {own}")]
    Scheme {
        /// As recorded.
        sealed: String,
        /// Of this platform.
        own: &'static str,
    },
    /// The platform gives no key.
    #[error(transparent)]
    Platform(#[from] NoDerivedKey),
    /// Other code sealed the recovery key, or it was changed.
    #[error("the recovery key cannot be unsealed: {0}")]
    RecoveryKey(#[source] AeadError),
    /// What was unsealed is no key.
    #[error("the unsealed recovery key cannot be read: {0}")]
    Key(String),
    /// The share is not one for the recovery key.
    #[error("the sealed share cannot be decrypted: {0}")]
    Share(#[from] SignatureError),
    /// The share is of another form.
    #[error("the sealed share is no full secret")]
    NotFull,
    /// The share does not open the ledger secret.
    #[error("the ledger secret cannot be unwrapped: {0}")]
    Unwrap(#[from] sharing::ShareError),
    /// The ledger secret does not open those before it.
    #[error(transparent)]
    Chain(#[from] SecretChainError),
}

/// The key under which a platform seals, derived from the one it gives.
fn sealing_key(platform: &dyn DerivedKeys, tcb_version: &str) -> Result<AeadKey, NoDerivedKey> {
    let derived = platform.derive(tcb_version)?;
    let mut key = Zeroizing::new([0; 32]);
    hkdf_sha256(&*derived, b"", SEALING_KEY_INFO, &mut *key)
        .map_err(|_| NoDerivedKey(tcb_version.to_owned()))?;
    Ok(AeadKey::new(&key))
}

/// A fresh recovery key, sealed by the platform. Nobody keeps it in clear.
///
/// # Errors
/// [`SealError`].
pub fn new_recovery_key(platform: &dyn DerivedKeys) -> Result<SealedRecoveryKey, SealError> {
    let key = RsaKeyPair::generate(RECOVERY_KEY_BITS)?;
    let (pubkey, tcb_version) = (key.public_key().to_pem(), platform.tcb_version());
    let sealing = sealing_key(platform, &tcb_version)?;
    let ciphertext = sealing.seal_blob(pubkey.as_bytes(), key.to_pkcs8_pem().as_bytes())?;
    let version = platform.scheme().to_owned();
    Ok(SealedRecoveryKey { ciphertext: Base64(ciphertext), pubkey, tcb_version, version })
}

/// Writes what a node says of its sealing. A later node takes a location over from an earlier one.
///
/// # Errors
/// [`KvError`]; then the transaction must be dropped.
pub fn record(tx: &Tx, id: &NodeId, (key, location): &SealingData) -> Result<(), KvError> {
    tx.rw(&tables::NODE_SEALED_RECOVERY_KEYS).put(id, key)?;
    tx.rw(&tables::SEALING_RECOVERY_NAMES).put(location, &id.to_string())
}

/// Whether what another node says of its sealing can be recorded; else what is wrong. A key that cannot encrypt would stop
/// every later issue of shares.
pub(crate) fn check((key, location): &SealingData) -> Result<(), String> {
    if location.is_empty() || location.len() > LOCATION_NAME_BYTES_MAX {
        return Err(format!("The name of a sealing location has 1 to {LOCATION_NAME_BYTES_MAX} bytes."));
    }
    let is_hex = key.tcb_version.len() == 16 && key.tcb_version.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || key.version.len() > 64 || key.ciphertext.0.len() > SEALED_KEY_BYTES_MAX {
        return Err("The sealed recovery key is malformed.".to_owned());
    }
    let usable = encryption_key(&key.pubkey).map_err(|error| error.to_string());
    usable
        .and_then(|key| key.oaep_encrypt(&[], &[0; SHARE_LEN]).map_err(|error| error.to_string()))
        .map_err(|error| format!("The sealed recovery key cannot be used: {error}"))?;
    Ok(())
}

/// The latest ledger secret of a service, as one of its nodes can unseal it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    key: SealedRecoveryKey,
    /// The full share, encrypted to the key.
    share: Base64,
    /// The ledger secret under the share.
    wrapped: Base64,
}

impl SealedSecret {
    /// What the last node of a location could unseal, in the public state of its service; `None` if anything is missing.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn find(tx: &Tx, location: &str) -> Result<Option<SealedSecret>, KvError> {
        let Some(node) = tx.ro(&tables::SEALING_RECOVERY_NAMES).get(&location.to_owned())? else {
            return Ok(None);
        };
        let node = NodeId::from_text(&node);
        let key = tx.ro(&tables::NODE_SEALED_RECOVERY_KEYS).get(&node)?;
        let shares = tx.ro(&tables::SEALED_SHARES).get()?;
        Ok(key.zip(shares).and_then(|(key, mut shares)| {
            let share = shares.encrypted_wrapping_keys.remove(&node)?;
            Some(SealedSecret { key, share, wrapped: shares.wrapped_latest_ledger_secret })
        }))
    }

    /// Unseals the secret, and opens all those before it with it.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn restore(
        &self,
        platform: &dyn DerivedKeys,
        links: &SecretLinks,
    ) -> Result<LedgerSecrets, UnsealError> {
        let own = platform.scheme();
        if self.key.version != own {
            return Err(UnsealError::Scheme { sealed: self.key.version.clone(), own });
        }
        let sealing = sealing_key(platform, &self.key.tcb_version)?;
        let pem = sealing
            .open_blob(self.key.pubkey.as_bytes(), &self.key.ciphertext.0)
            .map_err(UnsealError::RecoveryKey)?;
        let pem = std::str::from_utf8(&pem).map_err(|error| UnsealError::Key(error.to_string()))?;
        let key = RsaKeyPair::from_pem(pem).map_err(|error| UnsealError::Key(error.to_string()))?;
        let share = key.oaep_decrypt(&[], &self.share.0)?;
        let secret = Share::from_bytes(&share)?.full_secret().ok_or(UnsealError::NotFull)?;
        let latest = secret.unwrap(&self.wrapped.0)?;
        Ok(links.restore(&latest)?)
    }
}
