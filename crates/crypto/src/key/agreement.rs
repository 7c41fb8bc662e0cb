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

    /// The scalars, shares and secret of the vector in consensus 11.2.
    #[test]
    fn the_secret_of_the_channel_vector() {
        use aws_lc_rs::agreement::{PrivateKey, agree};
        let bytes = |text: &str| hex::decode(text).unwrap();
        let scalar_a = bytes(concat!(
            "3db55dff5bdb78dab81b0c1d1416bcfca43e9ace1e7eb05c663fc97fb316c903",
            "deda2e13b7257308b7a02d8fdab42c4a"
        ));
        let scalar_b = bytes(concat!(
            "0dae6e51f238a7d9c717807e5d9128660a79ee791f5209e502ac76139055801532722c32",
            "4c04cd9e64c5716ac1d41ad9"
        ));
        let point_b = bytes(concat!(
            "046710953ae845c3b024d66028a8c739943db0ef82d8fdacf1d19b939681332ca62c51df87adad4808fa411411c43463a4",
            "bd62315fa87b6af65e74d33b33754ab170d1bbf6b54a45ff39775b8a9b5449f51a06afec1c6f602d73cac949af09aeec"
        ));
        let b = PrivateKey::from_private_key(&ECDH_P384, &scalar_b).unwrap();
        assert_eq!(b.compute_public_key().unwrap().as_ref(), point_b);
        let a = PrivateKey::from_private_key(&ECDH_P384, &scalar_a).unwrap();
        let peer = UnparsedPublicKey::new(&ECDH_P384, &point_b);
        let secret = agree(&a, peer, AgreementError, |secret| Ok(secret.to_vec())).unwrap();
        assert_eq!(
            hex::encode(secret),
            "56c99b3fff2e418ad7b2a0eb684428625bc9e4a7103224bab328eddf842cb1a34336fa0d31e4fcced347e83cba5f3857"
        );
    }
}
