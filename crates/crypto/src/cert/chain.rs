//! Chains of certificates, with or without dates (crypto 2).
//!
//! General-purpose checkers always look at the clock and refuse a CA certificate as a leaf, self-signed or of
//! version 1: none of that fits receipts, node channels and previous services. This one looks for a path from the
//! target, through intermediates, to a trusted certificate, which may itself be an intermediate or the target.

use time::OffsetDateTime;

use super::Certificate;
use crate::oid;

/// Most certificates in one chain, target and trusted one included.
pub const CHAIN_LEN_MAX: usize = 10;
/// Most signatures verified in the search for a chain, so that a hostile bundle cannot keep us busy.
const SIGNATURES_MAX: usize = 64;

/// Why no chain leads to a trusted certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No certificate is trusted.
    #[error("no trusted certificate given")]
    NothingTrusted,
    /// A certificate given as trusted is not a CA.
    #[error("a trusted certificate is not a CA")]
    TrustedNotCa,
    /// No chain of valid signatures, constraints and dates.
    #[error("no valid certificate chain to a trusted certificate")]
    NoChain,
    /// The search was given up.
    #[error("too many certificates to try")]
    TooComplex,
}

/// Looks for a chain from `target` to one of `trusted`, each of which must be a CA.
///
/// Checked along the chain: issuer names, signatures, CA flag, key usage and path length of issuers, no critical
/// extension that is unknown here, and, when `at` is given, that every certificate is valid at that time.
///
/// # Errors
/// [`ChainError`].
pub fn verify_chain(
    target: &Certificate,
    intermediates: &[Certificate],
    trusted: &[Certificate],
    at: Option<OffsetDateTime>,
) -> Result<(), ChainError> {
    if trusted.is_empty() {
        return Err(ChainError::NothingTrusted);
    }
    if !trusted.iter().all(Certificate::is_ca) {
        return Err(ChainError::TrustedNotCa);
    }
    let mut search = Search { intermediates, trusted, at, chain: vec![target], signatures: 0 };
    if search.is_usable(target) && search.extend()? { Ok(()) } else { Err(ChainError::NoChain) }
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    trusted: &'a [Certificate],
    at: Option<OffsetDateTime>,
    /// From the target up to the certificate whose issuer is looked for.
    chain: Vec<&'a Certificate>,
    signatures: usize,
}

impl<'a> Search<'a> {
    /// Whether the chain ends at a trusted certificate or can be made to.
    fn extend(&mut self) -> Result<bool, ChainError> {
        let Some(&last) = self.chain.last() else { return Ok(false) };
        if self.trusted.contains(last) {
            return Ok(true);
        }
        if self.chain.len() == CHAIN_LEN_MAX {
            return Ok(false);
        }
        let (trusted, intermediates): (&'a [_], &'a [_]) = (self.trusted, self.intermediates);
        for issuer in trusted.iter().chain(intermediates) {
            if self.chain.contains(&issuer) || !last.names_as_issuer(issuer) || !self.may_issue(issuer) {
                continue;
            }
            self.signatures += 1;
            if self.signatures > SIGNATURES_MAX {
                return Err(ChainError::TooComplex);
            }
            let Ok(key) = issuer.public_key() else { continue };
            if last.verify_signed_by(key).is_err() {
                continue;
            }
            self.chain.push(issuer);
            if self.extend()? {
                return Ok(true);
            }
            self.chain.pop();
        }
        Ok(false)
    }

    fn may_issue(&self, issuer: &Certificate) -> bool {
        // The target does not count, nor do certificates that only renew their issuer's name (RFC 5280 6.1.4).
        let below =
            self.chain.iter().skip(1).filter(|certificate| !certificate.is_self_issued()).count() as u64;
        self.is_usable(issuer)
            && issuer.is_ca()
            && issuer.may_sign_certificates()
            && issuer.path_len().is_none_or(|limit| below <= limit)
    }

    fn is_usable(&self, certificate: &Certificate) -> bool {
        const KNOWN: [&[u8]; 6] = [
            oid::BASIC_CONSTRAINTS,
            oid::KEY_USAGE,
            oid::EXTENDED_KEY_USAGE,
            oid::SUBJECT_ALT_NAME,
            oid::SUBJECT_KEY_ID,
            oid::AUTHORITY_KEY_ID,
        ];
        let understood =
            certificate.extensions().all(|extension| KNOWN.contains(&extension.oid) || !extension.critical)
                && certificate.extension(oid::NAME_CONSTRAINTS).is_none();
        understood && self.at.is_none_or(|at| certificate.is_valid_at(at))
    }
}
