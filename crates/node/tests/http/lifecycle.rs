//! Sessions from first to last: caps, idleness, where they live, how they end.

use crate::support::*;
use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

#[test]
fn caps_refuse_politely_then_rudely() {
    let running = start(|interface, _| {
        interface.max_open_sessions_soft = 2;
        interface.max_open_sessions_hard = 3;
    });
    let request = "GET / HTTP/1.1\r\n\r\n";
    let mut served: Vec<_> = (0..2).map(|_| tls(running.address)).collect();
    for stream in &mut served {
        assert!(ask(stream, request).starts_with("HTTP/1.1 200 "));
    }
    let mut third = tls(running.address);
    third.write_all(b"").unwrap();
    third.conn.complete_io(&mut third.sock).unwrap();
    // While the third is open the fourth finds the door closed.
    let mut fourth = tcp(running.address);
    assert!(is_closed(&mut fourth));
    let refusal = ask(&mut third, request);
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.ends_with(
        "{\"error\":{\"code\":\"SessionCapExhausted\",\"message\":\"Service is currently busy and unable to serve \
         new connections\"}}"
    ));
    assert!(is_closed(&mut third));
    until(|| running.server.metrics().active == 2);
    let metrics = running.server.metrics();
    let main = &metrics.interfaces[0];
    assert_eq!((metrics.active, metrics.peak), (2, 3));
    assert_eq!((main.active, main.peak, main.soft_cap, main.hard_cap), (2, 3, 2, 3));
    drop(served);
    until(|| running.server.metrics().active == 0);
    assert!(ask(&mut tls(running.address), request).starts_with("HTTP/1.1 200 "));
}

#[test]
fn connections_spread_evenly_over_workers() {
    let running = start(plain);
    let mut streams: Vec<_> = (0..6).map(|_| tcp(running.address)).collect();
    for stream in &mut streams {
        ask(stream, "GET / HTTP/1.1\r\n\r\n");
    }
    let mut per_worker = BTreeMap::new();
    for connection in running.echo.connections.lock().unwrap().iter() {
        *per_worker.entry(connection.worker).or_insert(0) += 1;
    }
    assert_eq!(per_worker, BTreeMap::from([(0, 3), (1, 3)]));
}

#[test]
fn idle_sessions_are_closed_and_busy_ones_are_not() {
    let running = start(|interface, server| {
        plain(interface, server);
        server.idle_timeout = Some(Duration::from_secs(1));
    });
    let mut idle = tcp(running.address);
    let mut waiting = tcp(running.address);
    waiting.write_all(b"GET /wait HTTP/1.1\r\n\r\n").unwrap();
    ask(&mut idle, "GET / HTTP/1.1\r\n\r\n");
    let quiet_since = Instant::now();
    assert!(is_closed(&mut idle));
    let quiet = quiet_since.elapsed();
    assert!(quiet > Duration::from_millis(900) && quiet < Duration::from_secs(5), "{quiet:?}");
    // The node is slow, not the client.
    running.echo.release(1);
    assert!(answer(&mut waiting).unwrap().ends_with("GET /wait\n"));
}

#[test]
fn stopping_finishes_what_was_received() {
    let running = start(|_, _| ());
    let mut idle = tls(running.address);
    ask(&mut idle, "GET / HTTP/1.1\r\n\r\n");
    let mut busy = tls(running.address);
    busy.write_all(b"GET /wait HTTP/1.1\r\n\r\nGET /after HTTP/1.1\r\n\r\n").unwrap();
    until(|| running.echo.waiting.lock().unwrap().len() == 1);
    let (echo, server, address) = (running.echo, running.server, running.address);
    let stopping = std::thread::spawn(move || {
        let start = Instant::now();
        server.stop(Duration::from_secs(10));
        start.elapsed()
    });
    assert!(is_closed(&mut idle));
    echo.release(1);
    assert!(answer(&mut busy).unwrap().ends_with("GET /wait\n"));
    assert!(answer(&mut busy).unwrap().ends_with("GET /after\n"));
    assert!(is_closed(&mut busy));
    drop((idle, busy));
    assert!(stopping.join().unwrap() < Duration::from_secs(8));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let running = start(plain);
    let mut stuck = tcp(running.address);
    stuck.write_all(b"GET /wait HTTP/1.1\r\n\r\n").unwrap();
    until(|| running.echo.waiting.lock().unwrap().len() == 1);
    let start = Instant::now();
    running.server.stop(Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(is_closed(&mut stuck));
}

#[test]
fn stopping_leaves_a_worker_behind_that_is_stuck() {
    let running = start(plain);
    let mut stuck = tcp(running.address);
    stuck.write_all(b"GET /stuck HTTP/1.1\r\n\r\n").unwrap();
    until(|| running.echo.requests.load(std::sync::atomic::Ordering::SeqCst) == 1);
    let start = Instant::now();
    running.server.stop(Duration::from_millis(200));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "a node ends within 10 s, whatever its application does"
    );
}

#[test]
fn an_address_in_use_is_reported() {
    let running = start(plain);
    let address = running.address.to_string();
    let error = ccf_node::http::Interface::bind(ccf_node::http::InterfaceSettings::new("second"), &address);
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with(&format!("interface second cannot listen on {address}: ")), "{text}");
}
