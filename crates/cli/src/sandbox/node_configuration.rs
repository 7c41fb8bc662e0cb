//! The configuration file of a sandbox node (node specification, section 3): Start or Join, with small, explicit settings.

use crate::http_client::Protocol;
use serde_json::{Value, json};
use std::time::Duration;

/// What differs from one sandbox to another. File names are relative to the node's folder.
#[derive(Clone, Copy)]
pub struct NodeSettings<'a> {
    /// Position of the node, from 0: part of its file names.
    pub index: usize,
    /// `host:port` of its only client interface.
    pub rpc_address: &'a str,
    /// What it speaks there.
    pub protocol: Protocol,
    /// How the node becomes part of the service.
    pub command: Command<'a>,
    /// Names of the constitution's files, in order.
    pub constitution_files: &'a [String],
    /// Names of the members' files: certificate and, for recovery members, public encryption key.
    pub members: &'a [(String, Option<String>)],
    /// Time between signatures.
    pub signature_interval: Duration,
    /// Days until the first certificates expire.
    pub validity_days: u16,
    /// Bytes of a ledger file.
    pub ledger_chunk_bytes: u64,
    /// Transactions between snapshots.
    pub snapshot_tx_interval: u64,
    /// Threads for sessions; the node's own choice without it.
    pub worker_threads: Option<u16>,
}

/// How a node becomes part of a service.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// It makes a new one.
    Start,
    /// It joins the one that the node at this `host:port` belongs to.
    Join(&'a str),
    /// It recovers one from its ledger; the certificate of the service before is in this file.
    Recover(&'a str),
}

/// Largest request body: bundles built by a JavaScript bundler may have hundreds of modules.
const BODY_BYTES_MAX: &str = "16MB";

impl NodeSettings<'_> {
    /// Name of the file that the node writes its self-signed certificate to.
    #[must_use]
    pub fn node_certificate_file(&self) -> String {
        format!("{}.pem", self.index)
    }

    /// Name of the file that the node writes its addresses to.
    #[must_use]
    pub fn rpc_addresses_file(&self) -> String {
        format!("{}.rpc_addresses", self.index)
    }

    /// Name of the ledger's folder.
    #[must_use]
    pub fn ledger_directory(&self) -> String {
        format!("{}.ledger", self.index)
    }

    /// The configuration as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let members: Vec<Value> = self
            .members
            .iter()
            .map(|(certificate, encryption_key)| match encryption_key {
                Some(key) => json!({"certificate_file": certificate, "encryption_public_key_file": key}),
                None => json!({"certificate_file": certificate}),
            })
            .collect();
        let mut configuration = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {
                    "primary_rpc_interface": {
                        "bind_address": self.rpc_address,
                        "app_protocol": self.protocol.configuration_name(),
                        "http_configuration": {"max_body_size": BODY_BYTES_MAX},
                        // A node that joins may need a snapshot.
                        "enabled_operator_features": ["SnapshotRead", "LedgerChunkRead"],
                    },
                },
            },
            "node_certificate": {"initial_validity_days": self.validity_days},
            "command": {
                "type": "Start",
                "service_certificate_file": "service_cert.pem",
                "start": {
                    "members": members,
                    "constitution_files": self.constitution_files,
                    "service_configuration": {
                        "recovery_threshold": 0,
                        "maximum_node_certificate_validity_days": 365,
                        "maximum_service_certificate_validity_days": 365,
                    },
                    "initial_service_certificate_validity_days": self.validity_days,
                },
            },
            "ledger": {
                "directory": self.ledger_directory(),
                "chunk_size": format!("{}B", self.ledger_chunk_bytes),
            },
            "snapshots": {
                "directory": format!("{}.snapshots", self.index),
                "tx_count": self.snapshot_tx_interval,
            },
            "ledger_signatures": {
                "tx_count": 5000,
                "delay": format!("{}ms", self.signature_interval.as_millis().max(1)),
            },
            "consensus": {"message_timeout": "100ms", "election_timeout": "2000ms"},
            "output_files": {
                "node_certificate_file": self.node_certificate_file(),
                "pid_file": "node.pid",
                "node_to_node_address_file": format!("{}.node_address", self.index),
                "rpc_addresses_file": self.rpc_addresses_file(),
            },
        });
        match self.command {
            Command::Start => {}
            Command::Join(target) => {
                configuration["command"] = json!({
                    "type": "Join",
                    "service_certificate_file": "service_cert.pem",
                    "join": {"target_rpc_address": target, "retry_timeout": "200ms"},
                });
            }
            Command::Recover(previous) => {
                configuration["command"] = json!({
                    "type": "Recover",
                    "service_certificate_file": "service_cert.pem",
                    "recover": {
                        "previous_service_identity_file": previous,
                        "initial_service_certificate_validity_days": self.validity_days,
                    },
                });
            }
        }
        if let Some(threads) = self.worker_threads {
            configuration["worker_threads"] = threads.into();
        }
        configuration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_keys_of_the_specification() {
        let settings = NodeSettings {
            index: 0,
            rpc_address: "127.0.0.1:8000",
            protocol: Protocol::Http2,
            command: Command::Start,
            constitution_files: &["resolve.js".to_owned()],
            members: &[("m0.pem".to_owned(), Some("m0_enc.pem".to_owned())), ("m1.pem".to_owned(), None)],
            signature_interval: Duration::from_millis(100),
            validity_days: 90,
            ledger_chunk_bytes: 5_000_000,
            snapshot_tx_interval: 10_000,
            worker_threads: Some(2),
        };
        let json = settings.to_json();
        assert_eq!(json["network"]["rpc_interfaces"]["primary_rpc_interface"]["app_protocol"], "HTTP2");
        assert_eq!(json["command"]["start"]["members"][0]["encryption_public_key_file"], "m0_enc.pem");
        assert!(json["command"]["start"]["members"][1].get("encryption_public_key_file").is_none());
        assert_eq!(json["ledger"]["chunk_size"], "5000000B");
        assert_eq!(json["ledger_signatures"]["delay"], "100ms");
        assert_eq!(json["worker_threads"], 2);
        let joiner = NodeSettings { command: Command::Join("127.0.0.1:8000"), ..settings }.to_json();
        assert_eq!(joiner["command"]["type"], "Join");
        assert_eq!(joiner["command"]["join"]["target_rpc_address"], "127.0.0.1:8000");
    }
}
