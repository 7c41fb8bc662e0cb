//! By what a node proves itself to its peers, and how it checks them (11.1).

use ccf_crypto::{
    cert::{Certificate, verify_chain},
    key::{EcKeyPair, PublicKey, SignatureError, SignatureFormat},
};
use ccf_types::NodeId;

/// The key of a node, its certificate endorsed by the service, and the service's own.
#[derive(Debug)]
pub struct Identity {
    key: EcKeyPair,
    id: NodeId,
    certificate_pem: String,
    service: Certificate,
}

/// Why key and certificates make no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate is for another key.
    #[error("the node's certificate is not for the node's key")]
    OtherKey,
    /// The service did not issue the certificate.
    #[error("the node's certificate is not endorsed by the service")]
    NotEndorsed,
    /// The key could not be read again.
    #[error("the node's key cannot be used")]
    Key,
}

impl Identity {
    /// Checks that the parts belong together.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn new(
        key: EcKeyPair,
        certificate: &Certificate,
        service: Certificate,
    ) -> Result<Identity, IdentityError> {
        if certificate.spki_der() != key.public_key().spki_der() {
            return Err(IdentityError::OtherKey);
        }
        if !is_endorsed(certificate, &service) {
            return Err(IdentityError::NotEndorsed);
        }
        Ok(Identity { id: key.public_key().node_id(), certificate_pem: certificate.to_pem(), key, service })
    }

    /// As [`Identity::new`] with a copy of the key.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn with_copy_of_key(
        key: &EcKeyPair,
        certificate: &Certificate,
        service: Certificate,
    ) -> Result<Identity, IdentityError> {
        let pkcs8 = key.to_pkcs8_der().map_err(|_| IdentityError::Key)?;
        let key = EcKeyPair::from_pkcs8_der(&pkcs8).map_err(|_| IdentityError::Key)?;
        Identity::new(key, certificate, service)
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// DER ECDSA with the hash of the key's curve.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.key.sign(self.key.curve().hash(), message, SignatureFormat::Der)
    }

    /// The key of `peer` if that is whose certificate this is, and the service endorsed it. Dates do not matter.
    ///
    /// The reference does not compare the certificate with the id that its sender claims (quirk Q3); without that, each node of the
    /// service could speak for every other.
    pub(crate) fn check_peer(&self, peer: &NodeId, certificate_pem: &[u8]) -> Option<PublicKey> {
        // The reference's PEM buffers may end with a zero byte.
        let text = certificate_pem.strip_suffix(&[0]).unwrap_or(certificate_pem);
        let certificate = Certificate::from_pem(std::str::from_utf8(text).ok()?).ok()?;
        let key = certificate.public_key().ok()?;
        (key.node_id() == *peer && is_endorsed(&certificate, &self.service)).then(|| key.clone())
    }
}

/// A chain of one link (no intermediates), validity ignored, the CA flag of the service's certificate required.
fn is_endorsed(certificate: &Certificate, service: &Certificate) -> bool {
    verify_chain(certificate, &[], std::slice::from_ref(service), None).is_ok()
}

/// Verifies what [`Identity::sign`] made.
pub(crate) fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    key.curve()
        .is_some_and(|curve| key.verify_ecdsa(curve.hash(), message, signature, SignatureFormat::Der).is_ok())
}
