//! Requests that a backup hands to the primary, and the answers (section 12).
//!
//! The header is authenticated, the rest encrypted. All numbers are little-endian.
//!
//! | kind `u64` | header after it | size with it |
//! |---|---|---|
//! | 0 command, 1 response, version 1 | frame format `u8` | 9 |
//! | 2 command, 3 response, version 2 | frame format `u8`, id `u64` | 17 |
//! | 4 command, version 3 | frame format `u8`, id `u64`, active view `u64` | 25 |
//! | 5 response, version 3 | frame format `u8`, id `u64`, terminate session `u8` | 18 |
//!
//! Encrypted part of a command: session `u64`, has certificate `u8`, then if 1 its length `u64` and DER, then the raw HTTP/1.1
//! request. Of a response: session `u64`, raw HTTP/1.1 response.

use bytes::Bytes;
use ccf_types::View;

use crate::reader::Reader;

/// The version of a forwarded command. Only [`Version::V3`] is sent first; an answer has the version of its command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Of CCF 1: answers cannot be matched to commands but by session.
    V1,
    /// Of CCF 2: commands are numbered.
    V2,
    /// Current: the view of the session goes along.
    #[default]
    V3,
}

/// A request on its way to the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// How it is written.
    pub version: Version,
    /// The sender's number for it, to match the answer; 0 in version 1.
    pub id: u64,
    /// The view in which the session began; [`View::UNKNOWN`] before version 3.
    pub active_view: View,
    /// The session at the sender.
    pub session: u64,
    /// The certificate of the caller, DER, if the session has one.
    pub caller_certificate: Option<Bytes>,
    /// The raw HTTP/1.1 request.
    pub request: Bytes,
}

/// The answer to a forwarded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedResponse {
    /// That of the request.
    pub version: Version,
    /// That of the request; 0 in version 1.
    pub id: u64,
    /// Whether the session lost its consistency and must end; never before version 3.
    pub terminate_session: bool,
    /// That of the request.
    pub session: u64,
    /// The raw HTTP/1.1 response.
    pub response: Bytes,
}

/// Bytes that are no forwarded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardingError {
    /// No such kind of message, or its header is cut off.
    #[error("not the header of a forwarded message")]
    Header,
    /// The content is not HTTP/1.1.
    #[error("a forwarded message of frame format {0} cannot be read")]
    FrameFormat(u8),
    /// The encrypted part is cut off or contradicts itself.
    #[error("malformed content of a forwarded message")]
    Content,
}

/// The authenticated part of a forwarded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Request { version: Version, id: u64, active_view: View },
    Response { version: Version, id: u64, terminate_session: bool },
}

/// HTTP/1.1, the only content that is forwarded.
const FRAME_FORMAT_HTTP: u8 = 0;

impl ForwardedRequest {
    pub(crate) fn header(&self) -> Header {
        Header::Request { version: self.version, id: self.id, active_view: self.active_view }
    }

    /// The part to encrypt.
    pub(crate) fn encode_content(&self) -> Vec<u8> {
        let certificate = self.caller_certificate.as_deref();
        let mut out = Vec::with_capacity(17 + certificate.map_or(0, <[u8]>::len) + self.request.len());
        out.extend_from_slice(&self.session.to_le_bytes());
        out.push(u8::from(certificate.is_some()));
        if let Some(certificate) = certificate {
            out.extend_from_slice(&(certificate.len() as u64).to_le_bytes());
            out.extend_from_slice(certificate);
        }
        out.extend_from_slice(&self.request);
        out
    }
}

impl ForwardedResponse {
    pub(crate) fn header(&self) -> Header {
        let Self { version, id, terminate_session, .. } = *self;
        Header::Response { version, id, terminate_session }
    }

    /// The part to encrypt.
    pub(crate) fn encode_content(&self) -> Vec<u8> {
        [&self.session.to_le_bytes(), &self.response[..]].concat()
    }
}

/// A forwarded message of either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    Request(ForwardedRequest),
    Response(ForwardedResponse),
}

impl Header {
    /// Reads the header at the front of a payload; also tells its length.
    pub(crate) fn parse(payload: &[u8]) -> Result<(Header, usize), ForwardingError> {
        let mut reader = Reader::new(payload);
        let kind = reader.u64().ok_or(ForwardingError::Header)?;
        if kind > 5 {
            return Err(ForwardingError::Header);
        }
        let format = reader.u8().ok_or(ForwardingError::Header)?;
        if format != FRAME_FORMAT_HTTP {
            return Err(ForwardingError::FrameFormat(format));
        }
        let header = Self::parse_rest(kind, &mut reader).ok_or(ForwardingError::Header)?;
        Ok((header, payload.len() - reader.len()))
    }

    fn parse_rest(kind: u64, reader: &mut Reader<'_>) -> Option<Header> {
        use Version::{V1, V2, V3};
        let request = |version, id, view| Header::Request { version, id, active_view: View(view) };
        let response = |version, id, end| Header::Response { version, id, terminate_session: end };
        Some(match kind {
            0 => request(V1, 0, 0),
            1 => response(V1, 0, false),
            2 => request(V2, reader.u64()?, 0),
            3 => response(V2, reader.u64()?, false),
            4 => request(V3, reader.u64()?, reader.u64()?),
            _ => response(V3, reader.u64()?, reader.bool()?),
        })
    }

    /// Writes the header.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (version, id, kind) = match *self {
            Header::Request { version, id, .. } => (version, id, [0u64, 2, 4]),
            Header::Response { version, id, .. } => (version, id, [1, 3, 5]),
        };
        let kind = kind[match version {
            Version::V1 => 0,
            Version::V2 => 1,
            Version::V3 => 2,
        }];
        let mut out = Vec::with_capacity(25);
        out.extend_from_slice(&kind.to_le_bytes());
        out.push(FRAME_FORMAT_HTTP);
        if version != Version::V1 {
            out.extend_from_slice(&id.to_le_bytes());
        }
        if version == Version::V3 {
            match self {
                Header::Request { active_view, .. } => out.extend_from_slice(&active_view.0.to_le_bytes()),
                Header::Response { terminate_session, .. } => out.push(u8::from(*terminate_session)),
            }
        }
        out
    }

    /// Reads the decrypted part that belongs to this header.
    pub(crate) fn with_content(self, content: &Bytes) -> Result<Forwarded, ForwardingError> {
        self.read_content(content).ok_or(ForwardingError::Content)
    }

    fn read_content(self, content: &Bytes) -> Option<Forwarded> {
        let mut reader = Reader::new(content);
        let session = reader.u64()?;
        Some(match self {
            Header::Request { version, id, active_view } => {
                let caller_certificate =
                    if reader.bool()? { Some(content.slice_ref(reader.prefixed()?)) } else { None };
                let request = content.slice_ref(reader.rest());
                Forwarded::Request(ForwardedRequest {
                    version,
                    id,
                    active_view,
                    session,
                    caller_certificate,
                    request,
                })
            }
            Header::Response { version, id, terminate_session } => {
                let response = content.slice_ref(reader.rest());
                Forwarded::Response(ForwardedResponse { version, id, terminate_session, session, response })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, certificate: Option<&'static [u8]>) -> ForwardedRequest {
        let (id, active_view) = match version {
            Version::V1 => (0, View(0)),
            Version::V2 => (5, View(0)),
            Version::V3 => (5, View(2)),
        };
        ForwardedRequest {
            version,
            id,
            active_view,
            session: 9,
            caller_certificate: certificate.map(Bytes::from_static),
            request: Bytes::from_static(b"GET /app/x HTTP/1.1\r\n\r\n"),
        }
    }

    fn check(header: Header, content: Vec<u8>, message: &Forwarded, header_hex: &str) {
        assert_eq!(hex::encode(header.encode()), header_hex.replace(' ', ""));
        let payload = [header.encode(), content.clone()].concat();
        assert_eq!(Header::parse(&payload), Ok((header, header.encode().len())));
        assert_eq!(header.with_content(&content.into()).as_ref(), Ok(message));
        for cut in 0..header.encode().len() {
            assert_eq!(Header::parse(&payload[..cut]), Err(ForwardingError::Header));
        }
    }

    #[test]
    fn every_version_of_both_directions() {
        for (version, header) in [
            (Version::V1, "0000000000000000 00"),
            (Version::V2, "0200000000000000 00 0500000000000000"),
            (Version::V3, "0400000000000000 00 0500000000000000 0200000000000000"),
        ] {
            for certificate in [None, Some(&b"der"[..])] {
                let message = request(version, certificate);
                check(
                    message.header(),
                    message.encode_content(),
                    &Forwarded::Request(message.clone()),
                    header,
                );
            }
        }
        for (version, header) in [
            (Version::V1, "0100000000000000 00"),
            (Version::V2, "0300000000000000 00 0500000000000000"),
            (Version::V3, "0500000000000000 00 0500000000000000 01"),
        ] {
            let message = ForwardedResponse {
                version,
                id: if version == Version::V1 { 0 } else { 5 },
                terminate_session: version == Version::V3,
                session: 9,
                response: Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
            };
            check(message.header(), message.encode_content(), &Forwarded::Response(message.clone()), header);
        }
    }

    #[test]
    fn the_content_of_the_vector() {
        let expected = [&9u64.to_le_bytes()[..], &[0], b"GET /app/x HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(request(Version::V3, None).encode_content(), expected);
        let expected =
            [&9u64.to_le_bytes()[..], &[1, 3, 0, 0, 0, 0, 0, 0, 0], b"derGET /app/x HTTP/1.1\r\n\r\n"]
                .concat();
        assert_eq!(request(Version::V3, Some(b"der")).encode_content(), expected);
    }

    #[test]
    fn lies_are_refused() {
        let message = request(Version::V3, Some(b"der"));
        let mut header = message.header().encode();
        header[8] = 1;
        assert_eq!(Header::parse(&header), Err(ForwardingError::FrameFormat(1)));
        header[0] = 6;
        assert_eq!(Header::parse(&header), Err(ForwardingError::Header));
        let good = message.encode_content();
        for (at, value) in [(8, 2), (9, 0xff), (16, 0x80)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(message.header().with_content(&bad.into()), Err(ForwardingError::Content));
        }
        for cut in 0..20 {
            let content = Bytes::copy_from_slice(&good[..cut]);
            assert_eq!(message.header().with_content(&content), Err(ForwardingError::Content));
        }
    }
}
