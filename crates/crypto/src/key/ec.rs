//! ECDSA key pairs.

use aws_lc_rs::{
    encoding::AsBigEndian,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    },
};
use ccf_types::Digest;
use zeroize::Zeroizing;

use super::{
    Curve, KeyError, PEM_PKCS8, PEM_SEC1, PublicKey, SignatureError, SignatureFormat,
    signature::{der_to_p1363, fit_digest},
};
use crate::{
    der::{self, DerReader},
    hash::HashAlgorithm,
    oid, pem,
};

/// An ECDSA key pair on P-256, P-384 or P-521: the key of a service, a node, a member or a user.
pub struct EcKeyPair {
    curve: Curve,
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl EcKeyPair {
    /// A fresh key.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn generate(curve: Curve) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(algorithm(curve)).map_err(|_| KeyError::Failed)?;
        Self::new(curve, pair)
    }

    /// Reads PEM `PRIVATE KEY` (PKCS#8) or `EC PRIVATE KEY` (SEC1).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        // OpenSSL puts an `EC PARAMETERS` block before a SEC1 key.
        for block in pem::decode_all(text)? {
            match block.label.as_str() {
                PEM_PKCS8 => return Self::from_pkcs8_der(&block.contents),
                PEM_SEC1 => return Self::from_sec1_der(&block.contents),
                _ => {}
            }
        }
        Err(KeyError::Unsupported)
    }

    /// Reads DER PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let mut reader = DerReader::only(pkcs8, der::SEQUENCE)?;
        reader.expect(der::INTEGER)?;
        let mut key = reader.nested(der::SEQUENCE)?;
        if key.expect(der::OID)? != oid::EC_PUBLIC_KEY {
            return Err(KeyError::Unsupported);
        }
        let parameters = key.any()?;
        let curve = if parameters.tag == der::OID { Curve::from_oid(parameters.content) } else { None };
        let curve = curve.ok_or(KeyError::Unsupported)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm(curve), pkcs8).map_err(|_| KeyError::Invalid)?;
        Self::new(curve, pair)
    }

    /// Reads DER ECPrivateKey (RFC 5915), which must name its curve.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_sec1_der(sec1: &[u8]) -> Result<Self, KeyError> {
        let mut reader = DerReader::only(sec1, der::SEQUENCE)?;
        reader.expect(der::INTEGER)?;
        reader.expect(der::OCTET_STRING)?;
        let mut parameters = reader.nested(der::context(0)).map_err(|_| KeyError::Unsupported)?;
        let curve = Curve::from_oid(parameters.expect(der::OID)?).ok_or(KeyError::Unsupported)?;
        let pair =
            EcdsaKeyPair::from_private_key_der(algorithm(curve), sec1).map_err(|_| KeyError::Invalid)?;
        Self::new(curve, pair)
    }

    /// The key of a scalar and of its point `04, x, y`, which are checked to belong together.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn from_parts(curve: Curve, scalar: &[u8], point: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm(curve), scalar, point)
            .map_err(|_| KeyError::Invalid)?;
        Self::new(curve, pair)
    }

    fn new(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_ec_point(curve, pair.public_key().as_ref())?;
        Ok(EcKeyPair { curve, pair, public })
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The private scalar, as long as the field.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn scalar(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let scalar = self.pair.private_key().as_be_bytes().map_err(|_| KeyError::Failed)?;
        Ok(Zeroizing::new(scalar.as_ref().to_vec()))
    }

    /// DER PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| KeyError::Failed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(Zeroizing::new(pem::encode(PEM_PKCS8, &self.to_pkcs8_der()?)))
    }

    /// Signs the hash of `message`, with any hash on any curve.
    ///
    /// # Errors
    /// [`SignatureError::Failed`].
    pub fn sign(
        &self,
        hash: HashAlgorithm,
        message: &[u8],
        format: SignatureFormat,
    ) -> Result<Vec<u8>, SignatureError> {
        self.sign_digest(hash.digest(message).as_ref(), format)
    }

    /// Signs a digest that is given, of any length.
    ///
    /// # Errors
    /// [`SignatureError::Failed`].
    pub fn sign_digest(&self, digest: &[u8], format: SignatureFormat) -> Result<Vec<u8>, SignatureError> {
        let digest = fit_digest(self.curve, digest)?;
        let signature = self.pair.sign_digest(&digest).map_err(|_| SignatureError::Failed)?;
        match format {
            SignatureFormat::Der => Ok(signature.as_ref().to_vec()),
            SignatureFormat::P1363 => der_to_p1363(self.curve, signature.as_ref()),
        }
    }

    /// The node signature over a Merkle root: the 32 bytes are the ECDSA digest, DER (crypto 7.1).
    ///
    /// # Errors
    /// [`SignatureError::Failed`].
    pub fn sign_root(&self, root: &Digest) -> Result<Vec<u8>, SignatureError> {
        self.sign_digest(&root.0, SignatureFormat::Der)
    }
}

impl std::fmt::Debug for EcKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EcKeyPair({:?})", self.public)
    }
}

fn algorithm(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}
