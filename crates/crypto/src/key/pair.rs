//! A key pair of any kind, for input whose kind is not known beforehand.

use zeroize::Zeroizing;

use super::{
    EcKeyPair, Ed25519KeyPair, KeyError, PEM_PKCS1, PEM_PKCS8, PEM_SEC1, PublicKey, RsaKeyPair, X25519KeyPair,
};
use crate::{
    der::{self, DerReader},
    oid, pem,
};

/// A key pair of any supported kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyPair {
    /// ECDSA.
    Ec(EcKeyPair),
    /// RSA.
    Rsa(RsaKeyPair),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
    /// X25519.
    X25519(X25519KeyPair),
}

impl KeyPair {
    /// Reads PEM: PKCS#8 of any kind, SEC1 or PKCS#1. Blocks of other kinds before it are skipped.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        for block in pem::decode_all(text)? {
            match block.label.as_str() {
                PEM_PKCS8 => return Self::from_pkcs8_der(&block.contents),
                PEM_SEC1 => return EcKeyPair::from_sec1_der(&block.contents).map(KeyPair::Ec),
                PEM_PKCS1 => return RsaKeyPair::from_pkcs1_der(&block.contents).map(KeyPair::Rsa),
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
        match reader.nested(der::SEQUENCE)?.expect(der::OID)? {
            oid::EC_PUBLIC_KEY => EcKeyPair::from_pkcs8_der(pkcs8).map(KeyPair::Ec),
            oid::RSA_ENCRYPTION => RsaKeyPair::from_pkcs8_der(pkcs8).map(KeyPair::Rsa),
            oid::ED25519 => Ed25519KeyPair::from_pkcs8_der(pkcs8).map(KeyPair::Ed25519),
            oid::X25519 => X25519KeyPair::from_pkcs8_der(pkcs8).map(KeyPair::X25519),
            _ => Err(KeyError::Unsupported),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        match self {
            KeyPair::Ec(pair) => pair.public_key(),
            KeyPair::Rsa(pair) => pair.public_key(),
            KeyPair::Ed25519(pair) => pair.public_key(),
            KeyPair::X25519(pair) => pair.public_key(),
        }
    }

    /// PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        match self {
            KeyPair::Ec(pair) => pair.to_pkcs8_pem(),
            KeyPair::Rsa(pair) => Ok(pair.to_pkcs8_pem()),
            KeyPair::Ed25519(pair) => pair.to_pkcs8_pem(),
            KeyPair::X25519(pair) => Ok(pair.to_pkcs8_pem()),
        }
    }
}
