//! One line of a request head at a time: request line and header lines.
//!
//! Lines come without their CRLF. Nothing is copied: results are positions in the line.

use super::error::Malformed;
use ccf_endpoints::Method;
use std::ops::Range;

/// A line that is not what it should be, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) reason: Malformed,
    pub(super) at: usize,
}

impl BadLine {
    fn new(reason: Malformed, at: usize) -> BadLine {
        BadLine { reason, at }
    }
}

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) target: Range<usize>,
}

/// Length of the longest method name.
const METHOD_BYTES_MAX: usize = 11;

/// Refuses the beginning of a request that no method begins with, before its line is complete: garbage
/// without a line end must be answered too.
pub(super) fn check_method_prefix(start: &[u8]) -> Result<(), BadLine> {
    // The next byte may be the line feed that makes this a line end.
    let start = start.strip_suffix(b"\r").unwrap_or(start);
    let head = start.get(..=METHOD_BYTES_MAX).unwrap_or(start);
    let ok = match head.iter().position(|&b| b == b' ') {
        Some(end) => Method::parse(head.get(..end).unwrap_or_default()).is_ok(),
        None => Method::ALL.iter().any(|m| m.as_str().as_bytes().starts_with(head)),
    };
    if ok { Ok(()) } else { Err(BadLine::new(Malformed::Method, 0)) }
}

/// Parses `METHOD target HTTP/1.1`.
pub(super) fn parse_request_line(line: &[u8]) -> Result<RequestLine, BadLine> {
    let method_end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let method = match line.get(..method_end) {
        Some(b"GET") => Method::Get,
        Some(b"POST") => Method::Post,
        Some(other) => Method::parse(other).map_err(|_| BadLine::new(Malformed::Method, 0))?,
        None => return Err(BadLine::new(Malformed::Method, 0)),
    };
    let target_start = method_end + 1;
    let rest = line.get(target_start..).unwrap_or_default();
    let target_len = rest.iter().position(|b| !b.is_ascii_graphic()).unwrap_or(rest.len());
    let target_end = target_start + target_len;
    if target_len == 0 || rest.get(target_len).is_some_and(|&b| b != b' ') {
        return Err(BadLine::new(Malformed::Target, target_end));
    }
    match line.get(target_end..) {
        Some(b" HTTP/1.1" | b" HTTP/1.0" | b" HTTP/2.0") => {
            Ok(RequestLine { method, target: target_start..target_end })
        }
        _ => Err(BadLine::new(Malformed::Version, target_end + 1)),
    }
}

/// A header line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderLine {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
    /// The name is not all lower-case yet.
    pub(super) has_upper_case: bool,
}

/// Where the name ends and the value's first byte stands, as far as the line is there.
pub(super) fn split_header_line(line: &[u8]) -> Option<(usize, usize)> {
    let colon = memchr::memchr(b':', line)?;
    let blank = line.get(colon + 1..)?.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    Some((colon, colon + 1 + blank))
}

/// Checks the characters of a header line split by [`split_header_line`] and trims the value.
pub(super) fn parse_header_line(
    line: &[u8],
    colon: usize,
    value_start: usize,
) -> Result<HeaderLine, BadLine> {
    let name = line.get(..colon).unwrap_or_default();
    let mut classes = 0;
    for &byte in name {
        classes |= NAME_CLASS[usize::from(byte)];
    }
    if name.is_empty() || classes & CLASS_BAD != 0 {
        let at = name.iter().position(|&b| NAME_CLASS[usize::from(b)] & CLASS_BAD != 0).unwrap_or(0);
        return Err(BadLine::new(Malformed::HeaderName, at));
    }
    let value = line.get(value_start..).unwrap_or_default();
    let mut bad = false;
    for &byte in value {
        bad |= (byte < b' ' && byte != b'\t') | (byte == 0x7f);
    }
    if bad {
        let at = value.iter().position(|&b| (b < b' ' && b != b'\t') || b == 0x7f).unwrap_or(0);
        return Err(BadLine::new(Malformed::HeaderValue, value_start + at));
    }
    let blank = value.iter().rev().take_while(|&&b| b == b' ' || b == b'\t').count();
    Ok(HeaderLine {
        name: 0..colon,
        value: value_start..line.len() - blank,
        has_upper_case: classes & CLASS_UPPER != 0,
    })
}

const CLASS_UPPER: u8 = 1;
const CLASS_BAD: u8 = 2;

/// RFC 9110, section 5.6.2: which bytes may stand in a header name.
const NAME_CLASS: [u8; 256] = {
    let mut table = [CLASS_BAD; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_uppercase() {
            table[byte] = CLASS_UPPER;
        } else if b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            table[byte] = 0;
        }
        byte += 1;
    }
    table
};

/// Reads a `content-length` value: decimal digits, nothing else. A number beyond `usize` reads as its largest
/// value, which every limit refuses.
pub(super) fn parse_content_length(value: &[u8]) -> Option<usize> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0usize, |n, &d| n.saturating_mul(10).saturating_add(usize::from(d - b'0'))))
}

/// Reads a chunk-size line (without CRLF): hexadecimal digits, then optionally an extension, which is
/// ignored. Sizes beyond `usize` read as its largest value.
pub(super) fn parse_chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let rest = line.get(digits..)?;
    let extension = rest.iter().position(|&b| b != b' ' && b != b'\t').and_then(|at| rest.get(at));
    if digits == 0 || extension.is_some_and(|&b| b != b';') || rest.iter().any(|&b| b < b' ' && b != b'\t') {
        return None;
    }
    let value = |d: u8| usize::from(if d.is_ascii_digit() { d - b'0' } else { (d | 0x20) - b'a' + 10 });
    Some(
        line.iter()
            .take(digits)
            .fold(0usize, |n, &d| if n > usize::MAX >> 4 { usize::MAX } else { n << 4 | value(d) }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let line = b"GET /a?b=c#d HTTP/1.1";
        let parsed = parse_request_line(line).unwrap();
        assert_eq!((parsed.method, &line[parsed.target]), (Method::Get, &b"/a?b=c#d"[..]));
        for version in ["1.0", "2.0"] {
            assert!(parse_request_line(format!("M-SEARCH * HTTP/{version}").as_bytes()).is_ok());
        }
        for (line, reason, at) in [
            (&b"get / HTTP/1.1"[..], Malformed::Method, 0),
            (b"", Malformed::Method, 0),
            (b"GET", Malformed::Target, 4),
            (b"GET  / HTTP/1.1", Malformed::Target, 4),
            (b"GET /\xc3\xa4 HTTP/1.1", Malformed::Target, 5),
            (b"GET /a\tb HTTP/1.1", Malformed::Target, 6),
            (b"GET / HTTP/1.2", Malformed::Version, 6),
            (b"GET /", Malformed::Version, 6),
            (b"GET / HTTP/1.1 ", Malformed::Version, 6),
        ] {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(parse_request_line(line), Err(BadLine { reason, at }), "{shown}");
        }
    }

    #[test]
    fn method_prefixes() {
        for ok in [
            &b""[..],
            b"G",
            b"GET",
            b"GET\r",
            b"GET ",
            b"M-SEAR",
            b"UNSUBSCRIBE",
            b"UNSUBSCRIBE /",
            b"PROPFIND",
        ] {
            assert!(check_method_prefix(ok).is_ok(), "{ok:?}");
        }
        for bad in
            [&b"g"[..], b" ", b"GETT", b"GET\rX", b"G ", b"\x16\x03", b"UNSUBSCRIBEX", b"UNSUBSCRIBEXY Z"]
        {
            assert!(check_method_prefix(bad).is_err(), "{bad:?}");
        }
    }

    fn header(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadLine> {
        let (colon, value) = split_header_line(line).unwrap_or((line.len(), line.len()));
        let parsed = parse_header_line(line, colon, value)?;
        Ok((line[parsed.name].to_vec(), line[parsed.value].to_vec()))
    }

    #[test]
    fn header_lines() {
        for (line, name, value) in [
            (&b"a: b"[..], &b"a"[..], &b"b"[..]),
            (b"Content-Type:text/plain \t", b"Content-Type", b"text/plain"),
            (b"x:", b"x", b""),
            (b"x: \t ", b"x", b""),
            (b"x: a:b \xff", b"x", b"a:b \xff"),
        ] {
            assert_eq!(header(line), Ok((name.to_vec(), value.to_vec())));
        }
        for (line, reason) in [
            (&b": v"[..], Malformed::HeaderName),
            (b"a : v", Malformed::HeaderName),
            (b"a b: v", Malformed::HeaderName),
            (b" a: v", Malformed::HeaderName),
            (b"\xc3: v", Malformed::HeaderName),
            (b"a: \x00", Malformed::HeaderValue),
            (b"a: b\rc", Malformed::HeaderValue),
            (b"a: \x7f", Malformed::HeaderValue),
        ] {
            assert_eq!(header(line).map_err(|e| e.reason), Err(reason), "{line:?}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(parse_content_length(b"0"), Some(0));
        assert_eq!(parse_content_length(b"0012"), Some(12));
        assert_eq!(parse_content_length(b"99999999999999999999999999"), Some(usize::MAX));
        for bad in [&b""[..], b"+1", b"-1", b"1 ", b"0x1", b"1,1"] {
            assert_eq!(parse_content_length(bad), None, "{bad:?}");
        }
        assert_eq!(parse_chunk_size(b"fF;a=b"), Some(255));
        assert_eq!(parse_chunk_size(b"1 ;x"), Some(1));
        assert_eq!(parse_chunk_size(b"fffffffffffffffffff"), Some(usize::MAX));
        for bad in [&b""[..], b";", b"g", b"1x", b"-1", b"1;\r", b" 1", b"0x1"] {
            assert_eq!(parse_chunk_size(bad), None, "{bad:?}");
        }
    }
}
