//! Somebody on the nodes' network who talks to their node-to-node port: the service goes on, and each node says what it refused.

use crate::{
    clients,
    member_node::Tuning,
    random::Random,
    service::{Service, wait_for},
};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A frame of this kind from this sender.
fn frame(kind: u64, sender: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(16 + sender.len() + payload.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend((sender.len() as u64).to_le_bytes());
    bytes.extend(sender.as_bytes());
    bytes.extend(payload);
    bytes
}

/// Wrong sizes, unknown kinds, random bytes, frames in the name of a node, halves of frames, silence.
fn molest(address: SocketAddr, sender: &str, random: &mut Random) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for round in 0..600u64 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        let bytes = match round % 6 {
            0 => noise,
            1 => frame(7 + round, sender, &noise),
            2 => frame(round / 6 % 3, sender, &noise),
            3 => vec![0xff; 200],
            4 => frame(1, sender, &noise)[..40].to_vec(),
            _ => Vec::new(),
        };
        // The node may have hung up already.
        let _ = stream.write_all(&bytes);
        if round % 6 >= 4 {
            silent.push(stream);
        }
    }
    silent
}

#[test]
fn garbage_on_the_port_of_the_nodes_is_refused_counted_and_harms_nobody() {
    let mut service = Service::open(3, Tuning::default());
    let caller = service.caller("user0", PATIENCE);
    let addresses: Vec<String> = service.nodes.iter().map(|node| node.address.clone()).collect();
    clients::write_committed(&caller, &addresses[0], "x", 1);
    let mut random = Random::new(7);
    let mut silent = Vec::new();
    for (index, node) in service.nodes.iter().enumerate() {
        let other = service.nodes[(index + 1) % 3].id.as_str().to_owned();
        silent.extend(molest(service.links.listens(&node.id), &other, &mut random));
    }
    // All connections that prove nothing are taken, and still open.
    for (value, address) in (2..).zip(&addresses) {
        clients::write_committed(&caller, address, "x", value);
    }
    for node in &mut service.nodes {
        node.must_run();
        wait_for("the counters", || {
            let reply = node.anonymous().get("/node/metrics").map_err(|e| e.to_string())?;
            let counters = reply.json()["node_to_node"].clone();
            let refused = |reason: &str| counters["frames_refused"][reason].as_u64().unwrap_or_default();
            let enough = refused("frame_too_long") >= 100
                && refused("unknown_kind") >= 50
                && refused("malformed") >= 20
                && counters["connections_refused"].as_u64() >= Some(100);
            if enough { Ok(()) } else { Err(counters.to_string()) }
        });
    }
    drop(silent);
    service.stop();
    service.logs_must_be_clean();
}
