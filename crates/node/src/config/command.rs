//! What a node is to do: the section `command` (node specification, section 3.5).

use super::units::{SizeText, TimeText, size, time};
use serde::Deserialize;
use std::path::PathBuf;

/// What this process is to do.
#[derive(Clone, Debug, Deserialize)]
pub struct Command {
    /// Which of the sections below counts.
    #[serde(rename = "type")]
    pub kind: CommandKind,
    /// Written by Start and Recover, read by Join.
    #[serde(default = "service_certificate_file")]
    pub service_certificate_file: PathBuf,
    /// For Start.
    #[serde(default)]
    pub start: Option<Start>,
    /// For Join.
    #[serde(default)]
    pub join: Option<Join>,
    /// For Recover.
    #[serde(default)]
    pub recover: Option<Recover>,
}

fn service_certificate_file() -> PathBuf {
    "service_cert.pem".into()
}

/// The commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum CommandKind {
    /// A new service.
    Start,
    /// A new node of a running service.
    Join,
    /// A service from its ledger.
    Recover,
}

section! {
    /// Inputs of one more node of a service.
    Join {
        /// `host:port` of a node of the service.
        target_rpc_address: String = String::new(),
        /// Pause between two requests.
        retry_timeout: TimeText = time("1000ms"),
        /// Whether to follow the target to another node.
        follow_redirect: bool = true,
        /// Whether to fetch a newer snapshot if the own one is too old.
        fetch_recent_snapshot: bool = true,
        /// How often fetching is tried.
        fetch_snapshot_max_attempts: u64 = 3,
        /// Pause between two attempts to fetch.
        fetch_snapshot_retry_interval: TimeText = time("1000ms"),
        /// The largest snapshot that is fetched.
        fetch_snapshot_max_size: SizeText = size("10GB"),
        /// A COSE file sent with the request to join.
        host_data_transparent_statement_path: Option<PathBuf> = None,
    }
}

section! {
    /// Inputs of the recovery of a service.
    Recover {
        /// Validity of the service certificate.
        initial_service_certificate_validity_days: u64 = 1,
        /// PEM of the certificate of the service that is recovered.
        previous_service_identity_file: PathBuf = PathBuf::new(),
    }
}

section! {
    /// Inputs of a new service.
    Start {
        /// Initial members.
        members: Vec<StartMember> = Vec::new(),
        /// Joined with a line feed.
        constitution_files: Vec<PathBuf> = Vec::new(),
        /// Initial service configuration.
        service_configuration: ServiceConfiguration = ServiceConfiguration::default(),
        /// Validity of the service certificate.
        initial_service_certificate_validity_days: u64 = 1,
        /// Subject of the service certificate.
        service_subject_name: String = "CN=CCF Service".into(),
        /// Issuer and subject of ledger signatures.
        cose_signatures: CoseSignatures = CoseSignatures::default(),
    }
}

/// One initial member.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartMember {
    /// PEM certificate.
    pub certificate_file: PathBuf,
    /// PEM RSA key; null or empty is none.
    #[serde(default)]
    pub encryption_public_key_file: Option<PathBuf>,
    /// JSON data; null or empty is none.
    #[serde(default)]
    pub data_json_file: Option<PathBuf>,
    /// Part in recovery; kept only with an encryption key.
    #[serde(default)]
    pub recovery_role: Option<RecoveryRole>,
}

/// Part of a member in recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RecoveryRole {
    /// None.
    NonParticipant,
    /// Holds a share.
    Participant,
    /// Holds a full share.
    Owner,
}

section! {
    /// Initial service configuration; what was given is stored as given.
    ServiceConfiguration {
        /// Shares needed to recover; 0 is derived from the members.
        recovery_threshold: u64 = 0,
        /// Longest validity of node certificates, days.
        maximum_node_certificate_validity_days: Option<u64> = None,
        /// Longest validity of the service certificate, days.
        maximum_service_certificate_validity_days: Option<u64> = None,
        /// Proposals remembered against replay.
        recent_cose_proposals_window_size: Option<u64> = None,
    }
}

/// Issuer and subject of COSE ledger signatures.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoseSignatures {
    /// CWT issuer.
    pub issuer: String,
    /// CWT subject.
    pub subject: String,
}
