//! A request as the transport parsed it: method, target, headers and body, never parsed again.

use super::{Headers, Method, Query, decode_query};
use bytes::Bytes;
use std::borrow::Cow;

/// The head of a request: everything but the body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Request method.
    pub method: Method,
    /// The raw request target, as in the request line: path and query.
    target: Bytes,
    path_len: usize,
    /// The decoded query if decoding changed it; else the query is read from the target.
    decoded_query: Option<Box<[u8]>>,
    /// Request headers.
    pub headers: Headers,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    head: RequestHead,
    body: Bytes,
}

impl RequestHead {
    /// Splits the target at its first `?` and decodes the query up to its first `#` (applications
    /// specification, section 1.1). The path is never decoded.
    #[must_use]
    pub fn new(method: Method, target: Bytes, headers: Headers) -> RequestHead {
        let path_len = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
        let decoded_query = match decode_query(raw_query(&target, path_len)) {
            Cow::Borrowed(_) => None,
            Cow::Owned(decoded) => Some(decoded.into_boxed_slice()),
        };
        RequestHead { method, target, path_len, decoded_query, headers }
    }

    /// The raw request target.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// The path as received, with its frontend prefix if any, not decoded.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.target.get(..self.path_len).unwrap_or_default()
    }

    /// The decoded query; empty if there is none.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        Query::new(match &self.decoded_query {
            Some(decoded) => decoded,
            None => raw_query(&self.target, self.path_len),
        })
    }
}

fn raw_query(target: &[u8], path_len: usize) -> &[u8] {
    let query = target.get(path_len + 1..).unwrap_or_default();
    let end = query.iter().position(|&b| b == b'#').unwrap_or(query.len());
    &query[..end]
}

impl Request {
    /// A complete request.
    #[must_use]
    pub fn new(head: RequestHead, body: Bytes) -> Request {
        Request { head, body }
    }

    /// A request without headers or body, for tests and internal calls.
    #[must_use]
    pub fn simple(method: Method, target: &str) -> Request {
        let target = Bytes::copy_from_slice(target.as_bytes());
        Request::new(RequestHead::new(method, target, Headers::default()), Bytes::new())
    }

    /// The same request with other headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Request {
        self.head.headers = headers;
        self
    }

    /// The same request with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = body.into();
        self
    }

    /// Request method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The raw request target.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.head.target()
    }

    /// The path as received, with its frontend prefix if any, not decoded.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.head.path()
    }

    /// The decoded query.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        self.head.query()
    }

    /// Request headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The body; empty if there was none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a shared buffer, for keeping it without a copy.
    #[must_use]
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_splits_as_specified() {
        for (target, path, query) in [
            ("/log?a=1#frag", "/log", "a=1"),
            ("/log#x?a=1", "/log#x", "a=1"),
            ("/a%2Fb", "/a%2Fb", ""),
            ("/log?", "/log", ""),
            ("/log?a=%41+b", "/log", "a=A b"),
            ("", "", ""),
        ] {
            let request = Request::simple(Method::Get, target);
            assert_eq!(request.path(), path.as_bytes(), "{target}");
            assert_eq!(request.query().as_bytes(), query.as_bytes(), "{target}");
            assert_eq!(request.target(), target.as_bytes());
        }
    }
}
