//! What a client of HTTP/2 may try, frame by frame over TLS: the server ends its session or bears it, and serves others meanwhile.

use crate::{
    http2::{ask2, connect, h2, post, run},
    support::*,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::{Duration, Instant},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET https://h/`, in HPACK.
const REQUEST: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'h'];
/// `POST https://h/`.
const POST: &[u8] = &[0x83, 0x87, 0x84, 0x41, 1, b'h'];

/// The longest time a request of somebody else may take, on a machine that is busy with other tests.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection that has greeted.
fn greet(address: SocketAddr) -> Tls {
    let mut stream = Hello { alpn: vec![b"h2".to_vec()], ..Hello::default() }.connect(address);
    stream.sock.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.sock.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// Sends the bytes again and again; ends early if the server takes no more. Reads nothing.
fn flood(stream: &mut Tls, count: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) {
    let mut chunk = Vec::new();
    for number in 0..count {
        chunk.extend(bytes(number));
        if chunk.len() > 60_000 || number + 1 == count {
            if stream.write_all(&chunk).is_err() {
                return;
            }
            chunk.clear();
        }
    }
}

/// Whether the server says goodbye or hangs up.
fn is_ended(stream: &mut Tls) -> bool {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => seen.extend(&buffer[..count]),
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
        let mut at = 0;
        while let Some(head) = seen.get(at..at + 9) {
            if head[3] == GO_AWAY {
                return true;
            }
            at += 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        }
        seen.drain(..at.min(seen.len()));
    }
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// Attacks on several connections while somebody else asks; answers the longest wait of the latter.
fn while_others_ask(running: &Running, attack: impl Fn(&mut Tls) + Sync) {
    let done = AtomicBool::new(false);
    let before = resident_bytes();
    std::thread::scope(|threads| {
        let attackers: Vec<_> =
            (0..4).map(|_| threads.spawn(|| attack(&mut greet(running.address)))).collect();
        let asking = threads.spawn(|| {
            run(async {
                let mut sender = connect(running.address, true).await;
                let mut asked = 0;
                while !done.load(SeqCst) || asked < 5 {
                    let begun = Instant::now();
                    assert_eq!(ask2(&mut sender, post("/a", b"hi".to_vec())).await.0, 200);
                    assert!(begun.elapsed() < ANSWER_TIME_MAX, "{:?}", begun.elapsed());
                    asked += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        for attacker in attackers {
            attacker.join().unwrap();
        }
        done.store(true, SeqCst);
        asking.join().unwrap();
    });
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{grown} bytes");
}

/// CVE-2023-44487: streams that are opened and taken back at once.
#[test]
fn rapid_reset() {
    let running = start(|interface, _| h2(interface));
    while_others_ask(&running, |stream| {
        flood(stream, 30_000, |number| {
            let id = 2 * number as u32 + 1;
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, id, REQUEST);
            bytes.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
            bytes
        });
        // Its streams were counted, and are more than any client takes back.
        assert!(is_ended(stream));
    });
}

/// A header block without end: in long pieces, and in empty ones.
#[test]
fn continuation_without_end() {
    let running = start(|interface, _| h2(interface));
    for piece in [vec![b'x'; 16 << 10], Vec::new()] {
        while_others_ask(&running, |stream| {
            let _ = stream.write_all(&frame(HEADERS, 0, 1, REQUEST));
            flood(stream, 5000, |_| frame(CONTINUATION, 0, 1, &piece));
            assert!(is_ended(stream), "pieces of {} bytes", piece.len());
        });
    }
}

/// Each wants an answer that is never read: what the server cannot send it does not gather.
#[test]
fn answers_that_nobody_reads() {
    let running = start(|interface, _| h2(interface));
    while_others_ask(&running, |stream| flood(stream, 100_000, |_| frame(SETTINGS, 0, 0, &[])));
    while_others_ask(&running, |stream| flood(stream, 100_000, |_| frame(PING, 0, 0, &[7; 8])));
}

/// A few bytes that stand for megabytes: one long header in the table, named again and again.
#[test]
fn headers_that_unfold() {
    let running = start(|interface, _| h2(interface));
    while_others_ask(&running, |stream| {
        // A literal with a name of one byte and a value of 3000, put into the table; it has index 62.
        let mut block = REQUEST.to_vec();
        block.extend([0x40, 1, b'a', 0x7f]);
        let mut rest = 3000 - 127;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        block.push(rest as u8);
        block.extend([b'v'; 3000]);
        block.resize(16_000, 0x80 | 62);
        flood(stream, 200, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number as u32 + 1, &block));
    });
    assert!(running.echo.requests.load(SeqCst) < 10_000, "none of them was executed");
}

/// As many bodies as may be sent at once, none of which ends.
#[test]
fn bodies_that_do_not_end() {
    let running = start(|interface, _| h2(interface));
    while_others_ask(&running, |stream| {
        for number in 0..100 {
            let id = 2 * number + 1;
            let _ = stream.write_all(&frame(HEADERS, END_HEADERS, id, POST));
            let _ = stream.write_all(&frame(DATA, 0, id, b"x"));
        }
        std::thread::sleep(Duration::from_millis(500));
    });
}

/// Long bodies take turns; all have theirs.
#[test]
fn many_long_bodies_at_once_all_pass() {
    let running = start(|interface, _| {
        h2(interface);
        interface.max_body_size = ccf_node::http::SizeLimit::new(400_000, "400KB");
    });
    run(async {
        let sender = connect(running.address, true).await;
        let mut asking = Vec::new();
        for _ in 0..60 {
            let mut sender = sender.clone();
            asking.push(tokio::spawn(
                async move { ask2(&mut sender, post("/a", vec![b'b'; 300_000])).await.0 },
            ));
        }
        for asked in asking {
            assert_eq!(asked.await.unwrap(), 200);
        }
    });
}
