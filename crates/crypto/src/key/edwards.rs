//! Ed25519 signing keys and X25519 agreement keys (RFC 8032, RFC 7748, RFC 8410).

use aws_lc_rs::{
    agreement,
    encoding::{AsBigEndian, Curve25519SeedBin},
    signature::{self, KeyPair as _},
};
use zeroize::Zeroizing;

use super::{KeyError, PEM_PKCS8, PublicKey, SignatureError};
use crate::{
    der::{self, DerReader, DerWriter},
    oid, pem,
};

/// An Ed25519 signing key.
pub struct Ed25519KeyPair {
    pair: signature::Ed25519KeyPair,
    public: PublicKey,
}

impl Ed25519KeyPair {
    /// A fresh key.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(signature::Ed25519KeyPair::generate().map_err(|_| KeyError::Failed)?)
    }

    /// The key of a 32-byte seed.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if the length is wrong.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        Self::new(signature::Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Invalid)?)
    }

    /// Reads PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8_der(&pem::decode_labelled(text, PEM_PKCS8)?)
    }

    /// Reads DER PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Self::from_seed(read_pkcs8(pkcs8, oid::ED25519)?)
    }

    fn new(pair: signature::Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_ed25519(pair.public_key().as_ref())?;
        Ok(Ed25519KeyPair { pair, public })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The 32 private bytes.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn seed(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let seed = self.pair.seed().map_err(|_| KeyError::Failed)?;
        let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| KeyError::Failed)?;
        Ok(Zeroizing::new(seed.as_ref().to_vec()))
    }

    /// DER PKCS#8, the short form that OpenSSL writes.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(write_pkcs8(oid::ED25519, &self.seed()?))
    }

    /// PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(Zeroizing::new(pem::encode(PEM_PKCS8, &self.to_pkcs8_der()?)))
    }

    /// Signs `message`: 64 bytes.
    ///
    /// # Errors
    /// [`SignatureError::Failed`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature = self.pair.try_sign(message).map_err(|_| SignatureError::Failed)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// An X25519 key, which scripts can make and convert; nothing here agrees on secrets with it.
pub struct X25519KeyPair {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl X25519KeyPair {
    /// A fresh key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn generate() -> Result<Self, KeyError> {
        let private = Zeroizing::new(crate::random::bytes::<32>()?);
        Self::from_private(&*private)
    }

    /// The key of 32 private bytes.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if the length is wrong.
    pub fn from_private(bytes: &[u8]) -> Result<Self, KeyError> {
        let private = Zeroizing::new(<[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Invalid)?);
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, &*private)
            .map_err(|_| KeyError::Invalid)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Failed)?;
        Ok(X25519KeyPair { private, public: PublicKey::from_x25519(public.as_ref())? })
    }

    /// Reads PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8_der(&pem::decode_labelled(text, PEM_PKCS8)?)
    }

    /// Reads DER PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Self::from_private(read_pkcs8(pkcs8, oid::X25519)?)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The 32 private bytes.
    #[must_use]
    pub fn private_bytes(&self) -> &[u8; 32] {
        &self.private
    }

    /// DER PKCS#8.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        write_pkcs8(oid::X25519, &*self.private)
    }

    /// PEM `PRIVATE KEY`.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode(PEM_PKCS8, &self.to_pkcs8_der()))
    }
}

impl std::fmt::Debug for Ed25519KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ed25519KeyPair({:?})", self.public)
    }
}

impl std::fmt::Debug for X25519KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "X25519KeyPair({:?})", self.public)
    }
}

/// The private bytes of a PKCS#8 key of the algorithm `oid`; what follows them (attributes, the public key of
/// version 2) is not looked at.
fn read_pkcs8<'a>(pkcs8: &'a [u8], oid: &[u8]) -> Result<&'a [u8], KeyError> {
    let mut reader = DerReader::only(pkcs8, der::SEQUENCE)?;
    reader.expect(der::INTEGER)?;
    let mut algorithm = reader.nested(der::SEQUENCE)?;
    if algorithm.expect(der::OID)? != oid {
        return Err(KeyError::Unsupported);
    }
    algorithm.end()?;
    let mut key = reader.nested(der::OCTET_STRING)?;
    let private = key.expect(der::OCTET_STRING)?;
    key.end()?;
    Ok(private)
}

fn write_pkcs8(oid: &[u8], private: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut writer = DerWriter::with_capacity(64);
    writer.nested(der::SEQUENCE, |w| {
        w.unsigned(&[0]);
        w.algorithm(oid);
        w.nested(der::OCTET_STRING, |w| w.element(der::OCTET_STRING, private));
    });
    writer.finish()
}
