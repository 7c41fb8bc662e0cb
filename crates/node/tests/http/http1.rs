//! HTTP/1.1: order, refusals, limits.

use crate::support::*;
use ccf_node::http::SizeLimit;
use proptest::prelude::*;
use std::{io::Write, sync::atomic::Ordering::SeqCst};

#[test]
fn answers_look_as_specified() {
    let running = start(plain);
    let mut stream = tcp(running.address);
    assert_eq!(
        ask(&mut stream, "POST /a?b HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"),
        "HTTP/1.1 200 OK\r\ncontent-length: 12\r\ncontent-type: text/plain\r\n\r\nPOST /a?b\nhi"
    );
    // Answers to HEAD have no body, HTTP/1.0 stays open, absolute targets are paths.
    assert_eq!(
        ask(&mut stream, "HEAD /a HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-type: text/plain\r\n\r\n"
    );
    assert!(ask(&mut stream, "GET /a HTTP/1.0\r\n\r\n").ends_with("GET /a\n"));
    assert!(ask(&mut stream, "GET https://h/a HTTP/1.1\r\n\r\n").ends_with("GET https://h/a\n"));
    assert!(
        ask(&mut stream, "GET /headers HTTP/1.1\r\nHost: x\r\nA:  b \r\n\r\n").ends_with("host=x\na=b\n")
    );
    assert!(
        ask(&mut stream, "POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            .ends_with("POST /c\nhi")
    );
}

#[test]
fn a_client_that_waits_for_continue_gets_it() {
    let running = start(plain);
    let mut stream = tcp(running.address);
    let head = "POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    assert_eq!(ask(&mut stream, head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(ask(&mut stream, "hi").ends_with("POST /a\nhi"));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_in_bursts() {
    let running = start(|_, _| ());
    let mut stream = tls(running.address);
    ask(&mut stream, "GET /first HTTP/1.1\r\n\r\n");
    let before = running.echo.batches.load(SeqCst);
    let requests: String = (0..100).map(|i| format!("GET /{i} HTTP/1.1\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for i in 0..100 {
        assert!(answer(&mut stream).unwrap().ends_with(&format!("GET /{i}\n")));
    }
    // One write, one record: one burst. Two if the system cut it.
    assert!(running.echo.batches.load(SeqCst) - before <= 2);
}

#[test]
fn an_answer_that_is_pending_holds_up_those_behind_it() {
    let running = start(plain);
    let mut stream = tcp(running.address);
    stream.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /wait HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n").unwrap();
    // What stands before it is not held up.
    assert!(answer(&mut stream).unwrap().ends_with("GET /1\n"));
    until(|| running.echo.waiting.lock().unwrap().len() == 1);
    assert_eq!(running.echo.requests.load(SeqCst), 2);
    running.echo.release(1);
    assert!(answer(&mut stream).unwrap().ends_with("GET /wait\n"));
    assert!(answer(&mut stream).unwrap().ends_with("GET /3\n"));
}

#[test]
fn a_session_without_room_reads_nothing_more() {
    let running = start(plain);
    running.echo.is_full.store(true, SeqCst);
    let mut stream = tcp(running.address);
    stream.write_all(b"GET /1 HTTP/1.1\r\n\r\n").unwrap();
    until(|| running.echo.waiting.lock().unwrap().len() == 1);
    // Much more than the sockets' buffers take.
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let request = [b"GET /2 HTTP/1.1\r\n\r\n".as_slice(); 1000].concat();
    let mut sent = 0;
    while let Ok(count) = stream.write(&request[sent % request.len()..]) {
        sent += count;
        assert!(sent < 256 << 20, "the client is not slowed down");
    }
    assert_eq!(running.echo.requests.load(SeqCst), 0);
    running.echo.is_full.store(false, SeqCst);
    running.echo.release(1);
    assert!(answer(&mut stream).unwrap().ends_with("GET /1\n"));
    assert!(answer(&mut stream).unwrap().ends_with("GET /2\n"));
}

#[test]
fn closing_outcomes_close() {
    let running = start(plain);
    for (path, answered) in [("/close", true), ("/drop", false), ("/panic", false)] {
        let mut stream = tcp(running.address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        if answered {
            assert!(answer(&mut stream).unwrap().ends_with("GET /close\n"));
        }
        assert!(is_closed(&mut stream), "{path}");
    }
    let mut stream = tcp(running.address);
    ask(&mut stream, "GET /a HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert!(is_closed(&mut stream));
    until(|| running.server.metrics().active == 0);
    assert_eq!(running.echo.requests.load(SeqCst), 4);
}

#[test]
fn refusals_are_answered_counted_and_final() {
    let running = start(|interface, _| {
        interface.max_body_size = SizeLimit::new(2048, "2KB");
        interface.max_header_size = SizeLimit::new(1024, "1KB");
        interface.max_headers_count = 20;
    });
    let long = "x".repeat(1025);
    let many: String = (0..21).map(|i| format!("h{i}: v\r\n")).collect();
    let error =
        |code: &str, text: &str| format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"{text}\"}}}}");
    for (request, status, body) in [
        (
            "get /node/commit HTTP/1.1\r\n\r\n".to_owned(),
            "HTTP/1.1 400 Bad Request\r\n",
            "Unable to parse data as a HTTP request. Error message is: HTTP parsing failed (HPE_INVALID_METHOD: \
             Invalid method encountered) around byte 0\nError occurred while parsing fragment:\n\
             get /node/commit HTTP/1.1\r\n\r\n"
                .to_owned(),
        ),
        (
            format!("POST / HTTP/1.1\r\ncontent-length: 2049\r\n\r\n{}", "b".repeat(2049)),
            "HTTP/1.1 413 Payload Too Large\r\n",
            error("RequestBodyTooLarge", "HTTP request body is too large (max size allowed: 2KB)"),
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            error("RequestHeaderTooLarge", "Header value for 'x' is too large (max size allowed: 1KB)"),
        ),
        (
            format!("GET / HTTP/1.1\r\n{long}: x\r\n\r\n"),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            error("RequestHeaderTooLarge", &format!("Header key for '{long}' is too large (max size allowed: 1KB)")),
        ),
        (
            format!("GET / HTTP/1.1\r\n{many}\r\n"),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            error("RequestHeaderTooLarge", "Too many headers (max number allowed: 20)"),
        ),
    ] {
        let mut stream = tls(running.address);
        // A good request before it is still answered.
        stream.write_all(format!("GET /good HTTP/1.1\r\n\r\n{request}").as_bytes()).unwrap();
        assert!(answer(&mut stream).unwrap().ends_with("GET /good\n"));
        let refusal = answer(&mut stream).unwrap();
        assert!(refusal.starts_with(status), "{refusal}");
        assert_eq!(refusal.split_once("\r\n\r\n").unwrap().1, body);
        assert!(is_closed(&mut stream));
    }
    let metrics = running.server.metrics();
    let main = &metrics.interfaces[0];
    assert_eq!(
        (main.errors_parsing, main.errors_request_payload_too_large, main.errors_request_header_too_large),
        (1, 1, 3)
    );
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let running = start(|_, _| ());
    let mut stream = tls(running.address);
    let body = vec![b'b'; 8 << 20];
    stream
        .write_all(format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())
        .unwrap();
    // The server may close before all of it is sent.
    let _ = stream.write_all(&body);
    assert!(answer(&mut stream).unwrap().starts_with("HTTP/1.1 413 "));
}

#[test]
fn large_bodies_and_answers_pass() {
    let running = start(|_, _| ());
    let mut stream = tls(running.address);
    let body = "0123456789abcdef".repeat(1 << 16);
    let head = format!("POST /big HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
    for _ in 0..3 {
        let reply = ask(&mut stream, &format!("{head}{body}"));
        assert!(reply.ends_with(&format!("POST /big\n{body}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However a client cuts its stream into writes, the bytes it gets back are the same.
    #[test]
    fn cutting_changes_nothing(cuts in prop::collection::vec(1usize..60, 1..40), secure: bool) {
        let running = if secure { start(|_, _| ()) } else { start(plain) };
        let stream = b"GET /1 HTTP/1.1\r\nhost: h\r\n\r\nPOST /2 HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello\
            HEAD /3 HTTP/1.1\r\n\r\nPUT /4 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET /close HTTP/1.1\r\n\r\n";
        let expected = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-type: text/plain\r\n\r\nGET /1\n\
            HTTP/1.1 200 OK\r\ncontent-length: 13\r\ncontent-type: text/plain\r\n\r\nPOST /2\nhello\
            HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-type: text/plain\r\n\r\n\
            HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-type: text/plain\r\n\r\nPUT /4\nabc\
            HTTP/1.1 200 OK\r\ncontent-length: 11\r\ncontent-type: text/plain\r\n\r\nGET /close\n";
        let got = if secure {
            converse(tls(running.address), stream, &cuts)
        } else {
            converse(tcp(running.address), stream, &cuts)
        };
        prop_assert_eq!(got, expected);
    }
}

fn converse(mut stream: impl std::io::Read + Write, bytes: &[u8], cuts: &[usize]) -> String {
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
        rest = after;
    }
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    String::from_utf8(got).unwrap()
}
