//! Values of the service tables (governance 2.4, 2.5 and 12.3).

use super::base64::Base64;
use ccf_types::{SeqNo, TxId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `service.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// The service certificate, PEM.
    pub cert: String,
    /// The transaction that created this incarnation of the service. Absent in ledgers of 1.x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_service_create_txid: Option<TxId>,
    /// The seqno at which the service before the last recovery was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_service_identity_version: Option<SeqNo>,
    /// How often the service was recovered. Absent in ledgers of 1.x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_count: Option<u64>,
    /// Anything the operator wants to say about the service; `None` is JSON null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_data: Option<Value>,
    /// Where in its life the service is.
    pub status: ServiceStatus,
}

/// Where in its life a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceStatus {
    /// Created, not yet voted open.
    Opening,
    /// Serves its users.
    Open,
    /// Recovered, waits for the members to send their shares.
    WaitingForRecoveryShares,
    /// Recovered from its public ledger, waits for the members' vote.
    Recovering,
}

/// `service.config`. An optional member is written exactly when it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// `CFT` is the default and is not written; `BFT` stands in old ledgers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consensus: Option<String>,
    /// Bound on the validity of endorsed node certificates, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_node_certificate_validity_days: Option<u64>,
    /// Bound on the validity of the service certificate, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_service_certificate_validity_days: Option<u64>,
    /// How many recent proposals are remembered against replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_cose_proposals_window_size: Option<u64>,
    /// Unused by the framework.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconfiguration_type: Option<String>,
    /// How many shares open the ledger.
    pub recovery_threshold: u64,
}

impl ServiceConfig {
    /// Days, when `maximum_node_certificate_validity_days` or its service counterpart is absent.
    pub const DEFAULT_MAXIMUM_VALIDITY_DAYS: u64 = 365;
    /// Proposals, when `recent_cose_proposals_window_size` is absent.
    pub const DEFAULT_WINDOW_SIZE: u64 = 100;

    /// The size of the replay window in force.
    #[must_use]
    pub fn window_size(&self) -> u64 {
        self.recent_cose_proposals_window_size.unwrap_or(Self::DEFAULT_WINDOW_SIZE)
    }
}

/// `snapshot_evidence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEvidence {
    /// SHA-256 of the snapshot.
    pub hash: ccf_types::Digest,
    /// The seqno it is of.
    pub version: SeqNo,
}

/// `snapshot_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// The seqno of the snapshot.
    pub version: SeqNo,
}

/// `signatures`: the node's signature over the Merkle root (ledger specification, section 10.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSignature {
    /// The signing node's certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// Always zero.
    pub commit_seqno: SeqNo,
    /// Always zero.
    pub commit_view: ccf_types::View,
    /// Always zeros.
    pub hashed_nonce: ccf_types::Digest,
    /// Who signed.
    pub node: ccf_types::NodeId,
    /// What was signed.
    pub root: ccf_types::Digest,
    /// Where the signature stands.
    pub seqno: SeqNo,
    /// ECDSA, DER.
    pub sig: Base64,
    /// The view of the signature.
    pub view: ccf_types::View,
}
