//! A certificate as read: its bytes, and what they say.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use ccf_types::{Digest, MemberId, UserId};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::{
    CERTIFICATE_BYTES_MAX, CertificateError, Name, PEM_CERTIFICATE, Validity,
    algorithm::{self, Signed},
};
use crate::{
    der::{self, DerReader},
    hash::sha256,
    key::{KeyError, PublicKey, SignatureError},
    oid, pem,
};

/// Any X.509 certificate. Reading it judges nothing; clones share the bytes and the parsed key.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    tbs: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
    serial: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    spki: Range<usize>,
    v1: bool,
    validity: Validity,
    extensions: Vec<ParsedExtension>,
    key: OnceLock<Result<PublicKey, KeyError>>,
    fingerprint: Digest,
}

struct ParsedExtension {
    oid: Box<[u8]>,
    critical: bool,
    value: Range<usize>,
}

/// One extension of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Content bytes of its object identifier.
    pub oid: &'a [u8],
    /// Whether a verifier that does not know it must refuse the certificate.
    pub critical: bool,
    /// Its value, DER of a type that depends on the identifier.
    pub value: &'a [u8],
}

impl Certificate {
    /// Reads one DER certificate; nothing may follow it.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`], [`CertificateError::TooLarge`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let signed = Signed::parse(der)?;
        let tbs = &parsed.tbs_certificate;
        // The signed copy of the algorithm must be the one that is used.
        if !rest.is_empty() || tbs.signature != parsed.signature_algorithm {
            return Err(CertificateError::Malformed);
        }
        // All slices below are parts of `der`.
        let range = |part: &[u8]| {
            let start = part.as_ptr().addr() - der.as_ptr().addr();
            start..start + part.len()
        };
        let inner = Inner {
            tbs: range(signed.message),
            algorithm: range(signed.algorithm),
            signature: range(signed.signature),
            serial: range(tbs.raw_serial()),
            issuer: range(tbs.issuer.as_raw()),
            subject: range(tbs.subject.as_raw()),
            spki: range(tbs.subject_pki.raw),
            v1: tbs.version == X509Version::V1,
            validity: Validity::from_parsed(
                tbs.validity.not_before.to_datetime(),
                tbs.validity.not_after.to_datetime(),
            ),
            extensions: tbs
                .extensions()
                .iter()
                .map(|extension| ParsedExtension {
                    oid: extension.oid.as_bytes().into(),
                    critical: extension.critical,
                    value: range(extension.value),
                })
                .collect(),
            key: OnceLock::new(),
            fingerprint: sha256(der),
            der: der.into(),
        };
        Ok(Certificate(Arc::new(inner)))
    }

    /// Reads the first block of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(&pem::decode_labelled(text, PEM_CERTIFICATE)?)
    }

    /// Reads all certificates of a PEM text, at least one, and nothing else in it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn bundle_from_pem(text: &str) -> Result<Vec<Self>, CertificateError> {
        pem::decode_all(text)?
            .into_iter()
            .map(|block| {
                if block.label == PEM_CERTIFICATE {
                    Self::from_der(&block.contents)
                } else {
                    Err(pem::PemError::Label { found: block.label, expected: PEM_CERTIFICATE }.into())
                }
            })
            .collect()
    }

    /// The bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// PEM, ended by a newline.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_CERTIFICATE, &self.0.der)
    }

    /// SHA-256 of the DER; in hex the id of a member or user (crypto 1.2).
    #[must_use]
    pub fn fingerprint(&self) -> &Digest {
        &self.0.fingerprint
    }

    /// The id of the member with this certificate.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        MemberId::from_digest(&self.0.fingerprint.0)
    }

    /// The id of the user with this certificate.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        UserId::from_digest(&self.0.fingerprint.0)
    }

    /// The public key, parsed at the first call.
    ///
    /// # Errors
    /// [`KeyError`] if it is of an unsupported kind or invalid.
    pub fn public_key(&self) -> Result<&PublicKey, KeyError> {
        let key = self.0.key.get_or_init(|| PublicKey::from_spki_der(self.spki_der()));
        key.as_ref().map_err(Clone::clone)
    }

    /// The public key's DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        self.part(&self.0.spki)
    }

    /// Subject.
    #[must_use]
    pub fn subject(&self) -> Name {
        Name::from_der(self.part(&self.0.subject))
    }

    /// Issuer.
    #[must_use]
    pub fn issuer(&self) -> Name {
        Name::from_der(self.part(&self.0.issuer))
    }

    /// Serial number, big-endian, as it stands in the certificate.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.part(&self.0.serial)
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Whether it is valid at that time.
    #[must_use]
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        self.0.validity.contains(at)
    }

    /// The extensions in their order.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'_>> {
        self.0.extensions.iter().map(|extension| Extension {
            oid: &extension.oid,
            critical: extension.critical,
            value: self.part(&extension.value),
        })
    }

    /// The value of the extension with this object identifier, given as its DER content bytes.
    #[must_use]
    pub fn extension(&self, oid: &[u8]) -> Option<&[u8]> {
        self.extensions().find(|extension| extension.oid == oid).map(|extension| extension.value)
    }

    /// The object identifiers of the extended key usage extension, as DER content bytes; empty without one.
    #[must_use]
    pub fn extended_key_usages(&self) -> Vec<&[u8]> {
        let mut usages = Vec::new();
        let value = self.extension(oid::EXTENDED_KEY_USAGE).unwrap_or_default();
        if let Ok(mut reader) = DerReader::only(value, der::SEQUENCE) {
            while let Ok(usage) = reader.expect(der::OID) {
                usages.push(usage);
            }
        }
        usages
    }

    /// Whether it may issue certificates: a CA by its basic constraints, or self-signed of version 1.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        match self.extension(oid::BASIC_CONSTRAINTS) {
            Some(value) => read_basic_constraints(value).is_some_and(|(ca, _)| ca),
            None => self.0.v1 && self.is_self_issued() && self.verify_signed_by_own_key(),
        }
    }

    /// How many certificates that are not self-issued may follow below this CA before the leaf, if limited.
    #[must_use]
    pub fn path_len(&self) -> Option<u64> {
        read_basic_constraints(self.extension(oid::BASIC_CONSTRAINTS)?)?.1
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.part(&self.0.issuer) == self.part(&self.0.subject)
    }

    /// Whether the names say that `issuer` issued this certificate; the signature is another question.
    #[must_use]
    pub fn names_as_issuer(&self, issuer: &Certificate) -> bool {
        self.part(&self.0.issuer) == issuer.part(&issuer.0.subject)
    }

    /// Verifies the signature with a key. Says nothing about names, dates or constraints.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let Inner { tbs, algorithm, signature, .. } = &*self.0;
        algorithm::verify_signed(self.part(algorithm), self.part(tbs), self.part(signature), key)
    }

    /// Whether the keyUsage extension, if there is one, allows to sign certificates.
    pub(super) fn may_sign_certificates(&self) -> bool {
        const KEY_CERT_SIGN: u8 = 0x04;
        match self.extension(oid::KEY_USAGE) {
            None => true,
            Some(value) => {
                let mut reader = DerReader::new(value);
                matches!(reader.expect(der::BIT_STRING), Ok([_, bits, ..]) if bits & KEY_CERT_SIGN != 0)
            }
        }
    }

    /// The content of the subject key identifier.
    pub(super) fn subject_key_id(&self) -> Option<&[u8]> {
        DerReader::new(self.extension(oid::SUBJECT_KEY_ID)?).expect(der::OCTET_STRING).ok()
    }

    fn verify_signed_by_own_key(&self) -> bool {
        self.public_key().is_ok_and(|key| self.verify_signed_by(key).is_ok())
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.0.der.get(range.clone()).unwrap_or_default()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({}, {})", self.subject(), self.0.fingerprint)
    }
}

/// The CA flag and the path length of a basic constraints value; a length beyond 64 bits counts as none allowed.
fn read_basic_constraints(value: &[u8]) -> Option<(bool, Option<u64>)> {
    const BOOLEAN: u8 = 0x01;
    let mut reader = DerReader::only(value, der::SEQUENCE).ok()?;
    let ca = reader.peek() == Some(BOOLEAN) && reader.expect(BOOLEAN).ok()? != [0];
    if reader.is_empty() {
        return Some((ca, None));
    }
    let digits = reader.unsigned().ok()?;
    reader.end().ok()?;
    if digits.len() > 8 {
        return Some((false, Some(0)));
    }
    Some((ca, Some(digits.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))))
}
