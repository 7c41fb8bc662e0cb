//! Messages of the key exchange (11.1). Each `buf` is a `u64` length and so many bytes.
//!
//! | message | payload |
//! |---|---|
//! | init | kind `u64` 0, version `u64` 1, buf share, buf signature, buf certificate (PEM), buf salt |
//! | response | kind `u64` 1, version `u64` 1, buf share, buf signature, buf certificate (PEM) |
//! | final | kind `u64` 2, buf signature |
//!
//! The signature covers, in an init, the sender's share; in a response, the sender's share and then the receiver's; in a final, the
//! receiver's. Salt, version and certificate are not signed.

use ccf_crypto::key::{Curve, EphemeralKey};

use crate::{limits::HANDSHAKE_BYTES_MAX, reader::Reader};

/// The only version of the protocol.
const VERSION: u64 = 1;
/// Bytes of an uncompressed point of P-384.
const POINT_LEN: usize = 97;

/// Bytes of the salt this node chooses.
pub(crate) const SALT_LEN: usize = 32;

/// The curve of the exchange, whatever the curves of the nodes' keys.
pub(crate) const CURVE: Curve = Curve::P384;

/// A point of P-384 as it is sent and signed: its length, then 4, X and Y.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share([u8; 1 + POINT_LEN]);

/// A message that was read, or is to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake<'a> {
    Init { share: Share, signature: &'a [u8], certificate_pem: &'a [u8], salt: &'a [u8] },
    Response { share: Share, signature: &'a [u8], certificate_pem: &'a [u8] },
    Final { signature: &'a [u8] },
}

impl Share {
    /// The share of a key of [`CURVE`].
    pub(crate) fn of(key: &EphemeralKey) -> Option<Share> {
        let point: &[u8; POINT_LEN] = key.point().try_into().ok()?;
        let mut bytes = [POINT_LEN as u8; 1 + POINT_LEN];
        bytes[1..].copy_from_slice(point);
        Some(Share(bytes))
    }

    fn parse(bytes: &[u8]) -> Option<Share> {
        let share: [u8; 1 + POINT_LEN] = bytes.try_into().ok()?;
        // Whether it is on the curve shows at the agreement.
        (share[0] == POINT_LEN as u8 && share[1] == 4).then_some(Share(share))
    }

    /// What signatures cover.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the agreement needs.
    pub(crate) fn point(&self) -> &[u8] {
        &self.0[1..]
    }
}

impl<'a> Handshake<'a> {
    /// Reads a message. `None` if anything is missing, empty, left over, or of another version.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Handshake<'a>> {
        if payload.len() > HANDSHAKE_BYTES_MAX {
            return None;
        }
        let mut reader = Reader::new(payload);
        let field = |reader: &mut Reader<'a>| reader.prefixed().filter(|bytes| !bytes.is_empty());
        let message = match reader.u64()? {
            kind @ (0 | 1) => {
                if reader.u64()? != VERSION {
                    return None;
                }
                let share = Share::parse(field(&mut reader)?)?;
                let signature = field(&mut reader)?;
                let certificate_pem = field(&mut reader)?;
                if kind == 0 {
                    Handshake::Init { share, signature, certificate_pem, salt: field(&mut reader)? }
                } else {
                    Handshake::Response { share, signature, certificate_pem }
                }
            }
            2 => Handshake::Final { signature: field(&mut reader)? },
            _ => return None,
        };
        reader.is_empty().then_some(message)
    }

    /// Writes the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1536);
        let number = |out: &mut Vec<u8>, value: u64| out.extend_from_slice(&value.to_le_bytes());
        let mut fields: [&[u8]; 4] = [&[]; 4];
        match self {
            Handshake::Init { share, signature, certificate_pem, salt } => {
                number(&mut out, 0);
                number(&mut out, VERSION);
                fields = [share.bytes(), signature, certificate_pem, salt];
            }
            Handshake::Response { share, signature, certificate_pem } => {
                number(&mut out, 1);
                number(&mut out, VERSION);
                fields[..3].copy_from_slice(&[share.bytes(), signature, certificate_pem]);
            }
            Handshake::Final { signature } => {
                number(&mut out, 2);
                fields[0] = signature;
            }
        }
        for field in fields.into_iter().filter(|field| !field.is_empty()) {
            number(&mut out, field.len() as u64);
            out.extend_from_slice(field);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of node 1 in the vectors of 11.2.
    fn share() -> (Share, String) {
        let text = concat!(
            "610436ee9c37f7e75b763d2d3bf44a5bbfe61e098f157d0698a94b47e2c288a3b60c0a1f85562007226acc7062c4e2d7a4710613",
            "e56dd1bf23a35618b21114185c637f555b759d353e503ce778308e918c7a0f76324d1e074375fc83afa49b8afcfa"
        );
        (Share::parse(&hex::decode(text).unwrap()).unwrap(), text.to_owned())
    }

    #[test]
    fn messages_have_the_specified_bytes_and_nothing_else_is_read() {
        let (share, text) = share();
        let message = Handshake::Init { share, signature: b"s", certificate_pem: b"cert", salt: &[9; 32] };
        let one = "0100000000000000";
        let salt = "09".repeat(32);
        assert_eq!(
            hex::encode(message.encode()),
            format!(
                "0000000000000000{one}6200000000000000{text}{one}730400000000000000636572742000000000000000{salt}"
            )
        );
        let response = Handshake::Response { share, signature: b"s", certificate_pem: b"cert" };
        assert_eq!(
            hex::encode(response.encode()),
            format!("{one}{one}6200000000000000{text}{one}73040000000000000063657274")
        );
        let done = Handshake::Final { signature: b"sig" };
        assert_eq!(hex::encode(done.encode()), "02000000000000000300000000000000736967");
        for message in [message, response, done] {
            let bytes = message.encode();
            assert!(Handshake::parse(&bytes) == Some(message));
            for cut in 0..bytes.len() {
                assert!(Handshake::parse(&bytes[..cut]).is_none(), "{cut}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Handshake::parse(&longer).is_none());
        }
    }

    #[test]
    fn other_versions_kinds_and_shares_are_refused() {
        let (share, _) = share();
        let good = Handshake::Response { share, signature: b"s", certificate_pem: b"cert" }.encode();
        for (at, value) in [(0, 3), (8, 0), (8, 2), (24, 0x60), (25, 2), (16, 0xff), (23, 0x80)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Handshake::parse(&bad).is_none(), "byte {at}");
        }
        let empty = Handshake::Response { share, signature: b"", certificate_pem: b"cert" };
        assert!(Handshake::parse(&empty.encode()).is_none());
        let long = vec![b'x'; HANDSHAKE_BYTES_MAX];
        let long = Handshake::Response { share, signature: b"s", certificate_pem: &long };
        assert!(Handshake::parse(&long.encode()).is_none());
    }
}
