//! Whether a snapshot file may be used (section 14.6, steps 1 to 4).

use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_types::Digest;

use super::{Snapshot, SnapshotError, SnapshotReceipt, SnapshotSource};
use crate::receipt::{CoseReceipt, CoseReceiptError, Receipt, ReceiptError, ReceiptLeaf};

/// Who may have signed.
#[derive(Clone, Copy, Debug)]
pub enum SnapshotTrust<'a> {
    /// Anybody: the receipt must only be right in itself.
    Itself,
    /// The service with this certificate.
    Service(&'a Certificate),
    /// The service with this key, such as an earlier one that the service has endorsed.
    Key(&'a PublicKey),
}

impl SnapshotTrust<'_> {
    /// The only key that may have signed; none if any may.
    fn key(&self) -> Result<Option<&PublicKey>, SnapshotVerifyError> {
        match self {
            SnapshotTrust::Itself => Ok(None),
            SnapshotTrust::Service(service) => {
                service.public_key().map(Some).map_err(|_| SnapshotVerifyError::OtherService)
            }
            SnapshotTrust::Key(key) => Ok(Some(key)),
        }
    }
}

/// Why a snapshot must not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotVerifyError {
    /// It is not a snapshot with a receipt.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A receipt in COSE is malformed.
    #[error("invalid snapshot receipt: {0}")]
    Cose(#[from] CoseReceiptError),
    /// A receipt in JSON does not hold.
    #[error("invalid snapshot receipt: {0}")]
    Json(#[from] ReceiptError),
    /// The receipt is for another snapshot.
    #[error("the snapshot's digest is not the one that its receipt proves")]
    OtherSnapshot,
    /// The signer is not the one trusted.
    #[error("Previous service identity does not match the service identity that signed the snapshot")]
    OtherService,
}

/// Checks the receipt of a snapshot: its digest is proved to be in a signed ledger, of the trusted service if one is
/// given. With [`SnapshotTrust::Itself`] the signature of a receipt in COSE, which does not carry the key it was made
/// with, cannot be verified.
///
/// # Errors
/// [`SnapshotVerifyError`].
pub fn verify_snapshot<S: SnapshotSource>(
    snapshot: &Snapshot<S>,
    trust: SnapshotTrust<'_>,
) -> Result<(), SnapshotVerifyError> {
    match snapshot.receipt()? {
        SnapshotReceipt::Cose(bytes) => {
            let receipt = CoseReceipt::decode(bytes)?;
            if receipt.claims_digest() != snapshot.digest() {
                return Err(SnapshotVerifyError::OtherSnapshot);
            }
            match trust.key()? {
                None => Ok(()),
                Some(key) => receipt.verify(key).map_err(|_| SnapshotVerifyError::OtherService),
            }
        }
        SnapshotReceipt::Json(receipt) => verify_json(snapshot.digest(), &receipt, trust),
    }
}

fn verify_json(
    digest: Digest,
    receipt: &Receipt,
    trust: SnapshotTrust<'_>,
) -> Result<(), SnapshotVerifyError> {
    let ReceiptLeaf::LeafComponents(components) = &receipt.leaf else {
        return Err(SnapshotVerifyError::OtherSnapshot);
    };
    if components.claims_digest != Some(digest) {
        return Err(SnapshotVerifyError::OtherSnapshot);
    }
    let signer =
        Certificate::from_pem(&receipt.cert).map_err(|e| ReceiptError::Certificate(e.to_string()))?;
    receipt.verify_signature(&signer, None)?;
    match trust.key()? {
        None => Ok(()),
        Some(key) => signer.verify_signed_by(key).map_err(|_| SnapshotVerifyError::OtherService),
    }
}
