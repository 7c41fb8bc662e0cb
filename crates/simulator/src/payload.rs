//! The payloads of simulated entries: one letter, then names separated by commas.

use crate::memory_log::Payload;
use ccf_consensus::Nodes;
use ccf_types::NodeId;
use std::sync::Arc;

/// The payload that makes `names` the set of nodes.
#[must_use]
pub fn configuration(names: &[&str]) -> Vec<u8> {
    format!("c{}", names.join(",")).into_bytes()
}

/// The payload that calls `names` removable.
#[must_use]
pub fn retired_committed(names: &[&str]) -> Vec<u8> {
    format!("r{}", names.join(",")).into_bytes()
}

/// The payload of a write.
#[must_use]
pub fn data(number: u64) -> Vec<u8> {
    format!("d{number}").into_bytes()
}

/// Reads any of them.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Payload> {
    let (kind, names) = bytes.split_first()?;
    let names =
        || std::str::from_utf8(names).ok().map(|names| names.split(',').filter(|name| !name.is_empty()));
    Some(match kind {
        b'd' | b's' => Payload::Data,
        b'c' => Payload::Reconfiguration(nodes(names()?)),
        b'r' => Payload::RetiredCommitted(names()?.map(NodeId::from_text).collect()),
        _ => return None,
    })
}

fn nodes<'a>(names: impl Iterator<Item = &'a str>) -> Nodes {
    let address: Arc<str> = ":".into();
    names.map(|name| (NodeId::from_text(name), address.clone())).collect()
}
