//! Entrances for fuzz targets and tests; no part of the interface.
#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a fuzz target reports by panicking")]

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use ccf_crypto::{
    cert::{
        Certificate, CertificateKind, Issuer, Name, SigningRequest, Validity, parse_valid_from, self_signed,
    },
    key::{Curve, EcKeyPair},
};

use crate::{
    Channel, Identity, Opened, Refusal,
    forwarding::{Forwarded, Header},
    frame::{OutgoingFrame, take_frame},
    handshake::Handshake,
};

/// A stream of frames: however it is cut, the same frames come out.
pub fn frames(data: &[u8]) {
    let read = |step: usize| {
        let mut stream = BytesMut::new();
        let mut seen = Vec::new();
        for part in data.chunks(step) {
            stream.extend_from_slice(part);
            loop {
                match take_frame(&mut stream, 4096) {
                    Ok(Some(frame)) => seen.push((frame.kind, frame.sender, frame.payload.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error)),
                }
            }
        }
        (seen, None)
    };
    let step = data.first().map_or(1, |first| usize::from(*first) + 1);
    assert!(read(step) == read(data.len().max(1)));
}

/// A message of the key exchange: what was read is written the same.
pub fn handshake(data: &[u8]) {
    if let Some(message) = Handshake::parse(data) {
        assert!(message.encode() == data);
    }
}

/// A forwarded message, decrypted: header and content in one piece.
pub fn forwarded(data: &[u8]) {
    let Ok((header, len)) = Header::parse(data) else { return };
    assert!(header.encode() == data[..len]);
    let content = Bytes::copy_from_slice(&data[len..]);
    match header.with_content(&content) {
        Ok(Forwarded::Request(request)) => assert!(request.encode_content() == content),
        Ok(Forwarded::Response(response)) => assert!(response.encode_content() == content),
        Err(_) => {}
    }
}

/// Most operations of one input of [`channel`]: key exchanges are slow.
const OPERATIONS_MAX: usize = 24;

/// Two channels and a bad network between them. Each byte is an operation; whatever happens, messages arrive in order and once.
pub fn channel(data: &[u8]) {
    let mut pair = Pair::new(16, [Curve::P384; 2]);
    let mut number = 0;
    for byte in data.iter().take(OPERATIONS_MAX) {
        let side = usize::from(byte & 1);
        let at = usize::from(byte >> 4);
        match byte >> 1 & 7 {
            0 | 1 => {
                number += 1;
                pair.send(side, number);
            }
            2..=4 => drop(pair.deliver(side)),
            5 => pair.lose(side),
            6 => pair.wait(Duration::from_millis(300 * at as u64)),
            _ => pair.replay(side, at),
        }
    }
    for received in &pair.received {
        assert!(received.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

/// A service that endorses nodes.
pub struct Service {
    /// Its key.
    pub key: EcKeyPair,
    /// Its certificate.
    pub certificate: Certificate,
}

impl Service {
    /// A new one.
    #[must_use]
    pub fn new() -> Service {
        let key = EcKeyPair::generate(Curve::P384).expect("key");
        let name = Name::parse("CN=service").expect("name");
        let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity("20300101000000Z"))
            .expect("certificate");
        Service { key, certificate }
    }

    /// A node's key and certificate, valid until then.
    #[must_use]
    pub fn endorse(&self, curve: Curve, until: &str) -> (EcKeyPair, Certificate) {
        let key = EcKeyPair::generate(curve).expect("key");
        let request =
            SigningRequest::create(&key, &Name::parse("CN=node").expect("name"), &[]).expect("request");
        let issuer = Issuer::new(&self.certificate, &self.key).expect("issuer");
        let certificate =
            issuer.endorse(&request, CertificateKind::Leaf, &validity(until)).expect("certificate");
        (key, certificate)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, curve: Curve) -> Arc<Identity> {
        let (key, certificate) = self.endorse(curve, "20300101000000Z");
        Arc::new(Identity::new(key, &certificate, self.certificate.clone()).expect("identity"))
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

/// From the year 2020 to then.
fn validity(until: &str) -> Validity {
    let time = |text| parse_valid_from(text).expect("time");
    Validity::new(time("20200101000000Z"), time(until)).expect("validity")
}

/// Two channels and the wires between them.
pub struct Pair {
    /// The time both see.
    pub now: Duration,
    /// The node with the lower id is the first.
    pub sides: [Channel; 2],
    /// Frames on their way from each side.
    pub wires: [VecDeque<Vec<u8>>; 2],
    /// All frames ever sent by each side.
    pub history: [Vec<Vec<u8>>; 2],
    /// Numbers that arrived at each side.
    pub received: [Vec<u64>; 2],
}

/// An append-entries message with a number in it.
#[must_use]
pub fn message(number: u64) -> Vec<u8> {
    let mut message = vec![0; 57];
    message[8..16].copy_from_slice(&number.to_le_bytes());
    message
}

impl Pair {
    /// Two nodes of one service with keys of these curves, in any order.
    #[must_use]
    pub fn new(message_limit: u64, curves: [Curve; 2]) -> Pair {
        static SERVICE: OnceLock<Service> = OnceLock::new();
        static NODES: OnceLock<[Arc<Identity>; 2]> = OnceLock::new();
        let service = SERVICE.get_or_init(Service::new);
        let make = || curves.map(|curve| service.node(curve));
        let identities = if curves == [Curve::P384; 2] { NODES.get_or_init(make).clone() } else { make() };
        Pair::between(identities, message_limit)
    }

    /// Two given nodes.
    #[must_use]
    pub fn between(mut identities: [Arc<Identity>; 2], message_limit: u64) -> Pair {
        identities.sort_by(|a, b| a.id().cmp(b.id()));
        let [low, high] = &identities;
        let channel = |own: &Arc<Identity>, peer: &Arc<Identity>| {
            Channel::new(Arc::clone(own), peer.id().clone(), message_limit, Duration::ZERO)
        };
        Pair {
            now: Duration::ZERO,
            sides: [channel(low, high), channel(high, low)],
            wires: Default::default(),
            history: Default::default(),
            received: Default::default(),
        }
    }

    /// Sends a consensus message.
    pub fn send(&mut self, side: usize, number: u64) {
        let mut out = Vec::new();
        let entries = vec![Bytes::from_static(b"entry")];
        let _ = self.sides[side].send_consensus(self.now, &message(number), entries, &mut out);
        self.put(side, out);
    }

    /// Puts frames of a side on its wire.
    pub fn put(&mut self, side: usize, frames: Vec<OutgoingFrame>) {
        for frame in frames {
            self.history[side].push(frame.to_vec());
            self.wires[side].push_back(frame.to_vec());
        }
    }

    /// Delivers the next frame that `side` sent. `None` if there is none.
    pub fn deliver(&mut self, side: usize) -> Option<Result<Option<Opened>, Refusal>> {
        let frame = self.wires[side].pop_front()?;
        Some(self.arrive(1 - side, &frame))
    }

    /// A frame arrives.
    pub fn arrive(&mut self, at: usize, frame: &[u8]) -> Result<Option<Opened>, Refusal> {
        let mut stream = BytesMut::from(frame);
        let frame = take_frame(&mut stream, u32::MAX).expect("a frame").expect("all of it");
        let mut out = Vec::new();
        let opened = self.sides[at].receive(self.now, frame.kind, frame.payload, &mut out);
        self.put(at, out);
        if let Ok(Some(Opened::Consensus { message, .. })) = &opened {
            self.received[at].push(u64::from_le_bytes(*message[8..].first_chunk().expect("length")));
        }
        opened
    }

    /// Delivers everything, also the answers.
    pub fn settle(&mut self) {
        while self.deliver(0).is_some() | self.deliver(1).is_some() {}
    }

    /// Loses the next frame that `side` sent.
    pub fn lose(&mut self, side: usize) {
        self.wires[side].pop_front();
    }

    /// Puts a frame of the past behind those on the wire.
    pub fn replay(&mut self, side: usize, at: usize) {
        if let Some(frame) = self.history[side].get(at) {
            let frame = frame.clone();
            self.wires[side].push_back(frame);
        }
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}
