//! The little HTTP/1.1 that a load generator needs: requests formatted once, responses measured without building anything.

use memchr::memmem;

/// A response head may not be larger than this; a server that sends more is not speaking to us.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The part of a response that the load generator looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// HTTP status code.
    pub status: u16,
    /// Bytes of the status line and headers, with the empty line.
    pub head_bytes: usize,
    /// Bytes of the body, from `content-length` (0 without it).
    pub body_bytes: usize,
}

impl Scanned {
    /// Bytes of the whole response.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

/// Why the bytes of a server cannot be read as a response.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// The first bytes are not `HTTP/1.1 NNN`.
    #[error("the server's answer does not start with an HTTP/1.1 status line (is it an HTTP/2 interface?)")]
    NotHttp1,
    /// `content-length` is not a number that fits.
    #[error("the server sent an unreadable content-length")]
    ContentLength,
    /// Chunked bodies are not supported: CCF never sends them.
    #[error("the server sent a chunked body, which this load generator does not read")]
    Chunked,
    /// No end of the head within [`HEAD_BYTES_MAX`].
    #[error("the server sent a response head of more than {HEAD_BYTES_MAX} bytes")]
    HeadTooLarge,
}

/// Looks at the response at the start of `bytes`; `None` when its head is not complete yet.
///
/// # Errors
/// [`WireError`] when this is no HTTP/1.1 response of the kind CCF sends.
pub fn scan(bytes: &[u8]) -> Result<Option<Scanned>, WireError> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return match bytes.len() {
            n if n > HEAD_BYTES_MAX => Err(WireError::HeadTooLarge),
            n if n >= 7 && !bytes.starts_with(b"HTTP/1.") => Err(WireError::NotHttp1),
            _ => Ok(None),
        };
    };
    let head = &bytes[..end];
    let digits = head.get(9..12).filter(|_| head.starts_with(b"HTTP/1."));
    let status = digits.and_then(decimal).ok_or(WireError::NotHttp1)?;
    let body_bytes = match header(head, b"content-length") {
        Some(text) => decimal(text).ok_or(WireError::ContentLength)?,
        None if header(head, b"transfer-encoding").is_some() => return Err(WireError::Chunked),
        None => 0,
    };
    Ok(Some(Scanned { status: status as u16, head_bytes: end + 4, body_bytes }))
}

/// The value of the first header called `name` (lower case) in a response head.
#[must_use]
pub fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while let Some(line_end) = memchr::memchr(b'\n', rest) {
        rest = &rest[line_end + 1..];
        let is_named = rest.len() > name.len()
            && rest[name.len()] == b':'
            && rest[..name.len()].eq_ignore_ascii_case(name);
        if is_named {
            let value = &rest[name.len() + 1..];
            let end = memchr::memchr(b'\r', value).unwrap_or(value.len());
            return Some(value[..end].trim_ascii());
        }
    }
    None
}

/// Formats a request; `content-type` is JSON when there is a body.
#[must_use]
pub fn request(method: &str, path: &str, host: &str, body: Option<&str>) -> Vec<u8> {
    match body {
        Some(body) => format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        None => format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    }
    .into_bytes()
}

fn decimal(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |sum, c| c.is_ascii_digit().then(|| sum * 10 + usize::from(c - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\ncontent-type: application/json\r\nx-ms-ccf-transaction-id: 2.17\r\n\r\ntrueHTTP";

    #[test]
    fn complete_answers_are_measured() {
        let scanned = scan(ANSWER).unwrap().unwrap();
        assert_eq!((scanned.status, scanned.body_bytes), (200, 4));
        assert_eq!(&ANSWER[scanned.total_bytes()..], b"HTTP");
        assert_eq!(header(&ANSWER[..scanned.head_bytes], b"x-ms-ccf-transaction-id"), Some(&b"2.17"[..]));
        assert_eq!(scan(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().total_bytes(), 27);
    }

    #[test]
    fn every_prefix_waits_for_more() {
        let head_end = ANSWER.len() - 8;
        for end in 0..head_end {
            assert_eq!(scan(&ANSWER[..end]), Ok(None), "prefix of {end} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(scan(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), Err(WireError::NotHttp1));
        assert_eq!(scan(b"HTTP/1.1 2x0 OK\r\n\r\n"), Err(WireError::NotHttp1));
        assert_eq!(scan(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), Err(WireError::ContentLength));
        assert_eq!(scan(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(WireError::Chunked));
        assert_eq!(scan(&vec![b'H'; HEAD_BYTES_MAX + 1]), Err(WireError::HeadTooLarge));
    }

    #[test]
    fn requests_are_plain_http() {
        let bytes = request("POST", "/app/log/private", "127.0.0.1:8000", Some("{}"));
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Request::new(&mut headers);
        let head = parsed.parse(&bytes).unwrap().unwrap();
        assert_eq!((parsed.method, parsed.path), (Some("POST"), Some("/app/log/private")));
        assert_eq!(&bytes[head..], b"{}");
    }
}
