//! The service's signature: the value of `public:ccf.internal.cose_signatures` (section 10.3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::{
    cose::{LedgerSignature, sign_ledger_root},
    key::PublicKey,
};
use ccf_types::{Digest, TxId};

use super::{SignatureError, Signer};

/// A COSE_Sign1 over a root that travels apart, as read from the table and not decoded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSignature {
    /// The message, to be read with [`LedgerSignature::decode`].
    pub cose: Vec<u8>,
}

impl ServiceSignature {
    /// Signs a root.
    ///
    /// # Errors
    /// [`SignatureError::Signing`] if the key does not sign.
    pub fn sign(
        signer: &Signer<'_>,
        tx_id: TxId,
        root: &Digest,
        unix_seconds: i64,
    ) -> Result<Self, SignatureError> {
        let signed = sign_ledger_root(signer.service_key, signer.claims, unix_seconds, tx_id, root);
        Ok(Self { cose: signed.map_err(|_| SignatureError::Signing)? })
    }

    /// The value of the table.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(2 + self.cose.len().div_ceil(3) * 4);
        value.push(b'"');
        value.extend_from_slice(STANDARD.encode(&self.cose).as_bytes());
        value.push(b'"');
        value
    }

    /// Reads the value of the table.
    ///
    /// # Errors
    /// [`SignatureError::ServiceValue`].
    pub fn from_json(value: &[u8]) -> Result<Self, SignatureError> {
        let malformed = |reason: String| SignatureError::ServiceValue(reason);
        let text: &str = serde_json::from_slice(value).map_err(|e| malformed(e.to_string()))?;
        let cose = STANDARD.decode(text).map_err(|e| malformed(e.to_string()))?;
        Ok(Self { cose })
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// [`SignatureError::ServiceValue`].
    pub fn decode(&self) -> Result<LedgerSignature<'_>, SignatureError> {
        LedgerSignature::decode(&self.cose).map_err(|e| SignatureError::ServiceValue(e.to_string()))
    }

    /// Checks that the message is for this transaction and verifies with the service's key. That `root` is the right
    /// one, and the key the service's, is the caller's knowledge.
    ///
    /// # Errors
    /// [`SignatureError`]: undecodable, for another transaction, or not verifying.
    pub fn verify(&self, key: &PublicKey, tx_id: TxId, root: &Digest) -> Result<(), SignatureError> {
        let message = self.decode()?;
        if message.header.tx_id != tx_id {
            return Err(SignatureError::OtherTransaction(message.header.tx_id));
        }
        message.verify(key, root).map_err(|_| SignatureError::ServiceSignature)
    }
}
