//! A tagged COSE_Sign1 message, read in place.

use super::{CoseError, SIGN1_TAG, algorithm, algorithm_of, label};
use crate::{
    cbor::{Item, Map, bytes_head},
    hash::{HashAlgorithm, HashValue},
    key::{KeyKind, PublicKey, SignatureFormat},
};

/// A COSE_Sign1 message that was read but not verified.
#[derive(Clone, Debug)]
pub struct Sign1<'a> {
    protected: &'a [u8],
    header: Map<'a>,
    unprotected: Item<'a>,
    payload: Option<&'a [u8]>,
    signature: &'a [u8],
}

/// How an ECDSA message's algorithm and its key must fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichAlgorithm {
    /// The algorithm must be the one of the key's curve: for everything new (crypto 14.1).
    OfTheKey,
    /// The algorithm only names the hash: for records of older releases.
    AsRecorded,
}

impl<'a> Sign1<'a> {
    /// Reads a message: tag 18, nothing after it, no key twice in its maps, at most 16 levels deep.
    ///
    /// # Errors
    /// [`CoseError::Cbor`], [`CoseError::NotSign1`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let (tag, array) = Item::parse(bytes)?.tagged().map_err(|_| CoseError::NotSign1)?;
        let items = array.array().map_err(|_| CoseError::NotSign1)?;
        let [protected, unprotected, payload, signature] = items[..] else { return Err(CoseError::NotSign1) };
        if tag != SIGN1_TAG {
            return Err(CoseError::NotSign1);
        }
        let protected = protected.bytes()?;
        let header = Item::parse(if protected.is_empty() { &[0xa0] } else { protected })?.map()?;
        unprotected.map()?;
        Ok(Sign1 {
            protected,
            header,
            unprotected,
            payload: if payload.is_null() { None } else { Some(payload.bytes()?) },
            signature: signature.bytes()?,
        })
    }

    /// The protected header.
    #[must_use]
    pub fn header(&self) -> &Map<'a> {
        &self.header
    }

    /// The bytes of the protected header, as they are signed.
    #[must_use]
    pub fn protected_bytes(&self) -> &'a [u8] {
        self.protected
    }

    /// The unprotected header, which nothing vouches for.
    #[must_use]
    pub fn unprotected(&self) -> Item<'a> {
        self.unprotected
    }

    /// The payload, unless it is detached.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    /// The payload, which must be there.
    ///
    /// # Errors
    /// [`CoseError::DetachedPayload`].
    pub fn attached_payload(&self) -> Result<&'a [u8], CoseError> {
        self.payload.ok_or(CoseError::DetachedPayload)
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The protected algorithm, an integer.
    ///
    /// # Errors
    /// [`CoseError::MissingHeader`], [`CoseError::InvalidHeader`].
    pub fn algorithm(&self) -> Result<i64, CoseError> {
        let value = self.header.get(label::ALG).ok_or(CoseError::MissingHeader("alg"))?;
        value.integer().map_err(|_| CoseError::InvalidHeader("alg"))
    }

    /// The protected key identifier.
    ///
    /// # Errors
    /// [`CoseError::MissingHeader`], [`CoseError::InvalidHeader`].
    pub fn key_id(&self) -> Result<&'a [u8], CoseError> {
        let value = self.header.get(label::KID).ok_or(CoseError::MissingHeader("kid"))?;
        value.bytes().map_err(|_| CoseError::InvalidHeader("kid"))
    }

    /// Refuses a message that marks as critical anything that the caller does not understand (RFC 9052 3.1).
    ///
    /// # Errors
    /// [`CoseError::UnknownCritical`], [`CoseError::InvalidHeader`] if the list is empty or none.
    pub fn check_critical(&self, understood: impl Fn(Item<'_>) -> bool) -> Result<(), CoseError> {
        let Some(value) = self.header.get(label::CRIT) else { return Ok(()) };
        let labels = value.array().map_err(|_| CoseError::InvalidHeader("crit"))?;
        if labels.is_empty() {
            return Err(CoseError::InvalidHeader("crit"));
        }
        if labels.into_iter().all(understood) { Ok(()) } else { Err(CoseError::UnknownCritical) }
    }

    /// Verifies the signature over the attached payload.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify(&self, key: &PublicKey, which: WhichAlgorithm) -> Result<(), CoseError> {
        self.verify_payload(key, self.attached_payload()?, which)
    }

    /// Verifies the signature over a payload that is not in the message.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify_detached(&self, key: &PublicKey, payload: &[u8]) -> Result<(), CoseError> {
        if self.payload.is_some() {
            return Err(CoseError::AttachedPayload);
        }
        self.verify_payload(key, payload, WhichAlgorithm::OfTheKey)
    }

    fn verify_payload(
        &self,
        key: &PublicKey,
        payload: &[u8],
        which: WhichAlgorithm,
    ) -> Result<(), CoseError> {
        let algorithm = self.algorithm()?;
        let mismatch = CoseError::AlgorithmMismatch(algorithm);
        match (key.kind(), algorithm) {
            (KeyKind::Ec(curve), algorithm::ES256 | algorithm::ES384 | algorithm::ES512) => {
                if which == WhichAlgorithm::OfTheKey && algorithm != algorithm_of(curve) {
                    return Err(mismatch);
                }
                let digest = digest_to_sign(hash_of(algorithm)?, self.protected, payload);
                key.verify_ecdsa_digest(digest.as_ref(), self.signature, SignatureFormat::P1363)?;
            }
            (KeyKind::Rsa(_), algorithm::PS256 | algorithm::PS384 | algorithm::PS512) => {
                let hash = hash_of(algorithm)?;
                let message = bytes_to_sign(self.protected, payload);
                key.verify_rsa_pss(hash, hash.digest_len(), &message, self.signature)?;
            }
            (
                _,
                algorithm::ES256
                | algorithm::ES384
                | algorithm::ES512
                | algorithm::PS256
                | algorithm::PS384
                | algorithm::PS512,
            ) => return Err(mismatch),
            _ => return Err(CoseError::UnsupportedAlgorithm(algorithm)),
        }
        Ok(())
    }
}

fn hash_of(algorithm: i64) -> Result<HashAlgorithm, CoseError> {
    match algorithm {
        algorithm::ES256 | algorithm::PS256 => Ok(HashAlgorithm::Sha256),
        algorithm::ES384 | algorithm::PS384 => Ok(HashAlgorithm::Sha384),
        algorithm::ES512 | algorithm::PS512 => Ok(HashAlgorithm::Sha512),
        other => Err(CoseError::UnsupportedAlgorithm(other)),
    }
}

/// `["Signature1", ` up to the protected header (RFC 9052 4.4).
const CONTEXT: &[u8] = b"\x84\x6aSignature1";
/// The empty additional data.
const NO_AAD: &[u8] = &[0x40];

/// The digest of the structure that is signed, without building it.
pub(super) fn digest_to_sign(hash: HashAlgorithm, protected: &[u8], payload: &[u8]) -> HashValue {
    let (protected_head, protected_len) = bytes_head(protected.len());
    let (payload_head, payload_len) = bytes_head(payload.len());
    hash.digest_parts(&[
        CONTEXT,
        &protected_head[..protected_len],
        protected,
        NO_AAD,
        &payload_head[..payload_len],
        payload,
    ])
}

/// The structure that is signed, for algorithms that take no digest.
fn bytes_to_sign(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let (protected_head, protected_len) = bytes_head(protected.len());
    let (payload_head, payload_len) = bytes_head(payload.len());
    [CONTEXT, &protected_head[..protected_len], protected, NO_AAD, &payload_head[..payload_len], payload]
        .concat()
}
