//! Whole requests and responses as bytes, as nodes forward them to each other (consensus specification, section 12).

use super::{Decoder, Limits, encode};
use crate::http::settings::{InterfaceSettings, SizeLimit};
use bytes::{Bytes, BytesMut};
use ccf_endpoints::{ErrorResponse, Method, Request, Response};
use std::sync::{Arc, LazyLock};

/// Body of a forwarded request (node specification, section 14.3).
const BODY_BYTES_MAX: usize = 1 << 30;

/// A header's name or value in one.
const HEADER_BYTES_MAX: usize = 100 << 20;

/// Headers of a forwarded message.
const HEADERS_MAX: usize = 1024;

/// Bytes that are no HTTP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one whole HTTP/1.1 message")]
pub(crate) struct NotHttp;

/// A request as bytes.
pub(crate) fn request_bytes(request: &Request) -> Bytes {
    let mut out = Vec::with_capacity(256 + request.body().len());
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers().iter() {
        if matches!(name, "content-length" | "transfer-encoding" | "connection" | "expect") {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(request.body().len()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(request.body());
    out.into()
}

/// Reads one request.
///
/// # Errors
/// [`NotHttp`].
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Request, NotHttp> {
    static WIDE: LazyLock<Arc<Limits>> = LazyLock::new(|| {
        let wide = InterfaceSettings {
            max_body_size: SizeLimit::new(BODY_BYTES_MAX, "1GB"),
            max_header_size: SizeLimit::new(HEADER_BYTES_MAX, "100MB"),
            max_headers_count: HEADERS_MAX,
            ..InterfaceSettings::new("forwarded")
        };
        Arc::new(Limits::of(&wide))
    });
    let mut decoder = Decoder::new(Arc::clone(&WIDE));
    *decoder.buffer_mut() = BytesMut::from(bytes);
    match decoder.next() {
        Ok(Some(decoded)) => Ok(decoded.request),
        Ok(None) | Err(_) => Err(NotHttp),
    }
}

/// A response as bytes.
pub(crate) fn response_bytes(response: &Response, method: Method) -> Bytes {
    let mut out = Vec::with_capacity(256 + response.body.len());
    if response.long_body.is_some() {
        // Such endpoints are never forwarded: the other node should know.
        let refusal = ErrorResponse::internal("The answer is too long to be forwarded").into_response();
        encode(&mut out, &refusal, method == Method::Head);
        return out.into();
    }
    encode(&mut out, response, method == Method::Head);
    out.into()
}

/// Headers of a response that another node forwards: as many as a request may have unless configured otherwise.
const RESPONSE_HEADERS_MAX: usize = 256;

/// Reads one response.
///
/// # Errors
/// [`NotHttp`].
pub(crate) fn parse_response(bytes: &Bytes) -> Result<Response, NotHttp> {
    let mut headers = [httparse::EMPTY_HEADER; RESPONSE_HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(bytes) else { return Err(NotHttp) };
    let mut response = Response::status(parsed.code.ok_or(NotHttp)?);
    for header in parsed.headers {
        let name = header.name.to_ascii_lowercase();
        if matches!(&*name, "content-length" | "connection" | "transfer-encoding" | "date") {
            continue;
        }
        let value = std::str::from_utf8(header.value).map_err(|_| NotHttp)?;
        response.headers.set(name, value.to_owned());
    }
    response.body = bytes.slice(head..);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_survive_the_way() {
        let request = Request::simple(Method::Post, "/app/log?id=1").with_body("hello");
        let back = parse_request(&request_bytes(&request)).expect("a request");
        assert_eq!(
            (back.method(), back.target(), back.body()),
            (Method::Post, &b"/app/log?id=1"[..], &b"hello"[..])
        );
        let mut response = Response::with_body(418, "text/plain", "tea");
        response.headers.set("x-ms-ccf-transaction-id", "2.3".to_owned());
        for number in 0..200 {
            response.headers.set(format!("x-part-{number}"), "1".to_owned());
        }
        let bytes = response_bytes(&response, Method::Get);
        let back = parse_response(&bytes).expect("a response");
        assert_eq!(response_bytes(&back, Method::Get), bytes);
        for cut in 0..20 {
            assert!(parse_response(&bytes.slice(..cut)).is_err());
            assert!(parse_request(&request_bytes(&request)[..cut]).is_err());
        }
    }
}
