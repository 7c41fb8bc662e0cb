//! A response, cheap to make: static text and transaction IDs stay unformatted until they are written.

use super::LongBody;
use crate::error::ErrorResponse;
use bytes::Bytes;
use ccf_types::TxId;
use smallvec::SmallVec;
use std::{borrow::Cow, io::Write};

/// The value of a response header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Text; constants cost no allocation.
    Text(Cow<'static, str>),
    /// A transaction ID, formatted as `view.seqno` when written.
    TxId(TxId),
    /// A number in decimal.
    Number(u64),
}

impl HeaderValue {
    /// Appends the value's bytes. Line ends inside text are written as spaces, so that no value can
    /// begin another header.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            HeaderValue::Text(text) if text.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0) => {
                out.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' || b == 0 { b' ' } else { b }));
            }
            HeaderValue::Text(text) => out.extend_from_slice(text.as_bytes()),
            HeaderValue::TxId(tx_id) => write_display(out, tx_id),
            HeaderValue::Number(number) => write_display(out, number),
        }
    }

    /// The value as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write_to(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn write_display(out: &mut Vec<u8>, value: &impl std::fmt::Display) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{value}");
}

impl From<&'static str> for HeaderValue {
    fn from(text: &'static str) -> Self {
        HeaderValue::Text(Cow::Borrowed(text))
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        HeaderValue::Text(Cow::Owned(text))
    }
}

impl From<TxId> for HeaderValue {
    fn from(tx_id: TxId) -> Self {
        HeaderValue::TxId(tx_id)
    }
}

impl From<u64> for HeaderValue {
    fn from(number: u64) -> Self {
        HeaderValue::Number(number)
    }
}

/// Response headers, kept sorted by lower-case name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders(SmallVec<[(Cow<'static, str>, HeaderValue); 2]>);

impl ResponseHeaders {
    /// Sets a header, replacing one of the same name. Constants in lower case cost no allocation. Names that
    /// are not HTTP tokens are refused.
    ///
    /// Returns whether the header was set.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<HeaderValue>) -> bool {
        let mut name = name.into();
        if !is_token(&name) {
            return false;
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        match self.0.binary_search_by(|(n, _)| n.cmp(&name)) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (name, value.into())),
        }
        true
    }

    /// Of an answer to HEAD: the length that the body would have. Transports do not send it with any other answer.
    pub fn set_length_for_head(&mut self, bytes: u64) {
        let name = "content-length";
        self.remove(name);
        let at = self.0.partition_point(|(n, _)| n.as_ref() < name);
        self.0.insert(at, (Cow::Borrowed(name), HeaderValue::Number(bytes)));
    }

    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        let at = self.0.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Removes a header, by its lower-case name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Removes every header.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Headers in the order of their names, `content-length` not among them but for
    /// [`set_length_for_head`](Self::set_length_for_head): the transport puts it into its place from the body's length.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v))
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name != "content-length"
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers but `content-length`.
    pub headers: ResponseHeaders,
    /// Body; the transport leaves it out in answers to HEAD.
    pub body: Bytes,
    /// Takes the place of the body if that is too long for memory. For endpoints that are never forwarded.
    pub long_body: Option<LongBody>,
}

impl Default for Response {
    fn default() -> Self {
        Response::status(200)
    }
}

impl Response {
    /// A response without headers or body.
    #[must_use]
    pub fn status(status: u16) -> Response {
        Response { status, headers: ResponseHeaders::default(), body: Bytes::new(), long_body: None }
    }

    /// A response with a body of the given content type.
    #[must_use]
    pub fn with_body(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
        let mut response = Response::status(status);
        response.set_body(content_type, body);
        response
    }

    /// Sets body and content type.
    pub fn set_body(&mut self, content_type: &'static str, body: impl Into<Bytes>) {
        self.headers.set("content-type", content_type);
        self.body = body.into();
        self.long_body = None;
    }

    /// Sets a body that is sent piece by piece, and content type.
    pub fn set_long_body(&mut self, content_type: &'static str, body: LongBody) {
        self.set_body(content_type, Bytes::new());
        self.long_body = Some(body);
    }

    /// Bytes of the body that goes with this status.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        match (self.status, &self.long_body) {
            (204 | 304, _) => 0,
            (_, Some(long)) => long.bytes(),
            (_, None) => self.body.len() as u64,
        }
    }

    /// Whether the status is 2xx: then the writes of the transaction are applied.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl From<ErrorResponse> for Response {
    fn from(error: ErrorResponse) -> Self {
        error.into_response()
    }
}

/// The usual reason phrase of a status, `Unknown` for a number without one.
#[must_use]
pub fn status_reason(status: u16) -> &'static str {
    ::http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_sorted_unique_and_safe() {
        let mut headers = ResponseHeaders::default();
        assert!(headers.set("X-B", "1"));
        assert!(headers.set("allow", "2".to_owned()));
        assert!(headers.set("x-b", "a\r\nevil: 1"));
        assert!(!headers.set("bad name", "x"));
        assert!(!headers.set("", "x"));
        let all: Vec<_> = headers.iter().map(|(n, v)| (n, v.to_text())).collect();
        assert_eq!(all, vec![("allow", "2".to_owned()), ("x-b", "a  evil: 1".to_owned())]);
    }

    #[test]
    fn reasons() {
        assert_eq!(status_reason(404), "Not Found");
        assert_eq!(status_reason(799), "Unknown");
    }
}
