//! What a replica knows of each other node.

use ccf_types::{NodeId, SeqNo};
use std::{collections::BTreeMap, sync::Arc};

/// One other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens, `host:port`.
    pub address: Arc<str>,
    /// The last entry sent to it.
    pub sent: SeqNo,
    /// The last entry that it is known to have; 0 in a new view until it answers.
    pub matched: SeqNo,
    /// Milliseconds since it last answered this primary.
    pub silent_ms: u64,
    /// Messages with entries that it has not answered.
    pub(crate) in_flight: u32,
}

impl Peer {
    pub(crate) fn new(address: Arc<str>, sent: SeqNo) -> Peer {
        Peer { address, sent, matched: SeqNo::NONE, silent_ms: 0, in_flight: 0 }
    }
}

/// All other nodes: members of active configurations and retired nodes whose retirement some future primary may not
/// know. In the order of their identifiers, so that the order of messages is the same in every run (quirk Q11).
pub(crate) type Peers = BTreeMap<NodeId, Peer>;
