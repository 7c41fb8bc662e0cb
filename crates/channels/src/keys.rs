//! The two keys of a channel and their nonces (11.2, 11.3).

use ccf_crypto::{
    Zeroizing,
    channel_cipher::{ChannelKey, IV_LEN},
    hash::{HkdfError, hkdf_sha256},
};
use ccf_types::NodeId;

/// Length of the authentication tag.
pub(crate) const TAG_LEN: usize = 16;

/// What precedes the ciphertext: tag, then IV.
pub(crate) const PROTECTION_LEN: usize = TAG_LEN + IV_LEN;

/// Seals; each nonce is used once, starting at 1.
#[derive(Debug)]
pub(crate) struct SendKey {
    key: ChannelKey,
    next_nonce: u64,
}

/// Opens; each nonce is accepted once, and none below it afterwards.
#[derive(Debug)]
pub(crate) struct ReceiveKey {
    key: ChannelKey,
    last_nonce: u64,
}

/// Why a message was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// A nonce that is not above the last one.
    Replayed,
    /// Not sealed with this key, or changed.
    NotAuthentic,
}

impl SendKey {
    /// Seals `data` in place and returns tag and IV. `None` only if the data is too long for the cipher or nonces ran out.
    pub(crate) fn seal(&mut self, aad: &[u8], data: &mut [u8]) -> Option<[u8; PROTECTION_LEN]> {
        let nonce = self.next_nonce;
        if nonce > NONCE_MAX {
            return None;
        }
        self.next_nonce += 1;
        // Byte 0 was a thread number once; then 56 bits of the nonce.
        let iv = (nonce << 8).to_le_bytes();
        let tag = self.key.seal_in_place(&iv, aad, data).ok()?;
        let mut out = [0; PROTECTION_LEN];
        out[..TAG_LEN].copy_from_slice(&tag);
        out[TAG_LEN..].copy_from_slice(&iv);
        Some(out)
    }

    pub(crate) fn next_nonce(&self) -> u64 {
        self.next_nonce
    }
}

impl ReceiveKey {
    /// Opens `data` in place. The nonce counts as used only if the tag is right.
    pub(crate) fn open(
        &mut self,
        aad: &[u8],
        protection: &[u8; PROTECTION_LEN],
        data: &mut [u8],
    ) -> Result<(), OpenError> {
        let mut tag = [0; TAG_LEN];
        let mut iv = [0; IV_LEN];
        tag.copy_from_slice(&protection[..TAG_LEN]);
        iv.copy_from_slice(&protection[TAG_LEN..]);
        // The first byte is not part of the nonce, but of the IV.
        let nonce = u64::from_le_bytes(iv) >> 8;
        if nonce <= self.last_nonce {
            return Err(OpenError::Replayed);
        }
        self.key.open_in_place(&iv, aad, &tag, data).map_err(|_| OpenError::NotAuthentic)?;
        self.last_nonce = nonce;
        Ok(())
    }

    pub(crate) fn last_nonce(&self) -> u64 {
        self.last_nonce
    }
}

/// The keys from `own` to `peer` and back, from an agreed secret.
pub(crate) fn derive(
    secret: &[u8],
    salt: &[u8],
    own: &NodeId,
    peer: &NodeId,
) -> Result<(SendKey, ReceiveKey), HkdfError> {
    let key = |from: &NodeId, to: &NodeId| -> Result<ChannelKey, HkdfError> {
        let info = [from.as_str().as_bytes(), to.as_str().as_bytes()].concat();
        let mut key = Zeroizing::new([0; 32]);
        hkdf_sha256(secret, salt, &info, &mut *key)?;
        Ok(ChannelKey::new(&key))
    };
    Ok((SendKey { key: key(own, peer)?, next_nonce: 1 }, ReceiveKey { key: key(peer, own)?, last_nonce: 0 }))
}

/// Nonces have seven bytes.
const NONCE_MAX: u64 = (1 << 56) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> NodeId {
        text.parse().unwrap()
    }

    fn vector_keys(first: bool) -> (SendKey, ReceiveKey) {
        let secret = "56c99b3fff2e418ad7b2a0eb684428625bc9e4a7103224bab328eddf842cb1a34336fa0d31e4fcced347e83cba5f3857";
        let salt: Vec<u8> = (0..32).collect();
        let id1 = node("35971be6e9bb024a895582fe0e42e04848a86da550aaef0fccbfba86f99f617d");
        let id2 = node("1779f59f4df251f6b81aeb08fb52a5d84ad4eef833c7fdf0bc576cd1aab11d24");
        let (own, peer) = if first { (id1, id2) } else { (id2, id1) };
        derive(&hex::decode(secret).unwrap(), &salt, &own, &peer).unwrap()
    }

    /// The vectors of 11.2 and 11.3: keys both ways, tag of a consensus message, a forwarded command.
    #[test]
    fn vectors_of_the_specification() {
        let (mut send, mut back) = vector_keys(true);
        let (mut reply, mut receive) = vector_keys(false);
        let by_hand = |key: &str| ChannelKey::new(&hex::decode(key).unwrap().try_into().unwrap());
        let one_to_two = by_hand("ded709951e74e2d07fb52dea5567776d6a2d81353be7a12046dc8762d903689d");
        let two_to_one = by_hand("8eaa1724f663bb23e41ef7c8382a360d674ae93eb1f1bfcebade208857a282df");

        let message = hex::decode(
            "0000000000000000070000000000000005000000000000000200000000000000020000000000000004000000000000000200000000000000\
             00",
        )
        .unwrap();
        let protection = send.seal(&message, &mut []).unwrap();
        assert_eq!(hex::encode(protection), "938fa73f58a41c073a489e54e89798780001000000000000");
        one_to_two
            .open_in_place(&[0, 1, 0, 0, 0, 0, 0, 0], &message, protection.first_chunk().unwrap(), &mut [])
            .unwrap();
        receive.open(&message, &protection, &mut []).unwrap();

        let header = hex::decode("04000000000000000005000000000000000200000000000000").unwrap();
        let plain = [&9u64.to_le_bytes()[..], &[0], b"GET /app/x HTTP/1.1\r\n\r\n"].concat();
        let mut data = plain.clone();
        let protection = send.seal(&header, &mut data).unwrap();
        assert_eq!(hex::encode(protection), "4a5030a6a36c83835e258292bf0e87e50002000000000000");
        assert_eq!(hex::encode(&data), "a8fe6b19681f8559d028d93d9d6f187f6f44771d422d389be9418eb96a4061cb");
        receive.open(&header, &protection, &mut data).unwrap();
        assert_eq!(data, plain);

        let protection = reply.seal(b"x", &mut []).unwrap();
        two_to_one
            .open_in_place(&[0, 1, 0, 0, 0, 0, 0, 0], b"x", protection.first_chunk().unwrap(), &mut [])
            .unwrap();
        back.open(b"x", &protection, &mut []).unwrap();
    }

    #[test]
    fn replays_are_refused_gaps_accepted_and_failures_use_no_nonce() {
        let (mut send, _) = vector_keys(true);
        let (_, mut receive) = vector_keys(false);
        let sealed: Vec<_> = (0..4).map(|_| send.seal(b"aad", &mut []).unwrap()).collect();
        assert_eq!(receive.open(b"aad", &sealed[1], &mut []), Ok(()));
        assert_eq!(receive.open(b"aad", &sealed[1], &mut []), Err(OpenError::Replayed));
        assert_eq!(receive.open(b"aad", &sealed[0], &mut []), Err(OpenError::Replayed));
        assert_eq!(receive.open(b"aae", &sealed[3], &mut []), Err(OpenError::NotAuthentic));
        assert_eq!(receive.last_nonce(), 2);
        assert_eq!(receive.open(b"aad", &sealed[3], &mut []), Ok(()));
        assert_eq!(receive.open(b"aad", &sealed[2], &mut []), Err(OpenError::Replayed));
    }

    /// Older senders put a thread number into the first byte of the IV.
    #[test]
    fn the_first_byte_of_the_iv_may_be_anything() {
        let (_, mut receive) = vector_keys(false);
        let (send, _) = vector_keys(true);
        let iv = [7, 5, 0, 0, 0, 0, 0, 0];
        let tag = send.key.seal_in_place(&iv, b"aad", &mut []).unwrap();
        let mut protection = [0; PROTECTION_LEN];
        protection[..TAG_LEN].copy_from_slice(&tag);
        protection[TAG_LEN..].copy_from_slice(&iv);
        assert_eq!(receive.open(b"aad", &protection, &mut []), Ok(()));
        assert_eq!(receive.last_nonce(), 5);
    }

    #[test]
    fn nonces_run_out_instead_of_starting_over() {
        let (mut send, _) = vector_keys(true);
        send.next_nonce = NONCE_MAX;
        assert!(send.seal(b"", &mut []).is_some());
        assert!(send.seal(b"", &mut []).is_none());
    }
}
