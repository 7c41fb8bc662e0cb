//! Public keys: reading, writing, naming, verifying.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
};
use ccf_types::{Digest, NodeId};

use super::{
    Curve, KeyError, PEM_PUBLIC, SignatureError, SignatureFormat,
    rsa::{self, RsaPublicParts},
    signature::{fit_digest, p1363_to_der},
};
use crate::{
    der::{self, DerReader, DerWriter},
    hash::{HashAlgorithm, sha256},
    oid, pem,
};

/// What a public key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on a curve.
    Ec(Curve),
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// Ed25519 signatures.
    Ed25519,
    /// X25519 key agreement; verifies nothing.
    X25519,
}

/// A public key, checked when read and ready to verify. Clones share one parsed key.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    spki: Box<[u8]>,
    id: Digest,
    kind: KeyKind,
    /// Start of the key bits within `spki`; they run to its end.
    bits: usize,
    verifier: Verifier,
}

enum Verifier {
    Parsed(ParsedPublicKey),
    /// One parsed key per padding and hash, made at first use: the library ties a parsed key to its algorithm.
    Rsa(Box<[OnceLock<Option<ParsedPublicKey>>; RSA_ALGORITHMS.len()]>),
    None,
}

static RSA_ALGORITHMS: [(RsaPadding, HashAlgorithm, &RsaParameters); 6] = [
    (RsaPadding::Pkcs1, HashAlgorithm::Sha256, &RSA_PKCS1_2048_8192_SHA256),
    (RsaPadding::Pkcs1, HashAlgorithm::Sha384, &RSA_PKCS1_2048_8192_SHA384),
    (RsaPadding::Pkcs1, HashAlgorithm::Sha512, &RSA_PKCS1_2048_8192_SHA512),
    (RsaPadding::Pss, HashAlgorithm::Sha256, &RSA_PSS_2048_8192_SHA256),
    (RsaPadding::Pss, HashAlgorithm::Sha384, &RSA_PSS_2048_8192_SHA384),
    (RsaPadding::Pss, HashAlgorithm::Sha512, &RSA_PSS_2048_8192_SHA512),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum RsaPadding {
    Pkcs1,
    Pss,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] if it is malformed, of an unsupported kind, or not a valid key.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let mut reader = DerReader::only(spki, der::SEQUENCE)?;
        let mut algorithm = reader.nested(der::SEQUENCE)?;
        let bits = reader.bit_string()?;
        reader.end()?;
        let kind = match algorithm.expect(der::OID)? {
            oid::EC_PUBLIC_KEY => {
                // Named curves only; explicit parameters are a known attack.
                let parameters = algorithm.any()?;
                let curve =
                    if parameters.tag == der::OID { Curve::from_oid(parameters.content) } else { None };
                KeyKind::Ec(curve.ok_or(KeyError::Unsupported)?)
            }
            oid::RSA_ENCRYPTION => {
                if !algorithm.is_empty() && !algorithm.expect(der::NULL)?.is_empty() {
                    return Err(KeyError::Malformed);
                }
                KeyKind::Rsa(RsaPublicParts::from_pkcs1(bits)?.bits())
            }
            oid::ED25519 => KeyKind::Ed25519,
            oid::X25519 => KeyKind::X25519,
            _ => return Err(KeyError::Unsupported),
        };
        algorithm.end()?;
        if !has_shape_of(kind, bits) {
            return Err(KeyError::Malformed);
        }
        let verifier = match kind {
            KeyKind::Ec(Curve::P256) => parsed(ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bits))?,
            KeyKind::Ec(Curve::P384) => parsed(ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, bits))?,
            KeyKind::Ec(Curve::P521) => parsed(ParsedPublicKey::new(&ECDSA_P521_SHA512_ASN1, bits))?,
            KeyKind::Ed25519 => parsed(ParsedPublicKey::new(&ED25519, bits))?,
            KeyKind::Rsa(_) => Verifier::Rsa(Default::default()),
            KeyKind::X25519 => Verifier::None,
        };
        Ok(PublicKey(Arc::new(Inner {
            id: sha256(spki),
            bits: spki.len() - bits.len(),
            spki: spki.into(),
            kind,
            verifier,
        })))
    }

    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_spki_der(&pem::decode_labelled(text, PEM_PUBLIC)?)
    }

    /// The key of an uncompressed point `04, x, y`.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if the point is not on the curve.
    pub fn from_ec_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let mut writer = DerWriter::with_capacity(point.len() + 32);
        writer.nested(der::SEQUENCE, |w| {
            w.nested(der::SEQUENCE, |w| {
                w.element(der::OID, oid::EC_PUBLIC_KEY);
                w.element(der::OID, curve.oid());
            });
            w.bit_string(point);
        });
        Self::from_spki_der(&writer.finish_public())
    }

    /// The RSA key of a modulus and an exponent, both unsigned big-endian.
    ///
    /// # Errors
    /// [`KeyError`] if the numbers make no key of a supported size.
    pub fn from_rsa_parts(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let mut pkcs1 = DerWriter::with_capacity(modulus.len() + exponent.len() + 16);
        pkcs1.nested(der::SEQUENCE, |w| {
            w.unsigned(modulus);
            w.unsigned(exponent);
        });
        let pkcs1 = pkcs1.finish_public();
        let mut writer = DerWriter::with_capacity(pkcs1.len() + 32);
        writer.nested(der::SEQUENCE, |w| {
            w.nested(der::SEQUENCE, |w| {
                w.element(der::OID, oid::RSA_ENCRYPTION);
                w.element(der::NULL, b"");
            });
            w.bit_string(&pkcs1);
        });
        Self::from_spki_der(&writer.finish_public())
    }

    /// The Ed25519 key of these 32 bytes.
    ///
    /// # Errors
    /// [`KeyError`] if they are no key.
    pub fn from_ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_curve25519(oid::ED25519, bytes)
    }

    /// The X25519 key of these 32 bytes.
    ///
    /// # Errors
    /// [`KeyError`] if the length is wrong.
    pub fn from_x25519(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_curve25519(oid::X25519, bytes)
    }

    fn from_curve25519(oid: &[u8], bytes: &[u8]) -> Result<Self, KeyError> {
        let mut writer = DerWriter::with_capacity(48);
        writer.nested(der::SEQUENCE, |w| {
            w.algorithm(oid);
            w.bit_string(bytes);
        });
        Self::from_spki_der(&writer.finish_public())
    }

    /// DER SubjectPublicKeyInfo, as it was read.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// PEM `PUBLIC KEY`, ended by a newline.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_PUBLIC, &self.0.spki)
    }

    /// What the key is for.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// The curve of an ECDSA key.
    #[must_use]
    pub fn curve(&self) -> Option<Curve> {
        match self.0.kind {
            KeyKind::Ec(curve) => Some(curve),
            _ => None,
        }
    }

    /// SHA-256 of [`PublicKey::spki_der`]; in hex it is a node id and the `kid` of ledger signatures.
    #[must_use]
    pub fn id(&self) -> &Digest {
        &self.0.id
    }

    /// The id of the node that has this key (crypto 1.2).
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_digest(&self.0.id.0)
    }

    /// The content of the bit string: a point, a PKCS#1 key, or 32 bytes.
    #[must_use]
    pub fn key_bits(&self) -> &[u8] {
        &self.0.spki[self.0.bits..]
    }

    /// Modulus and exponent of an RSA key, minimal big-endian.
    #[must_use]
    pub fn rsa_parts(&self) -> Option<(&[u8], &[u8])> {
        match self.0.kind {
            KeyKind::Rsa(_) => {
                let parts = RsaPublicParts::from_pkcs1(self.key_bits()).ok()?;
                Some((parts.modulus, parts.exponent))
            }
            _ => None,
        }
    }

    /// Verifies ECDSA over the hash of `message`, whichever hash and curve.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_ecdsa(
        &self,
        hash: HashAlgorithm,
        message: &[u8],
        signature: &[u8],
        format: SignatureFormat,
    ) -> Result<(), SignatureError> {
        self.verify_ecdsa_digest(hash.digest(message).as_ref(), signature, format)
    }

    /// Verifies ECDSA over a digest that is given, of any length: a ledger signature's is the 32-byte root
    /// whatever the curve (crypto 7.1).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_ecdsa_digest(
        &self,
        digest: &[u8],
        signature: &[u8],
        format: SignatureFormat,
    ) -> Result<(), SignatureError> {
        let (KeyKind::Ec(curve), Verifier::Parsed(key)) = (self.0.kind, &self.0.verifier) else {
            return Err(SignatureError::WrongKey);
        };
        let digest = fit_digest(curve, digest)?;
        let verified = match format {
            SignatureFormat::Der => key.verify_digest_sig(&digest, signature),
            SignatureFormat::P1363 => key.verify_digest_sig(&digest, &p1363_to_der(curve, signature)?),
        };
        verified.map_err(|_| SignatureError::Invalid)
    }

    /// Verifies the node signature over a Merkle root: ECDSA with the root as the digest, DER (crypto 7.1).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_root(&self, root: &Digest, signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_ecdsa_digest(&root.0, signature, SignatureFormat::Der)
    }

    /// Verifies RSASSA-PKCS1-v1_5. Keys below 2048 bits are refused.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_rsa_pkcs1(
        &self,
        hash: HashAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        self.verify_rsa(RsaPadding::Pkcs1, hash, message, signature)
    }

    /// Verifies RSASSA-PSS with MGF1 of the same hash and a salt of `salt_len` bytes.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_rsa_pss(
        &self,
        hash: HashAlgorithm,
        salt_len: usize,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self.0.kind {
            KeyKind::Rsa(bits) if salt_len == hash.digest_len() && rsa::is_common_size(bits) => {
                self.verify_rsa(RsaPadding::Pss, hash, message, signature)
            }
            KeyKind::Rsa(_) => rsa::verify_pss(self.key_bits(), hash, salt_len, message, signature),
            _ => Err(SignatureError::WrongKey),
        }
    }

    fn verify_rsa(
        &self,
        padding: RsaPadding,
        hash: HashAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let Verifier::Rsa(cache) = &self.0.verifier else { return Err(SignatureError::WrongKey) };
        let (slot, (_, _, parameters)) = cache
            .iter()
            .zip(&RSA_ALGORITHMS)
            .find(|(_, entry)| entry.0 == padding && entry.1 == hash)
            .ok_or(SignatureError::WrongKey)?;
        slot.get_or_init(|| ParsedPublicKey::new(*parameters, self.key_bits()).ok())
            .as_ref()
            .ok_or(SignatureError::WrongKey)?
            .verify_sig(message, signature)
            .map_err(|_| SignatureError::Invalid)
    }

    /// Verifies Ed25519.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_ed25519(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match (self.0.kind, &self.0.verifier) {
            (KeyKind::Ed25519, Verifier::Parsed(key)) => {
                key.verify_sig(message, signature).map_err(|_| SignatureError::Invalid)
            }
            _ => Err(SignatureError::WrongKey),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.0.kind, self.0.id)
    }
}

/// Whether the bit string holds a point or raw bytes of the right length; the library would also take a whole
/// SubjectPublicKeyInfo in its place.
fn has_shape_of(kind: KeyKind, bits: &[u8]) -> bool {
    match (kind, bits.first()) {
        (KeyKind::Ec(curve), Some(0x04)) => bits.len() == 1 + 2 * curve.field_len(),
        (KeyKind::Ec(curve), Some(0x02 | 0x03)) => bits.len() == 1 + curve.field_len(),
        (KeyKind::Ec(_), _) => false,
        (KeyKind::Rsa(_), _) => true,
        (KeyKind::Ed25519 | KeyKind::X25519, _) => bits.len() == 32,
    }
}

fn parsed<E>(key: Result<ParsedPublicKey, E>) -> Result<Verifier, KeyError> {
    key.map(Verifier::Parsed).map_err(|_| KeyError::Invalid)
}
