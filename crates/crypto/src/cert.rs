//! X.509 certificates and signing requests: the profile of CCF (crypto 2), a tolerant reader, a chain checker.
//!
//! Reading takes any certificate (version 1, expired, unknown extensions); judging is a separate step. Dates are
//! compared with a time that the caller gives, or not at all where the specification says so.

mod algorithm;
mod certificate;
mod chain;
mod csr;
mod issue;
mod name;
mod san;
mod validity;

pub use certificate::{Certificate, Extension};
pub use chain::{CHAIN_LEN_MAX, ChainError, verify_chain};
pub use csr::SigningRequest;
pub use issue::{CertificateKind, Issuer, renew_self_signed, self_signed};
pub use name::{InvalidName, Name};
pub use san::{InvalidSan, SubjectAltName};
pub use validity::{InvalidValidity, Validity, parse_valid_from};

use crate::{
    der::DerError,
    key::{KeyError, SignatureError},
    pem::PemError,
    random::RandomError,
};

/// Why a certificate or signing request could not be read, checked or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not PEM, or PEM of something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not DER of a certificate or of a request.
    #[error("malformed certificate or signing request")]
    Malformed,
    /// Larger than [`CERTIFICATE_BYTES_MAX`].
    #[error("certificate of {0} bytes is too large")]
    TooLarge(usize),
    /// The key in it cannot be used.
    #[error("certificate key: {0}")]
    Key(#[from] KeyError),
    /// The signature does not verify, or signing failed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The issuer's key is not the one in the issuer's certificate.
    #[error("the issuer's key and certificate do not belong together")]
    IssuerMismatch,
    /// No random serial number.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<DerError> for CertificateError {
    fn from(_: DerError) -> Self {
        CertificateError::Malformed
    }
}

/// Largest certificate or request that is read.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

pub(crate) const PEM_CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PEM_REQUEST: &str = "CERTIFICATE REQUEST";
