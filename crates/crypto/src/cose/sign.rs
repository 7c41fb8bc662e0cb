//! Making COSE_Sign1 messages with ECDSA keys.

use super::{CoseError, SIGN1_TAG, algorithm, message::digest_to_sign};
use crate::{
    cbor::Writer,
    key::{Curve, EcKeyPair, SignatureFormat},
};

/// Whether a payload travels in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// In the message.
    Attached(&'a [u8]),
    /// Known to the verifier from elsewhere.
    Detached(&'a [u8]),
}

/// The algorithm that goes with a curve.
#[must_use]
pub const fn algorithm_of(curve: Curve) -> i64 {
    match curve {
        Curve::P256 => algorithm::ES256,
        Curve::P384 => algorithm::ES384,
        Curve::P521 => algorithm::ES512,
    }
}

/// Signs: a tagged message with an empty unprotected header. `protected` is the encoded protected header, which
/// must name the algorithm of the key.
///
/// # Errors
/// [`CoseError::Signature`].
pub fn sign1(key: &EcKeyPair, protected: &[u8], payload: Payload<'_>) -> Result<Vec<u8>, CoseError> {
    let (Payload::Attached(content) | Payload::Detached(content)) = payload;
    let digest = digest_to_sign(key.curve().hash(), protected, content);
    let signature = key.sign_digest(digest.as_ref(), SignatureFormat::P1363)?;
    let mut writer = Writer::new();
    writer.tag(SIGN1_TAG).array(4).bytes(protected).map(0);
    match payload {
        Payload::Attached(content) => writer.bytes(content),
        Payload::Detached(_) => writer.null(),
    };
    writer.bytes(&signature);
    Ok(writer.finish())
}
