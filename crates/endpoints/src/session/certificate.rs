//! The certificate a caller proved to possess, read once per session.

use ccf_crypto::{cert::Certificate, hash};
use ccf_types::{MemberId, UserId};
use std::sync::OnceLock;

/// The leaf certificate of a TLS session, with everything that requests ask of it computed once.
#[derive(Debug)]
pub struct CallerCertificate {
    der: Vec<u8>,
    user_id: UserId,
    member_id: MemberId,
    validity: Option<(i64, i64)>,
    pem: OnceLock<String>,
}

impl CallerCertificate {
    /// A certificate in DER. One that cannot be read is kept as an identity that no policy accepts by its
    /// dates.
    #[must_use]
    pub fn new(der: &[u8]) -> CallerCertificate {
        let digest = hash::sha256(der);
        let validity = Certificate::from_der(der).ok().map(|certificate| {
            let validity = certificate.validity();
            (validity.not_before().unix_timestamp(), validity.not_after().unix_timestamp())
        });
        CallerCertificate {
            der: der.to_vec(),
            user_id: UserId::from_digest(digest.as_bytes()),
            member_id: MemberId::from_digest(digest.as_bytes()),
            validity,
            pem: OnceLock::new(),
        }
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        self.pem.get_or_init(|| ccf_crypto::pem::encode("CERTIFICATE", &self.der))
    }

    /// The identifier of a user with this certificate.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// The identifier of a member with this certificate.
    #[must_use]
    pub fn member_id(&self) -> &MemberId {
        &self.member_id
    }

    /// First and last second of validity, since the Unix epoch; `None` if the certificate cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<(i64, i64)> {
        self.validity
    }
}
