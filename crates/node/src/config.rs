//! The node's configuration file (node specification, section 3): typed, with the defaults of the specification.
//!
//! Parsing is strict: unknown keys are refused where the specification says so, and the error names the place.

mod interface;
mod sealing;
mod units;
mod validate;

pub use interface::{
    Authority, Endorsement, HttpConfiguration, Network, NodeRoleTarget, NodeToNodeInterface, OperatorFeature,
    Redirections, Resolver, Role, RpcInterface, StaticTarget, Transport,
};
pub use sealing::{DecisionProtocol, Location, SealingRecovery};
pub use units::{SizeText, TimeText, UnitError};
pub use validate::Mistake;

use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use units::{size, time};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }
    };
}

mod command;

pub use command::{
    Command, CommandKind, CoseSignatures, Join, Recover, RecoveryRole, ServiceConfiguration, Start,
    StartMember,
};

/// The whole configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses.
    pub network: Network,
    /// What this process is to do.
    pub command: Command,
    /// The node's certificate.
    #[serde(default)]
    pub node_certificate: NodeCertificate,
    /// JSON file stored as this node's data.
    #[serde(default)]
    pub node_data_json_file: Option<PathBuf>,
    /// JSON file stored as the service's data.
    #[serde(default)]
    pub service_data_json_file: Option<PathBuf>,
    /// Inputs of attestation.
    #[serde(default)]
    pub attestation: Attestation,
    /// Ledger files.
    #[serde(default)]
    pub ledger: Ledger,
    /// Snapshot files and schedule.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// Log output.
    #[serde(default)]
    pub logging: Logging,
    /// Time-outs of consensus.
    #[serde(default)]
    pub consensus: Consensus,
    /// Schedule of signature transactions.
    #[serde(default)]
    pub ledger_signatures: LedgerSignatures,
    /// Refresh of JWT keys.
    #[serde(default)]
    pub jwt: Jwt,
    /// Files the node writes.
    #[serde(default)]
    pub output_files: OutputFiles,
    /// Sizes of internal queues of the reference implementation; only `max_msg_size` means something here.
    #[serde(default)]
    pub memory: Memory,
    /// Removal of old files.
    #[serde(default)]
    pub files_cleanup: FilesCleanup,
    /// Recovery without members.
    #[serde(default)]
    pub sealing_recovery: Option<SealingRecovery>,
    /// Fetching of past service identities.
    #[serde(default)]
    pub identity_history_fetch: Option<Value>,
    /// Period of the internal clock.
    #[serde(default = "defaults::tick_interval")]
    pub tick_interval: TimeText,
    /// Disk operations longer than this are logged.
    #[serde(default = "defaults::slow_io_logging_threshold")]
    pub slow_io_logging_threshold: TimeText,
    /// Local address of outgoing node-to-node connections.
    #[serde(default)]
    pub node_client_interface: Option<String>,
    /// Time-out of unacknowledged data on outgoing connections.
    #[serde(default = "defaults::client_connection_timeout")]
    pub client_connection_timeout: TimeText,
    /// Idle sessions are closed after this; null means never.
    #[serde(default = "defaults::idle_connection_timeout")]
    pub idle_connection_timeout: Option<TimeText>,
    /// Threads that execute requests; 0 means one per core.
    #[serde(default)]
    pub worker_threads: usize,
    /// Pending nodes not seen for this long are forgotten.
    #[serde(default = "defaults::pending_node_timeout")]
    pub pending_node_timeout: TimeText,
    /// The first SIGTERM only gives notice.
    #[serde(default)]
    pub ignore_first_sigterm: bool,
    /// Messages per node-to-node channel before it is keyed anew.
    #[serde(default = "defaults::node_to_node_message_limit")]
    pub node_to_node_message_limit: u64,
    /// Bytes that historical queries may cache.
    #[serde(default = "defaults::historical_cache_soft_limit")]
    pub historical_cache_soft_limit: SizeText,
}

mod defaults {
    use super::{SizeText, TimeText, size, time};

    pub(super) fn tick_interval() -> TimeText {
        time("10ms")
    }

    pub(super) fn slow_io_logging_threshold() -> TimeText {
        time("10000us")
    }

    pub(super) fn client_connection_timeout() -> TimeText {
        time("2000ms")
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn idle_connection_timeout() -> Option<TimeText> {
        Some(time("60s"))
    }

    pub(super) fn pending_node_timeout() -> TimeText {
        time("1h")
    }

    pub(super) fn node_to_node_message_limit() -> u64 {
        23_726_566
    }

    pub(super) fn historical_cache_soft_limit() -> SizeText {
        size("512MB")
    }
}

section! {
    /// Subject, names, curve and validity of the node's certificate.
    NodeCertificate {
        /// Subject of certificate and CSR.
        subject_name: String = "CN=CCF Node".into(),
        /// `iPAddress:…` and `dNSName:…`; empty means derived from the interfaces.
        subject_alt_names: Vec<String> = Vec::new(),
        /// Curve of the node key and, on Start and Recover, of the service key.
        curve_id: CurveId = CurveId::Secp384R1,
        /// Validity of the self-signed certificate.
        initial_validity_days: u64 = 1,
    }
}

/// Curves a node or service key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum CurveId {
    /// P-384.
    Secp384R1,
    /// P-256.
    Secp256R1,
}

section! {
    /// Files and servers with attestation collateral; read on SEV-SNP only.
    Attestation {
        /// Path of the base64 security policy.
        snp_security_policy_file: Option<String> = None,
        /// Path of the base64 COSE endorsements of the utility VM.
        snp_uvm_endorsements_file: Option<String> = None,
        /// Path of the base64 JSON endorsements.
        snp_endorsements_file: Option<String> = None,
        /// Servers of endorsements.
        snp_endorsements_servers: Vec<Value> = Vec::new(),
    }
}

section! {
    /// Ledger files.
    Ledger {
        /// The main, read-write directory.
        directory: PathBuf = "ledger".into(),
        /// More sources of committed chunks.
        read_only_directories: Vec<PathBuf> = Vec::new(),
        /// A chunk is closed at the next signature after this many bytes.
        chunk_size: SizeText = size("5MB"),
        /// Largest serialised transaction.
        max_transaction_size: SizeText = size("32MB"),
    }
}

section! {
    /// Snapshot files and schedule.
    Snapshots {
        /// Main directory.
        directory: PathBuf = "snapshots".into(),
        /// Transactions between snapshots.
        tx_count: u64 = 10_000,
        /// Fewest transactions for a time-driven snapshot.
        min_tx_count: u64 = 2,
        /// Time between snapshots; zero is off.
        time_interval: TimeText = time("0s"),
        /// One more source.
        read_only_directory: Option<PathBuf> = None,
        /// Whether and how backups copy the primary's snapshots.
        backup_fetch: BackupFetch = BackupFetch::default(),
    }
}

section! {
    /// How backups copy the primary's snapshots.
    BackupFetch {
        /// Whether they do.
        enabled: bool = false,
        /// How often it is tried.
        max_attempts: u64 = 3,
        /// Pause between two attempts.
        retry_interval: TimeText = time("1000ms"),
        /// The interface of the primary that is asked; it needs the feature `SnapshotRead`.
        target_rpc_interface: String = "primary_rpc_interface".to_owned(),
        /// A larger snapshot is not fetched.
        max_size: SizeText = size("200MB"),
    }
}

section! {
    /// Log output.
    Logging {
        /// Form of a log line.
        format: LogFormat = LogFormat::Text,
        /// Deprecated and ignored.
        host_level: Option<String> = None,
    }
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum LogFormat {
    /// Columns for people.
    Text,
    /// One JSON object a line.
    Json,
}

section! {
    /// Time-outs of consensus.
    Consensus {
        /// Period of AppendEntries.
        message_timeout: TimeText = time("100ms"),
        /// Silence after which a backup calls an election.
        election_timeout: TimeText = time("5000ms"),
        /// Uncommitted transactions from which new ones are refused; 0 is unlimited.
        max_uncommitted_tx_count: u64 = 10_000,
    }
}

section! {
    /// When signature transactions are emitted.
    LedgerSignatures {
        /// At the latest after this many transactions.
        tx_count: u64 = 5_000,
        /// At the latest after this time.
        delay: TimeText = time("1000ms"),
        /// Beyond CCF: when the last signature is older than a second divided by this, a new transaction is
        /// signed at once, so commits at low load take milliseconds. 0 signs by count and delay only.
        max_per_second: u32 = 100,
    }
}

section! {
    /// Refresh of JWT issuer keys. Not done yet; the section is accepted.
    Jwt {
        /// Time between refreshes.
        key_refresh_interval: TimeText = time("30min"),
        /// Largest answer of an issuer.
        key_refresh_max_response_size: SizeText = size("1MB"),
    }
}

section! {
    /// Files the node writes.
    OutputFiles {
        /// Self-signed node certificate.
        node_certificate_file: PathBuf = "nodecert.pem".into(),
        /// Process identifier.
        pid_file: PathBuf = "my_node.pid".into(),
        /// Bound node-to-node address; empty is not written.
        node_to_node_address_file: PathBuf = PathBuf::new(),
        /// Bound RPC addresses; empty is not written.
        rpc_addresses_file: PathBuf = PathBuf::new(),
    }
}

section! {
    /// Queue sizes of the reference implementation.
    Memory {
        /// Ignored.
        circuit_size: SizeText = size("16MB"),
        /// Ignored.
        max_msg_size: SizeText = size("64MB"),
        /// Ignored.
        max_fragment_size: SizeText = size("256KB"),
    }
}

section! {
    /// Removal of old files.
    FilesCleanup {
        /// Snapshots kept, of those that this node has verified.
        max_snapshots: Option<u64> = None,
        /// Chunks kept in the main directory.
        max_committed_ledger_chunks: Option<u64> = None,
        /// Time between looks.
        interval: TimeText = time("30s"),
    }
}

fn numbered(mistakes: &[Mistake]) -> String {
    let text = |(at, Mistake { context, message }): (usize, &Mistake)| {
        format!("error #{}\n  context: {context}\n  message: {message}", at + 1)
    };
    mistakes.iter().enumerate().map(text).collect::<Vec<_>>().join("\n")
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no JSON.
    #[error("Error parsing configuration file {path}: {reason}")]
    NotJson {
        /// The file.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// The JSON has the wrong shape; the text is numbered like the reference's.
    #[error("Error validating JSON schema for configuration file {path}: {}", numbered(mistakes))]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong, at least one.
        mistakes: Vec<Mistake>,
    },
}

impl Config {
    /// Parses the text of a configuration file; `path` is for messages only.
    ///
    /// # Errors
    /// [`ConfigError`] if the text is no JSON or has keys, types or values that the specification refuses: all of them.
    pub fn parse(path: &str, text: &str) -> Result<Config, ConfigError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| ConfigError::NotJson { path: path.into(), reason: e.to_string() })?;
        validate::config(value).map_err(|mistakes| ConfigError::Invalid { path: path.into(), mistakes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn minimal() -> Value {
        json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0", "max_open_sessions_soft": 1000, "x": 1}}
            },
            "command": {"type": "Start", "start": {"members": [], "constitution_files": ["a.js"]},
                        "join": {"target_rpc_address": ""}, "recover": {"previous_service_identity_file": ""}}
        })
    }

    fn parse(value: &Value) -> Result<Config, ConfigError> {
        Config::parse("c.json", &value.to_string())
    }

    /// Check 1 of the specification's section 21: well formed, though a service cannot be started with it.
    #[test]
    fn the_smallest_configuration_is_valid() {
        let document = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"i": {"bind_address": "127.0.0.1:0"}}
            },
            "command": {"type": "Start", "start": {"members": [], "constitution_files": []}}
        });
        let config = parse(&document).expect("valid");
        let refused = crate::start::prepare(&config).err().expect("nobody to govern it").to_string();
        assert_eq!(refused, "command.start.constitution_files names no file: there is nothing to govern by");
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = parse(&minimal()).expect("valid");
        assert_eq!(config.ledger_signatures.tx_count, 5000);
        assert_eq!(config.ledger.chunk_size.bytes(), 5 * 1024 * 1024);
        assert_eq!(config.output_files.pid_file, PathBuf::from("my_node.pid"));
        let stored = serde_json::to_value(&config.network.rpc_interfaces["main"]).expect("serialises");
        assert_eq!(stored, json!({"bind_address": "127.0.0.1:0", "max_open_sessions_soft": 1000}));
    }

    #[test]
    fn wrong_documents_are_refused_with_their_place() {
        let cases: &[(&str, Value, &str)] = &[
            ("/enclave", json!({}), "enclave"),
            ("/ledger", json!({"chunk_size": "5 parsecs"}), "ledger.chunk_size"),
            ("/ledger", json!({"chunk_size": "0B"}), "chunk_size"),
            ("/command/type", json!("Stop"), "command.type"),
            ("/network/rpc_interfaces", json!({}), "rpc_interfaces"),
            ("/tick_interval", json!(""), "tick_interval"),
            ("/node_certificate", json!({"curve_id": "secp256k1"}), "curve_id"),
        ];
        for (pointer, value, expected) in cases {
            let mut document = minimal();
            let (parent, key) = pointer.rsplit_once('/').expect("pointer");
            document
                .pointer_mut(parent)
                .and_then(Value::as_object_mut)
                .expect("object")
                .insert(key.to_string(), value.clone());
            let message = parse(&document).expect_err(pointer).to_string();
            assert!(
                message.starts_with("Error validating JSON schema for configuration file c.json: "),
                "{message}"
            );
            assert!(message.contains(expected) && message.contains("context:"), "{message}");
        }
        let mut document = minimal();
        document["ledger"] = json!({"chunk_size": "0B", "x": 1, "y": 2, "directory": 3});
        document["tick_interval"] = json!(7);
        document["command"]["start"]["members"] =
            json!([{"certificate_file": "a"}, {"data_json_file": 1}, 5]);
        document["network"] = json!({"rpc_interfaces": {"main": {"endorsement": {"authority": "Nobody"}}}});
        document["attestation"] = json!([]);
        let message = parse(&document).expect_err("many mistakes").to_string();
        let contexts: Vec<&str> =
            message.lines().filter_map(|line| line.strip_prefix("  context: <root>")).collect();
        let mut sorted = contexts.clone();
        sorted.sort_unstable();
        let expected = [
            ".attestation",
            ".command.start.members[1]",
            ".command.start.members[1].data_json_file",
            ".command.start.members[2]",
            ".ledger",
            ".ledger",
            ".ledger.chunk_size",
            ".ledger.directory",
            ".network",
            ".network.rpc_interfaces.main",
            ".network.rpc_interfaces.main.endorsement.authority",
            ".tick_interval",
        ];
        assert_eq!(sorted, expected, "{message}");
        assert!(message.contains("error #12\n") && !message.contains("error #13"), "{message}");
        // However much is wrong, the list ends.
        let mut document = minimal();
        for key in 0..1000 {
            document[format!("key{key}")] = json!(0);
        }
        let message = parse(&document).expect_err("very many mistakes").to_string();
        assert!(message.matches("message:").count() <= validate::MISTAKES_MAX + 1, "{message}");
        let text = Config::parse("c.json", "{").expect_err("no JSON").to_string();
        assert!(text.starts_with("Error parsing configuration file c.json: "), "{text}");
    }
}
