//! Key pairs and public keys.
//!
//! A [`PublicKey`] is parsed once and then verifies often; it is cheap to clone. Private keys are wiped when
//! dropped, have no readable `Debug`, and leave the process only through the functions named `to_pkcs8_*` and
//! their like, which return wiping buffers.

mod agreement;
mod ec;
mod edwards;
mod pair;
mod public;
mod rsa;
mod signature;

pub use agreement::{AgreementError, EphemeralKey};
pub use ec::EcKeyPair;
pub use edwards::{Ed25519KeyPair, X25519KeyPair};
pub use pair::KeyPair;
pub use public::{KeyKind, PublicKey};
pub use rsa::{RSA_BITS_MAX, RSA_BITS_MIN, RsaKeyPair, RsaPrivateParts};
pub use signature::{SignatureError, SignatureFormat, der_to_p1363, p1363_to_der};

use crate::{der::DerError, hash::HashAlgorithm, oid, pem::PemError, random::RandomError};

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, `Secp256R1` in configuration.
    P256,
    /// NIST P-384, `Secp384R1`, the default of services and nodes.
    P384,
    /// NIST P-521, for members and users.
    P521,
}

impl Curve {
    /// All curves.
    pub const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    /// Bytes of a scalar or a coordinate, and of each half of a fixed-width signature.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// The hash that goes with the curve in certificates and COSE.
    #[must_use]
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Curve::P256 => HashAlgorithm::Sha256,
            Curve::P384 => HashAlgorithm::Sha384,
            Curve::P521 => HashAlgorithm::Sha512,
        }
    }

    pub(crate) const fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => oid::P256,
            Curve::P384 => oid::P384,
            Curve::P521 => oid::P521,
        }
    }

    pub(crate) fn from_oid(oid: &[u8]) -> Option<Curve> {
        Curve::ALL.into_iter().find(|curve| curve.oid() == oid)
    }
}

/// Why a key could not be read, made or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM, or PEM of something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not the DER structure of such a key.
    #[error("malformed key")]
    Malformed,
    /// A kind, curve or size of key that is not supported.
    #[error("unsupported kind of key")]
    Unsupported,
    /// Well-formed, but the numbers do not make a key (a point off the curve, parts that do not fit together).
    #[error("invalid key")]
    Invalid,
    /// The library failed to make or to write a key.
    #[error("key operation failed")]
    Failed,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<DerError> for KeyError {
    fn from(_: DerError) -> Self {
        KeyError::Malformed
    }
}

/// Labels of PEM blocks.
pub(crate) const PEM_PUBLIC: &str = "PUBLIC KEY";
pub(crate) const PEM_PKCS8: &str = "PRIVATE KEY";
pub(crate) const PEM_SEC1: &str = "EC PRIVATE KEY";
pub(crate) const PEM_PKCS1: &str = "RSA PRIVATE KEY";
