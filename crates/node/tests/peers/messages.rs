//! What correct nodes tell each other.

use crate::support::{Got, Node, Service, Tap, eventually, message, numbers, settings};
use bytes::Bytes;
use ccf_channels::forwarding::{ForwardedRequest, ForwardedResponse, Version};
use ccf_node::peers::SendError;
use ccf_types::View;
use std::{net::TcpListener, time::Duration};

#[test]
fn messages_pass_both_ways_and_in_order() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    b.knows(&a);
    a.send_until_received(&b, 1);
    b.send_until_received(&a, 2);
    for number in 10..1000 {
        a.send(&b, number, &[b"entry ", b"", b"and another"]);
        b.send(&a, number, &[]);
    }
    for (from, to) in [(&a, &b), (&b, &a)] {
        assert!(to.record.wait(|got| numbers(got, &from.id).contains(&999)));
        let numbers: Vec<u64> =
            numbers(&to.record.all(), &from.id).into_iter().filter(|number| *number >= 10).collect();
        assert_eq!(numbers, (10..1000).collect::<Vec<u64>>());
    }
    let last = Got::Consensus(a.id.clone(), message(999), b"entry and another".to_vec());
    assert_eq!(b.record.all().last(), Some(&last));
    assert_eq!(b.network.counters().frames_refused, 0);
}

/// A node that nobody told about its peer answers over the connection that the peer opened.
#[test]
fn a_node_answers_a_peer_it_has_no_address_of() {
    let service = Service::new();
    let (primary, joiner) = (service.node(), service.joiner());
    primary.knows(&joiner);
    // Before it has joined it has no keys.
    assert!(eventually(|| {
        primary.send(&joiner, 1, &[]);
        joiner.network.counters().frames_before_identity > 0
    }));
    assert_eq!(joiner.network.send_consensus(&primary.id, &message(1), []), Err(SendError::NoIdentity));
    let stranger = service.node();
    joiner.join(&service);
    assert_eq!(joiner.network.send_consensus(&stranger.id, &message(1), []), Err(SendError::UnknownPeer));
    primary.send_until_received(&joiner, 2);
    joiner.send_until_received(&primary, 3);
}

#[test]
fn requests_and_answers_are_forwarded() {
    let service = Service::new();
    let (backup, primary) = (service.node(), service.node());
    backup.knows(&primary);
    let request = ForwardedRequest {
        version: Version::V3,
        id: 7,
        active_view: View(2),
        session: 9,
        caller_certificate: Some(Bytes::from_static(b"certificate")),
        request: Bytes::from_static(b"GET /app/x HTTP/1.1\r\n\r\n"),
    };
    // Ten wait for keys, in order; the next is refused.
    let sent: Vec<_> = (0..11)
        .map(|id| {
            let request = ForwardedRequest { id, ..request.clone() };
            backup.network.send_forwarded_request(&primary.id, &request)
        })
        .collect();
    backup.network.flush();
    assert!(sent[..10].iter().all(Result::is_ok));
    assert!(primary.record.wait(|got| got.len() >= 10));
    for (id, got) in primary.record.all().into_iter().enumerate().take(10) {
        let request = ForwardedRequest { id: id as u64, ..request.clone() };
        assert_eq!(got, Got::Request(backup.id.clone(), request));
    }
    let response = ForwardedResponse {
        version: Version::V3,
        id: 7,
        terminate_session: false,
        session: 9,
        response: vec![b'x'; 3_000_000].into(),
    };
    primary.network.send_forwarded_response(&backup.id, &response).unwrap();
    primary.network.flush();
    assert!(backup.record.wait(|got| got.contains(&Got::Response(primary.id.clone(), response.clone()))));
}

/// A restarted node has a new key, hence a new id, at the old address.
#[test]
fn a_peer_restarts_with_a_new_identity() {
    let service = Service::new();
    let a = service.node();
    // Another test cannot be given the port of b meanwhile: nobody else is at this loopback address.
    let b = Node::start(service.member(), settings(), TcpListener::bind("127.0.0.77:0").unwrap());
    b.join(&service);
    a.knows(&b);
    b.knows(&a);
    a.send_until_received(&b, 1);
    let address = b.address;
    b.network.stop();
    a.send(&b, 2, &[]);
    let listener = TcpListener::bind(address).unwrap();
    let again = Node::start(service.member(), settings(), listener);
    again.join(&service);
    again.knows(&a);
    a.knows(&again);
    a.send_until_received(&again, 3);
    again.send_until_received(&a, 4);
    // The old id is not answered by the new node.
    for _ in 0..50 {
        a.send(&b, 5, &[]);
    }
    assert!(!numbers(&again.record.all(), &a.id).contains(&5));
    a.network.remove_peer(&b.id);
    assert_eq!(a.network.send_consensus(&b.id, &message(6), []), Err(SendError::UnknownPeer));
}

/// Connections break; keys stay.
#[test]
fn a_broken_connection_is_made_again() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    let tap = Tap::before(b.address);
    a.network.add_peer(&b.id, &tap.address.to_string());
    a.send_until_received(&b, 1);
    for round in 2..5 {
        // A new address closes nothing by itself; removing does.
        a.network.remove_peer(&b.id);
        a.knows(&b);
        a.send_until_received(&b, round);
        b.send_until_received(&a, round);
    }
}

/// Whoever waits for an answer learns that the connection ended, and whether there had been one.
#[test]
fn the_end_of_a_connection_is_told() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    assert!(a.record.disconnected.lock().is_empty());
    b.network.stop();
    let disconnected =
        |expected| eventually(|| a.record.disconnected.lock().contains(&(b.id.clone(), expected)));
    assert!(disconnected(true));
    // Nobody listens there any more.
    assert!(!a.record.disconnected.lock().contains(&(b.id.clone(), false)));
    a.send(&b, 2, &[]);
    assert!(disconnected(false));
}

/// Keys are replaced under traffic both ways, many times; messages that cross the change may be lost, none twice or out of order.
#[test]
fn keys_roll_over_under_traffic() {
    let service = Service::new();
    let start = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = ccf_node::peers::PeerSettings { message_limit: 1000, ..settings() };
        let node = Node::start(service.member(), settings, listener);
        node.join(&service);
        node
    };
    let (a, b) = (start(), start());
    a.knows(&b);
    b.knows(&a);
    a.send_until_received(&b, 1);
    for number in 2..4000 {
        a.send(&b, number, &[]);
        b.send(&a, number, &[]);
        if number % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    a.send_until_received(&b, 10_000);
    b.send_until_received(&a, 10_000);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let numbers = numbers(&to.record.all(), &from.id);
        assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1]));
        let between = numbers.iter().filter(|number| (2..4000).contains(*number)).count();
        assert!(between > 2500, "{between}");
    }
}

#[test]
fn silent_channels_are_closed_and_opened_again() {
    let service = Service::new();
    let start = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings =
            ccf_node::peers::PeerSettings { election_timeout: Duration::from_millis(40), ..settings() };
        let node = Node::start(service.member(), settings, listener);
        node.join(&service);
        node
    };
    let (a, b) = (start(), start());
    a.knows(&b);
    a.send_until_received(&b, 1);
    // B knows A only by the connection: when that is closed for idleness, B knows it no longer.
    assert!(eventually(|| {
        std::thread::sleep(Duration::from_millis(200));
        b.network.send_consensus(&a.id, &message(2), []) == Err(SendError::UnknownPeer)
    }));
    a.send_until_received(&b, 3);
}

#[test]
fn a_renewed_certificate_leaves_keys_in_use() {
    let service = Service::new();
    let (a, b) = (service.node(), service.node());
    a.knows(&b);
    a.send_until_received(&b, 1);
    let other = Service::new();
    assert!(a.network.set_identity(&a.member.key, a.member.certificate.clone(), other.certificate).is_err());
    assert!(
        a.network
            .set_identity(&b.member.key, b.member.certificate.clone(), service.certificate.clone())
            .is_err()
    );
    a.join(&service);
    let before = b.network.counters();
    a.send(&b, 2, &[]);
    assert!(b.record.wait(|got| numbers(got, &a.id).contains(&2)));
    assert_eq!(b.network.counters().frames_dropped, before.frames_dropped);
}

#[test]
fn the_client_interface_is_used() {
    let service = Service::new();
    let b = service.node();
    let settings =
        ccf_node::peers::PeerSettings { client_interface: Some("127.0.0.2".to_owned()), ..settings() };
    let a = Node::start(service.member(), settings, TcpListener::bind("127.0.0.1:0").unwrap());
    a.join(&service);
    a.knows(&b);
    a.send_until_received(&b, 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    a.network.add_peer(&service.member().key.public_key().node_id(), "127.0.0.1:1");
    let stranger = service.member().key.public_key().node_id();
    a.network.add_peer(&stranger, &listener.local_addr().unwrap().to_string());
    a.network.send_consensus(&stranger, &message(1), []).unwrap();
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.0.0.2");
}

/// A primary sends its first message a moment before the joiner knows that it is trusted, and the next one much later.
#[test]
fn a_key_exchange_begun_before_the_identity_is_known_goes_on() {
    let service = Service::new();
    // The answer leaves on the thread that sets the identity, what the primary says next is read on another: several times, as the
    // second was once faster than the first.
    for _ in 0..5 {
        let (primary, joiner) = (service.node(), service.joiner());
        primary.knows(&joiner);
        primary.send(&joiner, 1, &[]);
        assert!(eventually(|| joiner.network.counters().frames_before_identity > 0));
        joiner.join(&service);
        assert!(
            joiner.record.wait(|got| numbers(got, &primary.id) == [1]),
            "without another message of the primary: {:?}",
            joiner.network.counters()
        );
    }
}
