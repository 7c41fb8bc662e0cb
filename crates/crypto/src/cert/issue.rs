//! Making certificates: the one profile of everything that CCF signs (crypto 2).

use super::{
    Certificate, CertificateError, Name, SigningRequest, SubjectAltName, Validity,
    algorithm::{self, ecdsa_oid},
    validity::write_time,
};
use crate::{
    der::{self, DerWriter},
    hash::sha1,
    key::{EcKeyPair, PublicKey},
    oid, random,
};

/// Whether a certificate may issue others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// `CA:TRUE, pathlen:1`, for services, self-signed nodes and service endorsements.
    Ca,
    /// `CA:FALSE`, for nodes endorsed by the service.
    Leaf,
}

/// The holder of a certificate and of its private key, who issues certificates.
pub struct Issuer<'a> {
    certificate: &'a Certificate,
    key: &'a EcKeyPair,
}

/// What goes into a certificate besides the issuer.
struct Content<'a> {
    subject: &'a Name,
    key: &'a PublicKey,
    san: Option<&'a [u8]>,
    kind: CertificateKind,
    validity: &'a Validity,
}

/// A certificate of `key` for itself.
///
/// # Errors
/// [`CertificateError`] if signing or randomness fails.
pub fn self_signed(
    key: &EcKeyPair,
    subject: &Name,
    names: &[SubjectAltName],
    kind: CertificateKind,
    validity: &Validity,
) -> Result<Certificate, CertificateError> {
    let san = (!names.is_empty()).then(|| SubjectAltName::extension_value(names));
    let content = Content { subject, key: key.public_key(), san: san.as_deref(), kind, validity };
    issue(&content, subject, &key_id(key.public_key()), key)
}

/// The same self-signed certificate with another validity: renewal of the service's or a node's (crypto 3.2).
///
/// # Errors
/// [`CertificateError::IssuerMismatch`] if the key is not that of the certificate; else as [`self_signed`].
pub fn renew_self_signed(
    certificate: &Certificate,
    key: &EcKeyPair,
    validity: &Validity,
) -> Result<Certificate, CertificateError> {
    if certificate.spki_der() != key.public_key().spki_der() {
        return Err(CertificateError::IssuerMismatch);
    }
    let subject = certificate.subject();
    let content = Content {
        subject: &subject,
        key: key.public_key(),
        san: certificate.extension(oid::SUBJECT_ALT_NAME),
        kind: if certificate.is_ca() { CertificateKind::Ca } else { CertificateKind::Leaf },
        validity,
    };
    issue(&content, &subject, &key_id(key.public_key()), key)
}

impl<'a> Issuer<'a> {
    /// Checks that certificate and key belong together.
    ///
    /// # Errors
    /// [`CertificateError::IssuerMismatch`].
    pub fn new(certificate: &'a Certificate, key: &'a EcKeyPair) -> Result<Self, CertificateError> {
        if certificate.spki_der() != key.public_key().spki_der() {
            return Err(CertificateError::IssuerMismatch);
        }
        Ok(Issuer { certificate, key })
    }

    /// A certificate for a request: subject, key and alternative names are the request's.
    ///
    /// # Errors
    /// [`CertificateError`] if signing or randomness fails.
    pub fn endorse(
        &self,
        request: &SigningRequest,
        kind: CertificateKind,
        validity: &Validity,
    ) -> Result<Certificate, CertificateError> {
        self.issue(&Content {
            subject: request.subject(),
            key: request.public_key(),
            san: request.san(),
            kind,
            validity,
        })
    }

    /// Endorses the key of a previous service: a CA certificate with that service's subject and the dates of the
    /// current one (crypto 12.1).
    ///
    /// # Errors
    /// [`CertificateError`] if the previous certificate's key is unusable, or signing or randomness fails.
    pub fn cross_certify(&self, previous: &Certificate) -> Result<Certificate, CertificateError> {
        self.issue(&Content {
            subject: &previous.subject(),
            key: previous.public_key()?,
            san: None,
            kind: CertificateKind::Ca,
            validity: &self.certificate.validity(),
        })
    }

    fn issue(&self, content: &Content<'_>) -> Result<Certificate, CertificateError> {
        let own_id = key_id(self.key.public_key());
        let key_id = self.certificate.subject_key_id().unwrap_or(&own_id);
        issue(content, &self.certificate.subject(), key_id, self.key)
    }
}

fn issue(
    content: &Content<'_>,
    issuer: &Name,
    issuer_key_id: &[u8],
    key: &EcKeyPair,
) -> Result<Certificate, CertificateError> {
    let serial: [u8; 16] = random::bytes()?;
    let hash = key.curve().hash();
    let mut writer = DerWriter::with_capacity(1024);
    writer.nested(der::SEQUENCE, |w| {
        w.nested(der::context(0), |w| w.unsigned(&[2]));
        w.unsigned(&serial);
        w.algorithm(ecdsa_oid(hash));
        w.raw(issuer.as_der());
        w.nested(der::SEQUENCE, |w| {
            write_time(w, content.validity.not_before());
            write_time(w, content.validity.not_after());
        });
        w.raw(content.subject.as_der());
        w.raw(content.key.spki_der());
        w.nested(der::context(3), |w| {
            w.nested(der::SEQUENCE, |w| write_extensions(w, content, issuer_key_id));
        });
    });
    Certificate::from_der(&algorithm::sign(key, hash, &writer.finish())?)
}

/// The extensions, in the order of the profile.
fn write_extensions(writer: &mut DerWriter, content: &Content<'_>, issuer_key_id: &[u8]) {
    const CA_WITH_PATH_LEN_1: &[u8] = &[0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x01];
    const NOT_A_CA: &[u8] = &[0x30, 0x00];
    const SIGN_DATA_AND_CERTIFICATES: &[u8] = &[0x03, 0x02, 0x02, 0x84];
    match content.kind {
        CertificateKind::Ca => {
            write_extension(writer, oid::BASIC_CONSTRAINTS, true, CA_WITH_PATH_LEN_1);
            write_extension(writer, oid::KEY_USAGE, true, SIGN_DATA_AND_CERTIFICATES);
        }
        CertificateKind::Leaf => write_extension(writer, oid::BASIC_CONSTRAINTS, true, NOT_A_CA),
    }
    let mut value = DerWriter::with_capacity(32);
    value.element(der::OCTET_STRING, &key_id(content.key));
    write_extension(writer, oid::SUBJECT_KEY_ID, false, &value.finish());
    let mut value = DerWriter::with_capacity(32);
    value.nested(der::SEQUENCE, |w| w.element(der::context_primitive(0), issuer_key_id));
    write_extension(writer, oid::AUTHORITY_KEY_ID, false, &value.finish());
    if let Some(san) = content.san {
        write_extension(writer, oid::SUBJECT_ALT_NAME, false, san);
    }
}

fn write_extension(writer: &mut DerWriter, oid: &[u8], critical: bool, value: &[u8]) {
    const BOOLEAN: u8 = 0x01;
    writer.nested(der::SEQUENCE, |w| {
        w.element(der::OID, oid);
        if critical {
            w.element(BOOLEAN, &[0xff]);
        }
        w.element(der::OCTET_STRING, value);
    });
}

/// The key identifier of a key: SHA-1 of its bit string (RFC 5280 4.2.1.2, method 1).
fn key_id(key: &PublicKey) -> [u8; 20] {
    sha1(key.key_bits())
}
