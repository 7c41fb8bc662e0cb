//! Ephemeral Diffie-Hellman over the NIST curves (NIST SP 800-56A, 5.7.1.2): one key, one agreement.

use super::Curve;
use crate::random::RandomError;
use aws_lc_rs::{
    agreement::{
        Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
    },
    rand::SystemRandom,
};
use zeroize::Zeroizing;

/// The other side's point is malformed or not on the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's key share is not a point of the curve")]
pub struct AgreementError;

/// A private key that is used once.
pub struct EphemeralKey {
    curve: Curve,
    private: EphemeralPrivateKey,
    point: Vec<u8>,
}

impl EphemeralKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`RandomError`] if the system has no randomness.
    pub fn generate(curve: Curve) -> Result<EphemeralKey, RandomError> {
        let private =
            EphemeralPrivateKey::generate(algorithm(curve), &SystemRandom::new()).map_err(|_| RandomError)?;
        let point = private.compute_public_key().map_err(|_| RandomError)?.as_ref().to_vec();
        Ok(EphemeralKey { curve, private, point })
    }

    /// The public point, uncompressed: what the other side needs.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// The shared secret: the x coordinate, as wide as the field.
    ///
    /// # Errors
    /// [`AgreementError`] unless `peer_point` is an uncompressed point of the same curve.
    pub fn agree(self, peer_point: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgreementError> {
        if peer_point.len() != 1 + 2 * self.curve.field_len() || peer_point.first() != Some(&4) {
            return Err(AgreementError);
        }
        let peer = UnparsedPublicKey::new(algorithm(self.curve), peer_point);
        agree_ephemeral(self.private, peer, AgreementError, |secret| Ok(Zeroizing::new(secret.to_vec())))
    }
}

fn algorithm(curve: Curve) -> &'static Algorithm {
    match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
        Curve::P521 => &ECDH_P521,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_bad_points_are_refused() {
        for curve in Curve::ALL {
            let (a, b) = (EphemeralKey::generate(curve).unwrap(), EphemeralKey::generate(curve).unwrap());
            let (point_a, point_b) = (a.point().to_vec(), b.point().to_vec());
            let (secret_a, secret_b) = (a.agree(&point_b).unwrap(), b.agree(&point_a).unwrap());
            assert_eq!(secret_a.len(), curve.field_len());
            assert_eq!(secret_a, secret_b);
            let mut off_curve = point_a.clone();
            *off_curve.last_mut().unwrap() ^= 1;
            for bad in [&off_curve[..], &point_a[1..], &[], &[4; 133]] {
                let key = EphemeralKey::generate(curve).unwrap();
                assert_eq!(key.agree(bad).unwrap_err(), AgreementError);
            }
        }
    }
}
