//! The payloads of scenario entries: `{"data": base64, "type": raw | reconfiguration | retired_committed}`.

use base64::{Engine, engine::general_purpose::STANDARD};
use ccf_consensus::Nodes;
use ccf_simulator::Payload;
use ccf_types::NodeId;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The address of every node: there is no network.
const ADDRESS: &str = ":";

/// What can be replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Raw,
    Reconfiguration,
    RetiredCommitted,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Reconfiguration => "reconfiguration",
            Kind::RetiredCommitted => "retired_committed",
        }
    }
}

/// The payload of an entry.
pub(crate) fn encode(kind: Kind, data: &[u8]) -> Vec<u8> {
    json!({ "data": STANDARD.encode(data), "type": kind.as_str() }).to_string().into_bytes()
}

/// The data that names nodes, for the last two kinds.
pub(crate) fn names(ids: impl IntoIterator<Item = NodeId>) -> Vec<u8> {
    let object: Map<String, Value> =
        ids.into_iter().map(|id| (id.as_str().to_owned(), json!({ "address": ADDRESS }))).collect();
    Value::Object(object).to_string().into_bytes()
}

/// Reads a payload.
pub(crate) fn decode(bytes: &[u8]) -> Option<Payload> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let data = STANDARD.decode(value.get("data")?.as_str()?).ok()?;
    let ids = || -> Option<Vec<NodeId>> {
        let object: Map<String, Value> = serde_json::from_slice(&data).ok()?;
        Some(object.keys().map(|name| NodeId::from_text(name)).collect())
    };
    Some(match value.get("type")?.as_str()? {
        "raw" => Payload::Data,
        "reconfiguration" => {
            let address: Arc<str> = ADDRESS.into();
            Payload::Reconfiguration(ids()?.into_iter().map(|id| (id, address.clone())).collect::<Nodes>())
        }
        "retired_committed" => Payload::RetiredCommitted(ids()?),
        _ => return None,
    })
}
