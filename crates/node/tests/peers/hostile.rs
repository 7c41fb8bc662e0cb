//! What others may try.

use crate::support::{Got, Node, PATIENCE, Service, Tap, eventually, message, numbers, settings};
use ccf_types::NodeId;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

fn frame(kind: u64, sender: &NodeId, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (80 + payload.len() as u32).to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend(sender.as_str().as_bytes());
    bytes.extend(payload);
    bytes
}

/// Whether the other side hangs up.
fn hangs_up(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_node_of_another_service_is_refused() {
    let (service, other) = (Service::new(), Service::new());
    let (a, stranger) = (service.node(), other.node());
    stranger.knows(&a);
    assert!(eventually(|| {
        stranger.send(&a, 1, &[]);
        a.network.counters().frames_refused > 0
    }));
    // And the other way round: who answers must be of the service too.
    let silent = other.node();
    a.knows(&silent);
    assert!(eventually(|| {
        a.send(&silent, 2, &[]);
        silent.network.counters().frames_refused > 0
    }));
    assert_eq!((a.record.all(), silent.record.all()), (vec![], vec![]));
}

/// Quirk Q3: a node of the same service cannot speak for another.
#[test]
fn a_node_cannot_take_the_name_of_another() {
    let service = Service::new();
    let (a, b, liar) = (service.node(), service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    // The liar's own frames, with another sender.
    let catcher = TcpListener::bind("127.0.0.1:0").unwrap();
    liar.network.add_peer(&b.id, &catcher.local_addr().unwrap().to_string());
    liar.send(&b, 66, &[]);
    let (mut caught, _) = catcher.accept().unwrap();
    let mut head = [0; 84];
    caught.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_le_bytes(head[..4].try_into().unwrap()) as usize - 80];
    caught.read_exact(&mut payload).unwrap();
    let mut stream = TcpStream::connect(b.address).unwrap();
    stream.write_all(&frame(0, &a.id, &payload)).unwrap();
    assert!(eventually(|| b.network.counters().frames_refused > 0));
    a.send_until_received(&b, 2);
}

/// The first step of a key exchange does not say for whom it is: who gets one, or sees one, can pass it on to a third node. That one
/// answers, but goes on sending where the peer is.
#[test]
fn a_relayed_key_exchange_does_not_take_the_place_of_a_node() {
    let service = Service::new();
    let (a, b, third) = (service.node(), service.node(), service.member().key.public_key().node_id());
    a.knows(&b);
    b.knows(&a);
    a.send_until_received(&b, 1);
    b.send_until_received(&a, 2);
    let catcher = TcpListener::bind("127.0.0.1:0").unwrap();
    b.network.add_peer(&third, &catcher.local_addr().unwrap().to_string());
    b.network.send_consensus(&third, &message(66), []).unwrap();
    let (mut caught, _) = catcher.accept().unwrap();
    let mut head = [0; 84];
    caught.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_le_bytes(head[..4].try_into().unwrap()) as usize - 80];
    caught.read_exact(&mut payload).unwrap();
    let mut relay = TcpStream::connect(a.address).unwrap();
    relay.write_all(&frame(0, &b.id, &payload)).unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    relay.read_exact(&mut head).unwrap();
    // It reads on: a connection that takes nothing would end by itself.
    let mut reading = relay.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
    relay.set_read_timeout(None).unwrap();
    a.send_until_received(&b, 3);
    b.send_until_received(&a, 4);
    relay.shutdown(std::net::Shutdown::Both).unwrap();
}

#[test]
fn bad_frames_end_their_connection_and_no_other() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    let sender = service.member().key.public_key().node_id();
    let mut bad_sender = frame(1, &sender, b"x");
    bad_sender[20] = b'X';
    let bad: [&[u8]; 4] =
        [&[0xff; 100], &(64 * 1024 * 1024 + 5000u32).to_le_bytes(), &[3, 0, 0, 0], &bad_sender];
    for bytes in bad {
        let mut stream = TcpStream::connect(b.address).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(hangs_up(&stream), "{bytes:?}");
    }
    assert_eq!(b.network.counters().connections_refused, 4);
    a.send(&b, 2, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&2)));
}

/// Well-formed frames without sense are dropped one by one.
#[test]
fn garbage_in_frames_is_dropped() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    let stranger = service.member().key.public_key().node_id();
    let mut stream = TcpStream::connect(b.address).unwrap();
    for sender in [&a.id, &b.id, &stranger] {
        for kind in [0, 1, 2, 3, u64::MAX] {
            for payload in
                [&b""[..], &[0; 7], &[0; 57], &[0; 81], &[4, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0xff; 300]]
            {
                stream.write_all(&frame(kind, sender, payload)).unwrap();
            }
        }
    }
    // The last of them was read when a frame behind it is.
    stream.write_all(&[0xff; 4]).unwrap();
    assert!(hangs_up(&stream));
    let counters = b.network.counters();
    assert!(counters.frames_refused > 30 && counters.frames_dropped > 0, "{counters:?}");
    a.send(&b, 2, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&2)));
    assert!(numbers(&b.record.all(), &stranger).is_empty());
}

/// Judging a key exchange is dear: somebody who comes again and again has no more of them judged than with one connection.
#[test]
fn key_exchanges_over_many_connections_are_bounded() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    let init = frame(0, &a.id, &[0; 300]);
    for _ in 0..40 {
        let mut stream = TcpStream::connect(b.address).unwrap();
        stream.write_all(&init.repeat(50)).unwrap();
        stream.write_all(&[0xff; 4]).unwrap();
        assert!(hangs_up(&stream));
    }
    let counters = b.network.counters();
    let (judged, refused) = (counters.refusals["malformed"], counters.refusals["too_many_key_exchanges"]);
    assert_eq!(judged + refused, 2000);
    assert!(judged < 500, "{counters:?}");
    a.send(&b, 2, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&2)));
}

/// All that A ever said, said again by somebody else: nothing is delivered twice, and the two still talk afterwards.
#[test]
fn replayed_bytes_are_dropped() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    let tap = Tap::before(b.address);
    a.network.add_peer(&b.id, &tap.address.to_string());
    a.send_until_received(&b, 1);
    for number in 2..50 {
        a.send(&b, number, &[b"entry"]);
    }
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&49)));
    let recorded = tap.copy.lock().clone();
    let before = (b.record.all(), b.network.counters());
    let mut stream = TcpStream::connect(b.address).unwrap();
    stream.write_all(&recorded).unwrap();
    stream.write_all(&[0xff; 4]).unwrap();
    assert!(hangs_up(&stream));
    assert_eq!(b.record.all(), before.0);
    let counters = b.network.counters();
    assert_eq!(counters.frames_accepted, before.1.frames_accepted);
    assert!(counters.frames_dropped >= before.1.frames_dropped + 49);
    a.send(&b, 50, &[]);
    b.send(&a, 51, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&50)));
    assert!(a.record.wait(|got| numbers(got, &b.id).contains(&51)));
}

/// A peer that does not read loses messages; others get theirs, and memory stays bounded.
#[test]
fn a_peer_that_does_not_read_harms_nobody() {
    let service = Service::new();
    let (a, b, c) = (service.node(), service.node(), service.node());
    // In front of B stands somebody who stops reading: keys are exchanged, then nothing is taken any more.
    let tap = Tap::before(b.address);
    a.network.add_peer(&b.id, &tap.address.to_string());
    a.knows(&c);
    a.send_until_received(&b, 1);
    a.send_until_received(&c, 1);
    let hold = tap.copy.lock();
    let entries: &'static [u8] = vec![7u8; 1 << 20].leak();
    for number in 2..120 {
        a.send(&b, number, &[entries]);
        a.send(&c, number, &[b"entry"]);
    }
    assert!(c.record.wait(|got| numbers(got, &a.id).contains(&119)));
    assert!(a.network.counters().messages_lost > 10);
    drop(hold);
    a.send_until_received(&b, 1000);
}

/// Connections that send nothing are closed after a while; those that hold part of a frame too.
#[test]
fn connections_that_prove_nothing_are_closed() {
    let service = Service::new();
    let settings =
        ccf_node::peers::PeerSettings { election_timeout: Duration::from_millis(50), ..settings() };
    let node = Node::start(service.member(), settings, TcpListener::bind("127.0.0.1:0").unwrap());
    node.join(&service);
    let silent = TcpStream::connect(node.address).unwrap();
    let mut half = TcpStream::connect(node.address).unwrap();
    half.write_all(&1_000_000u32.to_le_bytes()).unwrap();
    assert!(hangs_up(&silent) && hangs_up(&half));
}

#[test]
fn unfinished_frames_are_bounded_in_total() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    let sender = service.member().key.public_key().node_id();
    let mut head = frame(1, &sender, b"");
    head[..4].copy_from_slice(&(60 * 1024 * 1024u32).to_le_bytes());
    let body = vec![0; 50 * 1024 * 1024];
    let mut refused = 0;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(b.address).unwrap();
        if stream.write_all(&head).and_then(|()| stream.write_all(&body)).is_err() {
            refused += 1;
        }
        open.push(stream);
    }
    assert!(refused > 0 || eventually(|| b.network.counters().connections_refused > 0));
    a.send_until_received(&b, 1);
    assert!(b.record.all().contains(&Got::Consensus(a.id.clone(), message(1), Vec::new())));
}

/// Somebody holds as many silent connections as there is room for and opens thousands more: those that talk go on, and a node that
/// comes now gets in.
#[test]
fn thousands_of_connections_shut_nobody_out() {
    let service = Service::new();
    let (a, b, late) = (service.node(), service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    let open = || TcpStream::connect(b.address);
    let silent: Vec<_> = (0..300).map_while(|_| open().ok()).collect();
    for number in 0..3000u32 {
        if let Ok(mut stream) = open() {
            // Rubbish, the begin of a frame, or nothing; the other side may have hung up already.
            let bytes: &[u8] = [&[0xff; 64][..], &[0x50, 0, 0, 0, 1], &[]][number as usize % 3];
            let _ = stream.write_all(bytes);
        }
    }
    assert_eq!(silent.len(), 300);
    late.knows(&b);
    late.send_until_received(&b, 2);
    a.send(&b, 3, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&3)));
    let counters = b.network.counters();
    assert!(counters.connections_refused > 1000, "{counters:?}");
    assert!(counters.refusals["frame_too_long"] > 500, "{counters:?}");
}
