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
