//! Published schemas of answers that are not made from one struct here (node specification, section 13.10). Declared in
//! the order of the specification; nothing is ever built of these types.
#![expect(dead_code, reason = "these types exist for their schemas")]

use ccf_endpoints::openapi::{self, MapOf};
use schemars::JsonSchema;

/// `state` of `/state`: all words, also those of states that this node never has.
#[derive(JsonSchema)]
#[schemars(rename = "ccf__NodeStartupState")]
pub(super) enum NodeStartupState {
    Uninitialized,
    Initialized,
    Pending,
    PartOfPublicNetwork,
    PartOfNetwork,
    ReadingPublicLedger,
    ReadingPrivateLedger,
}

/// The value of `service.config`.
#[derive(JsonSchema)]
pub(super) struct ServiceConfiguration {
    recovery_threshold: u64,
    maximum_node_certificate_validity_days: Option<u64>,
    maximum_service_certificate_validity_days: Option<u64>,
    recent_cose_proposals_window_size: Option<u64>,
    consensus: Option<ConsensusType>,
    reconfiguration_type: Option<ReconfigurationType>,
}

#[derive(JsonSchema)]
#[expect(clippy::upper_case_acronyms, reason = "the words of the specification")]
enum ConsensusType {
    CFT,
    BFT,
}

#[derive(JsonSchema)]
enum ReconfigurationType {
    OneTransaction,
    TwoTransaction,
}

/// `/config`.
#[derive(JsonSchema)]
pub(super) struct ConsensusNodeConfig {
    address: String,
}

/// `/consensus`.
#[derive(JsonSchema)]
pub(super) struct ConsensusConfigDetails {
    details: ConsensusDetails,
}

#[derive(JsonSchema)]
struct ConsensusDetails {
    configs: Vec<Configuration>,
    acks: MapOf<openapi::NodeId, Ack>,
    membership_state: MembershipState,
    leadership_state: Option<LeadershipState>,
    retirement_phase: Option<RetirementPhase>,
    learners: Option<MapOf<openapi::NodeId, u64>>,
    reconfiguration_type: Option<ReconfigurationType>,
    primary_id: openapi::NodeId,
    current_view: u64,
    ticking: bool,
}

#[derive(JsonSchema)]
struct Configuration {
    idx: u64,
    nodes: MapOf<openapi::NodeId, NodeAddress>,
    rid: u64,
}

#[derive(JsonSchema)]
#[schemars(rename = "Configuration__NodeInfo")]
struct NodeAddress {
    address: String,
}

#[derive(JsonSchema)]
#[schemars(rename = "ConsensusDetails__Ack")]
struct Ack {
    seqno: u64,
    last_received_ms: u64,
}

#[derive(JsonSchema)]
enum LeadershipState {
    None,
    Leader,
    Follower,
    PreVoteCandidate,
    Candidate,
}

#[derive(JsonSchema)]
enum MembershipState {
    Active,
    Retired,
}

#[derive(JsonSchema)]
enum RetirementPhase {
    Ordered,
    Signed,
    Completed,
    RetiredCommitted,
}
