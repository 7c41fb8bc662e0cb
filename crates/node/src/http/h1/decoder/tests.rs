//! Tests of the decoder: tables of good and bad requests, and properties over random cuts and damage.

use super::*;
use crate::http::h1::fuzzing::decode_in_pieces;
use proptest::prelude::*;

fn decoder(body: usize, header: usize, count: usize) -> Decoder {
    let mut settings = InterfaceSettings::new("test");
    settings.max_body_size = SizeLimit::new(body, "BODY");
    settings.max_header_size = SizeLimit::new(header, "HEADER");
    settings.max_headers_count = count;
    Decoder::new(Arc::new(Limits::of(&settings)))
}

fn first(bytes: &[u8]) -> Result<Option<Decoded>, RequestError> {
    let mut decoder = decoder(64, 48, 6);
    decoder.buffer_mut().extend_from_slice(bytes);
    decoder.next()
}

fn reason(bytes: &[u8]) -> Malformed {
    match first(bytes) {
        Err(RequestError::Malformed { reason, .. }) => reason,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn pipelined_requests_come_out_in_order() {
    let mut decoder = decoder(64, 48, 6);
    decoder.buffer_mut().extend_from_slice(
        b"\r\n\r\nPOST /a?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
          GET /b HTTP/1.0\r\nConnection: foo, Close\r\n\r\n\
          PUT /c HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n3;ext=1\r\nxyz\r\nA\r\n0123456789\r\n0\r\nt: 1\r\n\r\nGET ",
    );
    let one = decoder.next().unwrap().unwrap();
    assert_eq!(one.request.method().as_str(), "POST");
    assert_eq!(one.request.target(), b"/a?x=1");
    assert_eq!(one.request.body(), b"abc");
    let headers: Vec<_> = one.request.headers().iter().collect();
    assert_eq!(headers, vec![("host", &b"h"[..]), ("content-length", b"3")]);
    assert!(!one.close);
    let two = decoder.next().unwrap().unwrap();
    assert_eq!(two.request.path(), b"/b");
    assert!(two.close);
    let three = decoder.next().unwrap().unwrap();
    assert_eq!(three.request.body(), b"xyz0123456789");
    assert!(!three.close);
    assert!(decoder.next().unwrap().is_none());
    assert!(decoder.is_midway());
}

#[test]
fn a_repeated_header_keeps_its_first_value() {
    let decoded = first(b"GET / HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n").unwrap().unwrap();
    assert_eq!(decoded.request.headers().get("a"), Some(&b"1"[..]));
}

#[test]
fn malformed_requests() {
    use Malformed::*;
    for (bytes, expected) in [
        (&b"get /node/commit HTTP/1.1\r\n\r\n"[..], Method),
        (b"\x16\x03\x01", Method),
        (b"\n", Method),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Method),
        (b"GET /\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\na: b\n\r\n", BareLineFeed),
        (b"GET / HTTP/1.1\n\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\n\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", FoldedHeader),
        (b"GET / HTTP/1.1\r\n a: b\r\n\r\n", FoldedHeader),
        (b"GET / HTTP/1.1\r\na : b\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nab\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\na: \x01\r\n\r\n", HeaderValue),
        (b"GET /\x80 HTTP/1.1\r\n\r\n", Target),
        (b"GET / HTTP/3.0\r\n\r\n", Version),
        (b"GET / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", ContentLengthTwice),
        (b"GET / HTTP/1.1\r\ncontent-length: 3x\r\n\r\n", ContentLength),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            ContentLengthAndChunks,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            ContentLengthAndChunks,
        ),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", TransferEncoding),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", ChunkSize),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\n", ChunkLine),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab", ChunkEnd),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nbad\r\n", Trailer),
    ] {
        assert_eq!(reason(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn texts_of_the_transcripts() {
    let limits = Limits::of(&InterfaceSettings::new("x"));
    let answer = |bytes: &[u8]| {
        let response = limits.response(&first(bytes).unwrap_err());
        (response.status, String::from_utf8_lossy(&response.body).into_owned())
    };
    assert_eq!(
        answer(b"get /node/commit HTTP/1.1\r\n\r\n"),
        (
            400,
            "Unable to parse data as a HTTP request. Error message is: HTTP parsing failed (HPE_INVALID_METHOD: \
             Invalid method encountered) around byte 0\nError occurred while parsing fragment:\n\
             get /node/commit HTTP/1.1\r\n\r\n"
                .to_owned()
        )
    );
    assert_eq!(
        answer(b"POST /app/t HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
        (
            400,
            "Unable to parse data as a HTTP request. Error message is: HTTP parsing failed \
             (HPE_UNEXPECTED_CONTENT_LENGTH: Duplicate Content-Length) around byte 57\nError occurred while \
             parsing fragment:\nPOST /app/t HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"
                .to_owned()
        )
    );
}

#[test]
fn limits_are_inclusive() {
    let sized = |body: usize, name: usize, value: usize, count: usize| {
        let mut text = format!("POST / HTTP/1.1\r\ncontent-length: {body}\r\n");
        for i in 1..count {
            let (n, v) = if i == 1 { (name, value) } else { (1, 1) };
            text += &format!("{}: {}\r\n", "n".repeat(n), "v".repeat(v));
        }
        text += "\r\n";
        text += &"b".repeat(body);
        first(text.as_bytes())
    };
    assert!(matches!(sized(64, 48, 48, 6), Ok(Some(_))));
    assert_eq!(sized(65, 48, 48, 6).unwrap_err(), RequestError::BodyTooLarge);
    assert_eq!(sized(64, 49, 48, 6).unwrap_err(), RequestError::NameTooLarge { name: vec![b'n'; 49] });
    assert_eq!(sized(64, 48, 49, 6).unwrap_err(), RequestError::ValueTooLarge { name: vec![b'n'; 48] });
    assert_eq!(sized(64, 48, 48, 7).unwrap_err(), RequestError::TooManyHeaders);
    let chunks = |n| {
        format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{}\r\n{n:x}\r\n", "x".repeat(32))
    };
    assert!(first(chunks(32).as_bytes()).unwrap().is_none());
    assert_eq!(first(chunks(33).as_bytes()).unwrap_err(), RequestError::BodyTooLarge);
    assert_eq!(
        first(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n").unwrap_err(),
        RequestError::BodyTooLarge
    );
}

#[test]
fn what_never_ends_is_refused() {
    let mut endless = decoder(64, 48, 6);
    let mut held = 0;
    endless.buffer_mut().extend_from_slice(b"GET /");
    let refused = loop {
        endless.buffer_mut().extend_from_slice(&[b'a'; 4096]);
        held = held.max(endless.held_bytes());
        match endless.next() {
            Ok(None) => {}
            other => break other,
        }
    };
    assert_eq!(refused.unwrap_err(), RequestError::HeadTooLarge { limit: HEAD_BYTES_MIN_BOUND });
    assert!(held < HEAD_BYTES_MIN_BOUND + 8192);
    // A header without an end is refused as soon as it is too long.
    assert_eq!(
        first(format!("GET / HTTP/1.1\r\nx: {}", "v".repeat(49)).as_bytes()).unwrap_err(),
        RequestError::ValueTooLarge { name: b"x".to_vec() }
    );
    let mut extension = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;".to_vec();
    extension.extend_from_slice(&[b'x'; CHUNK_LINE_BYTES_MAX]);
    assert_eq!(reason(&extension), Malformed::ChunkLine);
    let mut trailers = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n".to_vec();
    for _ in 0..7 {
        trailers.extend_from_slice(b"a: b\r\n");
    }
    assert_eq!(first(&trailers).unwrap_err(), RequestError::TooManyHeaders);
}

#[test]
fn continue_is_asked_for_once_and_only_without_a_body() {
    let mut waiting = decoder(64, 48, 6);
    waiting
        .buffer_mut()
        .extend_from_slice(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert!(waiting.next().unwrap().is_none());
    assert!(waiting.take_expects_continue());
    assert!(!waiting.take_expects_continue());
    waiting.buffer_mut().extend_from_slice(b"ab");
    assert!(waiting.next().unwrap().is_some());
    let mut eager = decoder(64, 48, 6);
    eager
        .buffer_mut()
        .extend_from_slice(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\na");
    assert!(eager.next().unwrap().is_none());
    assert!(!eager.take_expects_continue());
}

/// Pieces of requests, good and bad, from which streams are put together.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "GET /x HTTP/2.0\r\n",
    "get / HTTP/1.1\r\n",
    "UNSUBSCRIBE",
    "host: h\r\n",
    "Content-Length: 5\r\n",
    "content-length: 64\r\n",
    "content-length: 65\r\n",
    "transfer-encoding: chunked\r\n",
    "x: 0123456789012345678901234567890123456789\r\n",
    "a-name-of-forty-eight-bytes-exactly-0123456789ab: y\r\n",
    "long: 0123456789012345678901234567890123456789012345678\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "5\r\nhello\n",
    "0\r\n\r\n",
    "0\r\nt: 1\r\n",
    "GET /node/commit HTTP/1.1\r\n\r\n",
    "POST /p HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
    "PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    " ",
    ":",
];

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..12);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (pieces, damage).prop_map(|(pieces, damage)| {
        let mut bytes = pieces.concat().into_bytes();
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn cutting_changes_nothing(bytes in stream(), cuts in prop::collection::vec(0usize..40, 0..20)) {
        prop_assert_eq!(decode_in_pieces(&bytes, []), decode_in_pieces(&bytes, cuts));
        let ones = std::iter::repeat_n(1, bytes.len());
        prop_assert_eq!(decode_in_pieces(&bytes, []), decode_in_pieces(&bytes, ones));
    }

    /// httparse, which many servers use, reads the same head out of whatever we accept.
    #[test]
    fn agrees_with_httparse(bytes in stream()) {
        if let Ok(Some(decoded)) = first(&bytes) {
            let start = bytes.iter().position(|b| !b"\r\n".contains(b)).unwrap();
            // It does not know HTTP/2.0, which is served as 1.1.
            let text = String::from_utf8_lossy(&bytes[start..]).replacen("HTTP/2.0\r\n", "HTTP/1.1\r\n", 1);
            if text.len() == bytes.len() - start {
                let mut headers = [httparse::EMPTY_HEADER; 8];
                let mut theirs = httparse::Request::new(&mut headers);
                prop_assert!(theirs.parse(text.as_bytes()).unwrap().is_complete());
                prop_assert_eq!(theirs.method.unwrap(), decoded.request.method().as_str());
                prop_assert_eq!(theirs.path.unwrap().as_bytes(), decoded.request.target());
                let ours: Vec<_> = decoded.request.headers().iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
                let theirs: Vec<_> =
                    theirs.headers.iter().map(|h| (h.name.to_ascii_lowercase(), h.value.to_vec())).collect();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
