//! The two encodings of an ECDSA signature, and the digest that ECDSA is given.

use aws_lc_rs::digest::Digest;

use super::Curve;
use crate::der::{DerReader, DerWriter, SEQUENCE};

/// How an ECDSA signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFormat {
    /// DER sequence of two integers, as in X.509 and in ledger signatures.
    Der,
    /// `r` then `s`, each as long as the curve's order (IEEE P1363, COSE).
    P1363,
}

/// Why a signature was not made or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It does not verify, or is not the encoding of a signature.
    #[error("signature does not verify")]
    Invalid,
    /// The key cannot be used with this algorithm.
    #[error("the key does not fit the signature algorithm")]
    WrongKey,
    /// The library failed to sign.
    #[error("signing failed")]
    Failed,
}

/// The digest as ECDSA on `curve` sees it, in the length of the curve's own hash.
///
/// ECDSA reads a digest as an integer and keeps the leftmost bits of one that is longer than the order. A longer
/// digest is therefore cut and a shorter one padded on the left, which changes nothing in the signature but
/// lets one algorithm of the library serve every pair of curve and hash, and the bare 32-byte roots of ledger
/// signatures (crypto 7.1).
pub(crate) fn fit_digest(curve: Curve, digest: &[u8]) -> Result<Digest, SignatureError> {
    let algorithm = curve.hash().primitive();
    let length = curve.hash().digest_len();
    let mut fitted = [0; 64];
    if digest.len() >= length {
        fitted[..length].copy_from_slice(&digest[..length]);
    } else {
        fitted[length - digest.len()..length].copy_from_slice(digest);
    }
    Digest::import_less_safe(&fitted[..length], algorithm).map_err(|_| SignatureError::Failed)
}

/// Rewrites a DER signature in fixed width.
///
/// # Errors
/// [`SignatureError::Invalid`] if it is not DER or a number is too long for the curve.
pub fn der_to_p1363(curve: Curve, der: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let width = curve.field_len();
    let mut fixed = vec![0; 2 * width];
    let mut reader = DerReader::only(der, SEQUENCE).map_err(|_| SignatureError::Invalid)?;
    for half in fixed.chunks_exact_mut(width) {
        let digits = reader.unsigned().map_err(|_| SignatureError::Invalid)?;
        let start = width.checked_sub(digits.len()).ok_or(SignatureError::Invalid)?;
        half[start..].copy_from_slice(digits);
    }
    reader.end().map_err(|_| SignatureError::Invalid)?;
    Ok(fixed)
}

/// Rewrites a fixed-width signature, whose two halves must be of the curve's length, in DER.
///
/// # Errors
/// [`SignatureError::Invalid`] if the length is wrong.
pub fn p1363_to_der(curve: Curve, fixed: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let width = curve.field_len();
    if fixed.len() != 2 * width {
        return Err(SignatureError::Invalid);
    }
    let mut writer = DerWriter::with_capacity(fixed.len() + 12);
    writer.nested(SEQUENCE, |w| {
        w.unsigned(&fixed[..width]);
        w.unsigned(&fixed[width..]);
    });
    Ok(writer.finish_public())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn formats_round_trip(
            bytes in prop::collection::vec(any::<u8>(), 132),
            zeros in 0usize..66,
            curve in prop::sample::select(Curve::ALL.to_vec()),
        ) {
            let mut fixed = bytes[..2 * curve.field_len()].to_vec();
            let zeros = zeros.min(curve.field_len());
            fixed[..zeros].fill(0);
            let der = p1363_to_der(curve, &fixed).unwrap();
            prop_assert_eq!(der_to_p1363(curve, &der).unwrap(), fixed);
            prop_assert!(der_to_p1363(curve, &der[..der.len() - 1]).is_err());
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(p1363_to_der(Curve::P384, &[1; 95]), Err(SignatureError::Invalid));
        let der = p1363_to_der(Curve::P384, &[0x11; 96]).unwrap();
        assert_eq!(der_to_p1363(Curve::P256, &der), Err(SignatureError::Invalid));
    }
}
