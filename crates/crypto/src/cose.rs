//! COSE Sign1 (RFC 9052): reading, verifying and making the messages that CCF exchanges.
//!
//! | Type | Message | Specification |
//! |---|---|---|
//! | [`Sign1`] | any tagged COSE_Sign1 | crypto 14.1 |
//! | [`LedgerSignature`] | the service's signature over a Merkle root | crypto 7.2 |
//! | [`MemberRequest`], [`UserRequest`] | signed requests | crypto 14.2, 14.5 |
//! | [`Endorsement`], [`ServiceKeys`] | a service's word for its predecessors | crypto 12.2 |
//!
//! Messages are read in place, without copying the payload, and what was signed is verified as the bytes that
//! came, in whatever order their maps are.

mod edit;
mod endorsement;
mod identity;
mod ledger;
mod message;
mod request;
mod sign;

pub use edit::{UnprotectedValue, set_unprotected_header};
pub use endorsement::{Endorsement, EndorsementRecord, endorse_previous_service, endorse_self};
pub use identity::{IdentityError, ServiceKeys, verify_endorsements};
pub use ledger::{LedgerSignature, LedgerSignatureHeader, SignatureClaims, sign_ledger_root};
pub use message::{Sign1, WhichAlgorithm};
pub use request::{MemberRequest, MessageType, UserRequest};
pub use sign::{Payload, algorithm_of, sign1};

use crate::{
    cbor::CborError,
    key::{KeyError, SignatureError},
};

/// Why a message was refused or not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseError {
    /// Not CBOR, or CBOR that is not accepted.
    #[error("malformed COSE message: {0}")]
    Cbor(#[from] CborError),
    /// CBOR, but not an array of four with the tag 18.
    #[error("not a tagged COSE_Sign1 message")]
    NotSign1,
    /// A header parameter is missing.
    #[error("missing COSE header {0}")]
    MissingHeader(&'static str),
    /// A header parameter has the wrong type or an impossible value.
    #[error("invalid COSE header {0}")]
    InvalidHeader(&'static str),
    /// The payload is not in the message.
    #[error("the COSE payload is detached")]
    DetachedPayload,
    /// The payload is in the message where it must not be.
    #[error("the COSE payload is not detached")]
    AttachedPayload,
    /// An algorithm that is not accepted here.
    #[error("unsupported COSE algorithm {0}")]
    UnsupportedAlgorithm(i64),
    /// An algorithm that does not belong to the key.
    #[error("COSE algorithm {0} does not fit the key")]
    AlgorithmMismatch(i64),
    /// A header parameter marked critical that is not understood.
    #[error("unknown critical COSE header")]
    UnknownCritical,
    /// The key identifier is no text, so it names nobody.
    #[error("the key identifier is not that of a member or user")]
    UnknownKeyId,
    /// The message is of another type than expected.
    #[error("unexpected message type")]
    WrongType,
    /// The signature does not verify, or signing failed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A key inside the message is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl CoseError {
    /// Whether the message could not be understood, as opposed to understood and not accepted.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            CoseError::Cbor(_)
                | CoseError::NotSign1
                | CoseError::MissingHeader(_)
                | CoseError::InvalidHeader(_)
                | CoseError::DetachedPayload
                | CoseError::AttachedPayload
        )
    }
}

/// Labels of header parameters (IANA "COSE Header Parameters").
pub mod label {
    /// Algorithm.
    pub const ALG: i64 = 1;
    /// Labels that must be understood.
    pub const CRIT: i64 = 2;
    /// Key identifier.
    pub const KID: i64 = 4;
    /// CWT claims.
    pub const CWT_CLAIMS: i64 = 15;
    /// Certificate chain.
    pub const X5CHAIN: i64 = 33;
    /// Verifiable data structure.
    pub const VDS: i64 = 395;
    /// Verifiable data proofs.
    pub const VDP: i64 = 396;
    /// Facts of CCF, a map with text keys.
    pub const CCF_V1: &str = "ccf.v1";

    /// CWT claim: issuer.
    pub const CWT_ISS: i64 = 1;
    /// CWT claim: subject.
    pub const CWT_SUB: i64 = 2;
    /// CWT claim: issued at, seconds since 1970.
    pub const CWT_IAT: i64 = 6;
}

/// Numbers of signature algorithms (IANA "COSE Algorithms").
pub mod algorithm {
    /// ECDSA with SHA-256.
    pub const ES256: i64 = -7;
    /// ECDSA with SHA-384.
    pub const ES384: i64 = -35;
    /// ECDSA with SHA-512.
    pub const ES512: i64 = -36;
    /// RSASSA-PSS with SHA-256.
    pub const PS256: i64 = -37;
    /// RSASSA-PSS with SHA-384.
    pub const PS384: i64 = -38;
    /// RSASSA-PSS with SHA-512.
    pub const PS512: i64 = -39;
}

/// The tag of COSE_Sign1.
pub(crate) const SIGN1_TAG: u64 = 18;
/// The verifiable data structure of CCF ledgers with SHA-256.
pub const VDS_CCF_LEDGER: i64 = 2;
