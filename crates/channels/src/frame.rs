//! Frames of the stream between two nodes (section 10).
//!
//! | field | type |
//! |---|---|
//! | length of everything after it | `u32` |
//! | kind: 0 key exchange, 1 consensus, 2 forwarded | `u64` |
//! | length of the sender's id | `u64`, 64 |
//! | sender's id | hex text |
//! | payload | the rest |
//!
//! All little-endian, none of it authenticated: who really sent a message shows when its channel opens it. Frames of other kinds are
//! handed on too, for the caller to count and drop.

use bytes::{Buf, Bytes, BytesMut};
use ccf_types::NodeId;

use crate::{limits::FRAME_BYTES_MAX, reader::Reader};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A step of the key exchange.
    Handshake,
    /// A consensus message.
    Consensus,
    /// A forwarded request or its answer.
    Forwarded,
    /// Something else; to be dropped.
    Unknown(u64),
}

/// Bytes of the length field.
const LENGTH_LEN: usize = 4;
/// Bytes of a sender's id: SHA-256 in hex.
const ID_LEN: usize = 64;
/// Bytes between the length field and the payload.
const HEADER_LEN: usize = 8 + 8 + ID_LEN;

/// Bytes of a frame before its payload.
pub const FRAME_OVERHEAD: usize = LENGTH_LEN + HEADER_LEN;

/// A frame that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// Who it says it is from.
    pub sender: SenderId,
    /// The rest.
    pub payload: BytesMut,
}

/// The text of an id in a frame: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SenderId([u8; ID_LEN]);

/// A stream that cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than this connection may send.
    #[error("a frame of {0} bytes is longer than the {1} allowed")]
    TooLong(u32, u32),
    /// Too short for its header.
    #[error("a frame of {0} bytes has no room for its header")]
    TooShort(u32),
    /// The sender is no node id.
    #[error("the sender of a frame is not a node id")]
    Sender,
}

impl FrameKind {
    fn from_number(number: u64) -> FrameKind {
        match number {
            0 => FrameKind::Handshake,
            1 => FrameKind::Consensus,
            2 => FrameKind::Forwarded,
            other => FrameKind::Unknown(other),
        }
    }

    fn number(self) -> u64 {
        match self {
            FrameKind::Handshake => 0,
            FrameKind::Consensus => 1,
            FrameKind::Forwarded => 2,
            FrameKind::Unknown(other) => other,
        }
    }
}

impl SenderId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked when read.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id.
    #[must_use]
    pub fn to_node_id(&self) -> NodeId {
        NodeId::from_text(self.as_str())
    }
}

impl std::fmt::Debug for SenderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Takes the next frame from the front of `stream` if all of it is there. The length is judged as soon as it is known.
///
/// # Errors
/// [`FrameError`]: the connection should be closed.
pub fn take_frame(stream: &mut BytesMut, bytes_max: u32) -> Result<Option<Frame>, FrameError> {
    let mut reader = Reader::new(stream);
    let Some(length) = reader.array().map(u32::from_le_bytes) else { return Ok(None) };
    let bytes_max = bytes_max.min(FRAME_BYTES_MAX);
    if length > bytes_max {
        return Err(FrameError::TooLong(length, bytes_max));
    }
    let len = length as usize;
    if len < HEADER_LEN {
        return Err(FrameError::TooShort(length));
    }
    // A bad header is refused before its payload is awaited.
    let (Some(kind), Some(id_len)) = (reader.u64(), reader.u64()) else { return Ok(None) };
    if id_len != ID_LEN as u64 {
        return Err(FrameError::Sender);
    }
    let Some(id) = reader.array::<ID_LEN>() else { return Ok(None) };
    if !id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(FrameError::Sender);
    }
    if reader.len() < len - HEADER_LEN {
        return Ok(None);
    }
    let mut payload = stream.split_to(LENGTH_LEN + len);
    payload.advance(FRAME_OVERHEAD);
    Ok(Some(Frame { kind: FrameKind::from_number(kind), sender: SenderId(id), payload }))
}

/// A frame to send: what must be written, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFrame {
    /// Header and protected payload.
    pub head: Bytes,
    /// Ledger entries behind a consensus message.
    pub entries: Vec<Bytes>,
}

impl OutgoingFrame {
    /// Its length in bytes.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.head.len() + entries_len(&self.entries)
    }

    /// All of it in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = self.head.to_vec();
        self.entries.iter().for_each(|part| all.extend_from_slice(part));
        all
    }
}

/// The length of entries together.
pub(crate) fn entries_len(entries: &[Bytes]) -> usize {
    entries.iter().map(Bytes::len).fold(0, usize::saturating_add)
}

/// A frame under construction: its header, written for a payload of `payload_len` bytes of which the first `own_len` will be
/// pushed to the returned bytes. `None` if it would be too long.
pub(crate) fn begin(kind: FrameKind, sender: &NodeId, payload_len: usize, own_len: usize) -> Option<Vec<u8>> {
    let length = u32::try_from(payload_len.checked_add(HEADER_LEN)?).ok()?;
    if length > FRAME_BYTES_MAX {
        return None;
    }
    let id = sender.as_str().as_bytes();
    let mut out = Vec::with_capacity(LENGTH_LEN + 16 + id.len() + own_len);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&kind.number().to_le_bytes());
    out.extend_from_slice(&(id.len() as u64).to_le_bytes());
    out.extend_from_slice(id);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "35971be6e9bb024a895582fe0e42e04848a86da550aaef0fccbfba86f99f617d";

    fn frame(payload: &[u8]) -> Vec<u8> {
        let id = ID.parse().unwrap();
        let mut bytes = begin(FrameKind::Consensus, &id, payload.len(), payload.len()).unwrap();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn the_vector_of_the_specification() {
        let bytes = frame(&[7; 57 + 24]);
        let start = "a100000001000000000000004000000000000000";
        assert_eq!(hex::encode(&bytes[..20]), start);
        assert_eq!(&bytes[20..84], ID.as_bytes());
        assert_eq!(bytes.len(), 4 + 0xa1);
    }

    #[test]
    fn a_stream_is_cut_into_frames_wherever_it_was_interrupted() {
        let mut bytes = frame(b"one");
        bytes.extend(frame(b""));
        bytes.extend(frame(b"three"));
        for cut in 0..bytes.len() {
            let mut stream = BytesMut::new();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                stream.extend_from_slice(part);
                while let Some(frame) = take_frame(&mut stream, 1000).unwrap() {
                    assert_eq!((frame.kind, frame.sender.as_str()), (FrameKind::Consensus, ID));
                    seen.push(frame.payload.to_vec());
                }
            }
            assert_eq!(seen, [&b"one"[..], b"", b"three"]);
            assert!(stream.is_empty());
        }
    }

    #[test]
    fn impossible_headers_are_refused_at_once() {
        let check = |bytes: &[u8]| take_frame(&mut BytesMut::from(bytes), 1000);
        assert_eq!(check(&1001u32.to_le_bytes()), Err(FrameError::TooLong(1001, 1000)));
        assert_eq!(check(&79u32.to_le_bytes()), Err(FrameError::TooShort(79)));
        let mut bytes = frame(b"x");
        bytes[12] = 63;
        assert_eq!(check(&bytes[..20]), Err(FrameError::Sender));
        let mut bytes = frame(b"x");
        bytes[30] = b'A';
        assert_eq!(check(&bytes[..84]), Err(FrameError::Sender));
        let mut bytes = frame(b"x");
        bytes[4] = 9;
        assert_eq!(check(&bytes).unwrap().unwrap().kind, FrameKind::Unknown(9));
        let over = FRAME_BYTES_MAX.saturating_add(1);
        assert!(take_frame(&mut BytesMut::from(&over.to_le_bytes()[..]), u32::MAX).is_err());
        assert_eq!(begin(FrameKind::Consensus, &ID.parse().unwrap(), FRAME_BYTES_MAX as usize, 0), None);
    }
}
