//! Certificate signing requests (PKCS#10, RFC 2986).

use x509_parser::{
    cri_attributes::ParsedCriAttribute,
    prelude::{FromDer, X509CertificationRequest},
};

use super::{
    CERTIFICATE_BYTES_MAX, CertificateError, Name, PEM_REQUEST, SubjectAltName,
    algorithm::{self, Signed},
};
use crate::{
    der::{self, DerWriter},
    hash::HashAlgorithm,
    key::{EcKeyPair, PublicKey},
    oid, pem,
};

/// A signing request whose signature was verified when it was read.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    der: Vec<u8>,
    subject: Name,
    key: PublicKey,
    san: Option<Vec<u8>>,
}

impl SigningRequest {
    /// Makes a request for the key's own certificate, signed with SHA-512 on every curve (crypto 2).
    ///
    /// # Errors
    /// [`CertificateError::Signature`].
    pub fn create(
        key: &EcKeyPair,
        subject: &Name,
        names: &[SubjectAltName],
    ) -> Result<Self, CertificateError> {
        let mut info = DerWriter::with_capacity(512);
        info.nested(der::SEQUENCE, |w| {
            w.unsigned(&[0]);
            w.raw(subject.as_der());
            w.raw(key.public_key().spki_der());
            w.nested(der::context(0), |w| write_extension_request(w, names));
        });
        let der = algorithm::sign(key, HashAlgorithm::Sha512, &info.finish())?;
        Ok(SigningRequest {
            der,
            subject: subject.clone(),
            key: key.public_key().clone(),
            san: (!names.is_empty()).then(|| SubjectAltName::extension_value(names)),
        })
    }

    /// Reads a DER request and verifies its signature with the key in it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let (rest, parsed) =
            X509CertificationRequest::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let info = &parsed.certification_request_info;
        let key = PublicKey::from_spki_der(info.subject_pki.raw)?;
        let signed = Signed::parse(der)?;
        algorithm::verify_signed(signed.algorithm, signed.message, signed.signature, &key)?;
        let san = info
            .iter_attributes()
            .filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
                _ => None,
            })
            .flatten()
            .find(|extension| extension.oid.as_bytes() == oid::SUBJECT_ALT_NAME)
            .map(|extension| extension.value.to_vec());
        Ok(SigningRequest { der: der.to_vec(), subject: Name::from_der(info.subject.as_raw()), key, san })
    }

    /// Reads a PEM request and verifies its signature with the key in it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(&pem::decode_labelled(text, PEM_REQUEST)?)
    }

    /// The bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM, ended by a newline.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_REQUEST, &self.der)
    }

    /// The subject that is asked for.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key that is to be certified.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The value of the subject alternative name extension that is asked for.
    pub(super) fn san(&self) -> Option<&[u8]> {
        self.san.as_deref()
    }
}

/// The one attribute: the extensions that the certificate should have. Without names there is none.
fn write_extension_request(writer: &mut DerWriter, names: &[SubjectAltName]) {
    if names.is_empty() {
        return;
    }
    writer.nested(der::SEQUENCE, |w| {
        w.element(der::OID, oid::EXTENSION_REQUEST);
        w.nested(der::SET, |w| {
            w.nested(der::SEQUENCE, |w| {
                w.nested(der::SEQUENCE, |w| {
                    w.element(der::OID, oid::SUBJECT_ALT_NAME);
                    w.element(der::OCTET_STRING, &SubjectAltName::extension_value(names));
                });
            });
        });
    });
}
