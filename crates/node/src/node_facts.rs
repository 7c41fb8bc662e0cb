//! What a node knows of itself from its start: identity, addresses, attestation, state of life.

use crate::{interfaces::ServerHandle, peers::PeerNetwork};
use ccf_governance::tables::node::{NetInterface, QuoteInfo};
use ccf_types::NodeId;
use parking_lot::RwLock;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

/// Where in its life a node is (node specification, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "ccf__NodeStartupState")]
#[repr(u8)]
pub(crate) enum StartupState {
    /// Keys and evidence are being prepared.
    Initialized,
    /// A joiner that is not trusted yet.
    Pending,
    /// Recovery, first pass: the public ledger.
    ReadingPublicLedger,
    /// Part of a network whose private state is not known yet.
    PartOfPublicNetwork,
    /// Recovery, second pass: the private ledger.
    ReadingPrivateLedger,
    /// Normal.
    PartOfNetwork,
}

impl StartupState {
    const ALL: [StartupState; 6] = [
        StartupState::Initialized,
        StartupState::Pending,
        StartupState::ReadingPublicLedger,
        StartupState::PartOfPublicNetwork,
        StartupState::ReadingPrivateLedger,
        StartupState::PartOfNetwork,
    ];

    /// Whether the node takes part in replication, with or without the private state.
    pub(crate) fn is_part_of_network(self) -> bool {
        matches!(
            self,
            StartupState::PartOfPublicNetwork
                | StartupState::ReadingPrivateLedger
                | StartupState::PartOfNetwork
        )
    }
}

/// Facts about this node.
pub(crate) struct NodeFacts {
    /// Hex digest of the node's public key.
    pub node_id: NodeId,
    /// Evidence of this node.
    pub quote: QuoteInfo,
    /// Hex of the measurement in the evidence.
    pub measurement: String,
    /// Where clients reach it.
    pub rpc_interfaces: BTreeMap<String, NetInterface>,
    /// The operator's data about the node.
    pub node_data: Option<serde_json::Value>,
    /// PEM of the self-signed certificate; changes with renewals.
    pub self_signed_certificate: RwLock<String>,
    /// Seqno of the snapshot with which the node began; 0 without one.
    pub startup_seqno: AtomicU64,
    /// While the private ledger is read: its last entry to read, and the last one read.
    pub recovery_target: AtomicU64,
    pub recovered: AtomicU64,
    /// Certificates of the service, of nodes and of members that end soon or have ended.
    pub certificates_expiring: AtomicU64,
    /// The HTTP server, once it runs.
    pub server: OnceLock<ServerHandle>,
    /// The other nodes, for their counters.
    pub peers: OnceLock<PeerNetwork>,
    state: AtomicU8,
    stop_notice: AtomicBool,
}

impl NodeFacts {
    /// Facts of a node that begins with an empty ledger.
    #[must_use]
    pub(crate) fn new(
        node_id: NodeId,
        quote: QuoteInfo,
        measurement: String,
        rpc_interfaces: BTreeMap<String, NetInterface>,
        node_data: Option<serde_json::Value>,
        self_signed_certificate: String,
    ) -> NodeFacts {
        NodeFacts {
            node_id,
            quote,
            measurement,
            rpc_interfaces,
            node_data,
            self_signed_certificate: RwLock::new(self_signed_certificate),
            startup_seqno: AtomicU64::new(0),
            recovery_target: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            certificates_expiring: AtomicU64::new(0),
            server: OnceLock::new(),
            peers: OnceLock::new(),
            state: AtomicU8::new(0),
            stop_notice: AtomicBool::new(false),
        }
    }

    /// The state of life.
    #[must_use]
    pub(crate) fn state(&self) -> StartupState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        StartupState::ALL.get(index).copied().unwrap_or(StartupState::Initialized)
    }

    /// The node enters another state of its life.
    pub(crate) fn enter(&self, state: StartupState) {
        self.state.store(state as u8, Ordering::Release);
        tracing::info!("This node is {state:?} now");
    }

    /// Whether an operator has announced that the node will stop.
    #[must_use]
    pub(crate) fn stop_notice(&self) -> bool {
        self.stop_notice.load(Ordering::Acquire)
    }

    /// An operator announces that the node will stop.
    pub(crate) fn give_stop_notice(&self) {
        self.stop_notice.store(true, Ordering::Release);
    }
}
