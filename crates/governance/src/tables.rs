//! Every built-in table, declared once: name, key, value (governance specification, section 12).
//!
//! The modules below hold the value types; their JSON is that of the ledger: members in byte order, optional
//! members absent when not given, bytes as base64. No built-in table is private. Names and types that lower crates
//! need (users and members of authentication, the JavaScript application) are declared there and shown here again.

pub mod base64;
pub mod jwt;
pub mod member;
pub mod node;
pub mod policy;
pub mod proposal;
pub mod secrets;
pub mod service;

use self::{
    base64::Base64,
    jwt::{JwtIssuer, JwtKey},
    member::Ack,
    node::NodeInfo,
    policy::{CodeStatus, TcbPolicy, UvmFeeds},
    proposal::ProposalInfo,
    secrets::{EncryptedSecrets, HistoricalSecret, RecoveryShares, SealedRecoveryKey, SealedShares},
    service::{NodeSignature, ServiceConfig, ServiceInfo, SnapshotEvidence, SnapshotStatus},
};
use crate::decision::{
    DecidingNode,
    state::{OpenKind, Phase},
};
use ccf_crypto::cose::EndorsementRecord;
use ccf_kv::{Raw, SmallBytes, TypedMap, TypedSet, TypedValue};
use ccf_types::{Digest, MemberId, NodeId, TxId};
use serde_json::Value;

// Tables that lower crates read are declared there.
pub use ccf_endpoints::tables::{MEMBER_CERTS, MEMBER_INFO, USER_CERTS, USER_INFO};
pub use ccf_js::{
    BYTECODE as MODULES_BYTECODE, BYTECODE_VERSION as MODULES_BYTECODE_VERSION, ENDPOINTS, INTERPRETER_FLUSH,
    MODULES, RUNTIME_OPTIONS as JS_RUNTIME_OPTIONS,
};

/// A table of texts as they are: no quotes, no terminator.
pub type TextMap<K> = TypedMap<K, String, Raw, Raw>;

/// Declares one constant per table and the list of their names, so that a test can compare it with a ledger.
macro_rules! tables {
    ($($(#[$doc:meta])* $constant:ident: $kind:ty = $name:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            #[doc = ""]
            $(#[$doc])*
            pub const $constant: $kind = <$kind>::new($name);
        )*

        /// The names of the tables declared in this file.
        pub const NAMES: &[&str] = &[$($name),*];
    };
}

tables! {
    /// PEM RSA public key, of members that take part in recovery.
    MEMBER_ENCRYPTION_KEYS: TextMap<MemberId> = "public:ccf.gov.members.encryption_public_keys";
    /// What each member acknowledged.
    MEMBER_ACKS: TypedMap<MemberId, Ack> = "public:ccf.gov.members.acks";
    /// The nodes.
    NODES: TypedMap<NodeId, NodeInfo> = "public:ccf.gov.nodes.info";
    /// PEM certificate of each node, issued by the service.
    NODE_ENDORSED_CERTIFICATES: TextMap<NodeId> = "public:ccf.gov.nodes.endorsed_certificates";
    /// Accepted SGX measurements; only in old ledgers.
    NODE_CODE_IDS: TypedMap<String, CodeStatus> = "public:ccf.gov.nodes.code_ids";
    /// Accepted measurements of the virtual platform.
    VIRTUAL_MEASUREMENTS: TypedMap<String, CodeStatus> = "public:ccf.gov.nodes.virtual.measurements";
    /// Accepted host data of the virtual platform, hex.
    VIRTUAL_HOST_DATA: TypedSet<String> = "public:ccf.gov.nodes.virtual.host_data";
    /// Accepted SNP measurements, hex.
    SNP_MEASUREMENTS: TypedMap<String, CodeStatus> = "public:ccf.gov.nodes.snp.measurements";
    /// Accepted SNP host data, hex, with the policy text it is the digest of, or an empty text.
    SNP_HOST_DATA: TypedMap<String, String> = "public:ccf.gov.nodes.snp.host_data";
    /// Accepted issuers (DID) of utility VM endorsements and their feeds.
    SNP_UVM_ENDORSEMENTS: TypedMap<String, UvmFeeds> = "public:ccf.gov.nodes.snp.uvm_endorsements";
    /// Least accepted TCB by processor (CPUID, hex).
    SNP_TCB_VERSIONS: TypedMap<String, TcbPolicy> = "public:ccf.gov.nodes.snp.tcb_versions";
    /// A JavaScript module that judges joining nodes.
    NODE_JOIN_POLICY: TypedValue<String, Raw> = "public:ccf.gov.nodes.node_join_policy";
    /// Recovery keys that only a node's own firmware can open.
    NODE_SEALED_RECOVERY_KEYS: TypedMap<NodeId, SealedRecoveryKey> = "public:ccf.gov.nodes.sealed_recovery_keys";
    /// The service: certificate and status.
    SERVICE_INFO: TypedValue<ServiceInfo> = "public:ccf.gov.service.info";
    /// What the consortium may configure.
    SERVICE_CONFIG: TypedValue<ServiceConfig> = "public:ccf.gov.service.config";
    /// Who takes part in deciding which recovering node opens the service, by location.
    DECISION_NODES: TypedMap<String, DecidingNode> = "public:ccf.gov.recovery_decision_protocol.nodes";
    /// The last signatures of their ledgers.
    DECISION_GOSSIP: TypedMap<String, TxId> = "public:ccf.gov.recovery_decision_protocol.gossip";
    /// For whom this node votes.
    DECISION_CHOSEN: TypedValue<String> = "public:ccf.gov.recovery_decision_protocol.chosen_node";
    /// Who votes for this node.
    DECISION_VOTES: TypedSet<String> = "public:ccf.gov.recovery_decision_protocol.votes";
    /// Where the decision is.
    DECISION_PHASE: TypedValue<Phase> = "public:ccf.gov.recovery_decision_protocol.sm_state";
    /// Which phase is timed.
    DECISION_TIMEOUT_PHASE: TypedValue<Phase> = "public:ccf.gov.recovery_decision_protocol.timeout_sm_state";
    /// Why this node opened the service.
    DECISION_OPEN_KIND: TypedValue<OpenKind> = "public:ccf.gov.recovery_decision_protocol.open_kind";
    /// PEM certificate of the service before the last recovery.
    PREVIOUS_SERVICE_IDENTITY: TypedValue<String> = "public:ccf.gov.service.previous_service_identity";
    /// The constitution, a JavaScript module.
    CONSTITUTION: TypedValue<String> = "public:ccf.gov.constitution";
    /// Proposals as they were sent.
    PROPOSALS: TypedMap<String, SmallBytes, Raw, Raw> = "public:ccf.gov.proposals";
    /// State and ballots of each proposal.
    PROPOSALS_INFO: TypedMap<String, ProposalInfo> = "public:ccf.gov.proposals_info";
    /// The last signed request of each member that changed something.
    COSE_HISTORY: TypedMap<MemberId, Base64> = "public:ccf.gov.cose_history";
    /// Recent proposals by time and digest: the window against replay.
    COSE_RECENT_PROPOSALS: TypedMap<String, String> = "public:ccf.gov.cose_recent_proposals";
    /// Signed requests before COSE; only in old ledgers.
    HISTORY: TypedMap<MemberId, Value> = "public:ccf.gov.history";
    /// PEM bundles by name.
    CA_CERT_BUNDLES: TypedMap<String, String> = "public:ccf.gov.tls.ca_cert_bundles";
    /// Issuers of tokens.
    JWT_ISSUERS: TypedMap<String, JwtIssuer> = "public:ccf.gov.jwt.issuers";
    /// Their keys by key identifier.
    JWT_KEYS: TypedMap<String, Vec<JwtKey>> = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";
    /// Keys as certificates; only in old ledgers.
    JWT_KEYS_METADATA_V1: TypedMap<String, Value> = "public:ccf.gov.jwt.public_signing_keys_metadata";
    /// Certificates; only in old ledgers.
    JWT_KEYS_CERTIFICATES: TypedMap<String, Vec<u8>, Raw, Raw> = "public:ccf.gov.jwt.public_signing_keys";
    /// Issuer by key; only in old ledgers.
    JWT_KEY_ISSUER: TextMap<String> = "public:ccf.gov.jwt.public_signing_key_issuer";

    /// The node's signature over the Merkle root.
    SIGNATURES: TypedValue<NodeSignature> = "public:ccf.internal.signatures";
    /// The service's signature over the Merkle root: COSE Sign1 without payload.
    COSE_SIGNATURES: TypedValue<Base64> = "public:ccf.internal.cose_signatures";
    /// The Merkle tree at the signature.
    TREE: TypedValue<Vec<u8>, Raw> = "public:ccf.internal.tree";
    /// The latest ledger secret, wrapped, and the members' shares of the wrapping key.
    RECOVERY_SHARES: TypedValue<RecoveryShares> = "public:ccf.internal.recovery_shares";
    /// The chain of ledger secrets.
    HISTORICAL_LEDGER_SECRET: TypedValue<HistoricalSecret> = "public:ccf.internal.historical_encrypted_ledger_secret";
    /// Ledger secrets for each node.
    ENCRYPTED_LEDGER_SECRETS: TypedValue<EncryptedSecrets> = "public:ccf.internal.encrypted_ledger_secrets";
    /// Shares that members sent, encrypted.
    SUBMITTED_SHARES: TypedMap<MemberId, Base64> = "public:ccf.internal.encrypted_submitted_shares";
    /// How the service was recovered last.
    LAST_RECOVERY_TYPE: TypedValue<String> = "public:ccf.internal.last_recovery_type";
    /// Links this service identity to the one before.
    IDENTITY_ENDORSEMENT: TypedValue<EndorsementRecord> =
        "public:ccf.internal.previous_service_identity_endorsement";
    /// The root in the last signature before the recovery.
    PREVIOUS_SERVICE_LAST_SIGNED_ROOT: TypedValue<Digest> =
        "public:ccf.internal.previous_service_last_signed_root";
    /// Digest of a snapshot.
    SNAPSHOT_EVIDENCE: TypedValue<SnapshotEvidence> = "public:ccf.internal.snapshot_evidence";
    /// When the snapshot was made.
    SNAPSHOT_STATUS: TypedValue<SnapshotStatus> = "public:ccf.internal.snapshot_status";
    /// Written by an operator who wants a snapshot.
    SNAPSHOT_CREATE: TypedValue<(), Raw> = "public:ccf.internal.snapshot_create";
    /// Shares for nodes that can unseal their key.
    SEALED_SHARES: TypedValue<SealedShares> = "public:ccf.internal.sealed_shares";
    /// Nodes by the name of their location.
    SEALING_RECOVERY_NAMES: TextMap<String> = "public:ccf.internal.sealing_recovery_names";
}

#[cfg(test)]
mod tests {
    use super::NAMES;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_given_twice() {
        assert_eq!(NAMES.iter().collect::<BTreeSet<_>>().len(), NAMES.len());
    }
}
