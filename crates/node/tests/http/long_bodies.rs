//! Bodies that are longer than memory: sent piece by piece, as fast as the client takes them.

use crate::{
    http2::{connect, h2, post, run},
    support::*,
};
use http_body_util::BodyExt;
use std::{
    io::{Read, Write},
    sync::atomic::Ordering::SeqCst,
    thread,
    time::Duration,
};

/// What may be on its way to a client: buffers of both systems, of TLS, of HTTP/2.
const UNDER_WAY_BYTES_MAX: u64 = 30 << 20;

/// One piece of a body.
const PIECE_BYTES_MAX: usize = 256 << 10;

fn byte_at(at: u64) -> u8 {
    at.to_le_bytes()[2]
}

/// Waits until the server reads no further; answers how far it has read.
fn stalled(long: &Long) -> u64 {
    let mut read = long.read.load(SeqCst);
    loop {
        thread::sleep(Duration::from_millis(300));
        match long.read.load(SeqCst) {
            same if same == read => return same,
            further => read = further,
        }
    }
}

fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_long_body_is_read_no_faster_than_the_client_takes_it() {
    let running = start(|_, server| server.workers = 1);
    let long = running.echo.long.clone();
    let mut stream = tls(running.address);
    stream.write_all(b"GET /long HTTP/1.1\r\n\r\nGET /after HTTP/1.1\r\n\r\n").unwrap();
    let head = head(&mut stream);
    assert!(head.contains(&format!("content-length: {LONG_BYTES}\r\n")), "{head}");
    let at_first = stalled(&long);
    assert!(at_first < UNDER_WAY_BYTES_MAX, "{at_first} bytes were read for a client that takes none");
    // Others of the same worker have their turn, while it waits and while it sends.
    let mut other = tls(running.address);
    assert!(ask(&mut other, "GET /a HTTP/1.1\r\n\r\n").ends_with("GET /a\n"));
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    while taken < LONG_BYTES {
        let part = usize::try_from((LONG_BYTES - taken).min(buffer.len() as u64)).unwrap();
        stream.read_exact(&mut buffer[..part]).unwrap();
        assert!(buffer[..part].iter().zip(taken..).step_by(997).all(|(byte, at)| *byte == byte_at(at)));
        taken += part as u64;
        assert!(long.read.load(SeqCst) < taken + UNDER_WAY_BYTES_MAX);
        if taken == 50 << 20 {
            assert!(ask(&mut other, "GET /b HTTP/1.1\r\n\r\n").ends_with("GET /b\n"));
        }
    }
    assert!(answer(&mut stream).unwrap().ends_with("GET /after\n"));
    assert!(long.longest.load(SeqCst) <= PIECE_BYTES_MAX);
}

#[test]
fn an_answer_to_head_reads_nothing() {
    let running = start(plain);
    let mut stream = tcp(running.address);
    let answer = ask(&mut stream, "HEAD /long HTTP/1.1\r\n\r\n");
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
    assert!(ask(&mut stream, "GET /after HTTP/1.1\r\n\r\n").ends_with("GET /after\n"));
    assert_eq!(running.echo.long.read.load(SeqCst), 0);
}

#[test]
fn a_body_that_breaks_off_ends_the_session() {
    let running = start(plain);
    running.echo.long.broken_at.store(3 << 20, SeqCst);
    let mut stream = tcp(running.address);
    stream.write_all(b"GET /long HTTP/1.1\r\n\r\n").unwrap();
    head(&mut stream);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() <= 3 << 20, "{} bytes", rest.len());
    assert!(ask(&mut tcp(running.address), "GET /a HTTP/1.1\r\n\r\n").ends_with("GET /a\n"));
}

#[test]
fn http2_sends_a_long_body_in_pieces() {
    let running = start(|interface, _| h2(interface));
    let long = running.echo.long.clone();
    run(async {
        let mut sender = connect(running.address, true).await;
        let mut heads = post("/long", Vec::new());
        *heads.method_mut() = hyper::Method::HEAD;
        let response = sender.send_request(heads).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 0);
        assert_eq!(long.read.load(SeqCst), 0);

        let response = sender.send_request(post("/long", Vec::new())).await.unwrap();
        assert_eq!(response.headers()["content-length"], LONG_BYTES.to_string().as_str());
        let mut body = response.into_body();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut taken = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.iter().zip(taken..).step_by(997).all(|(byte, at)| *byte == byte_at(at)));
            taken += data.len() as u64;
            assert!(long.read.load(SeqCst) < taken + UNDER_WAY_BYTES_MAX);
        }
        assert_eq!(taken, LONG_BYTES);
        assert!(long.longest.load(SeqCst) <= PIECE_BYTES_MAX);

        long.broken_at.store(3 << 20, SeqCst);
        let response = sender.send_request(post("/long", Vec::new())).await.unwrap();
        assert!(response.into_body().collect().await.is_err(), "an answer that broke off looked whole");
    });
}
