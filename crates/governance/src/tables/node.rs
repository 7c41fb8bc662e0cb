//! A row of `nodes.info` (node specification, section 8.3).

use super::base64::Base64;
use ccf_types::SeqNo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the service knows of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NodeInfoInLedger")]
pub struct NodeInfo {
    /// Certificate of the node in ledgers of 1.x; never written.
    #[serde(skip)]
    pub cert: Option<String>,
    /// PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_signing_request: Option<String>,
    /// Hex of the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_digest: Option<String>,
    /// PEM of the RSA key to which ledger secrets are sent.
    pub encryption_pub_key: String,
    /// The ledger secret with which the node was trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_secret_seqno: Option<SeqNo>,
    /// Anything the operator wants to say about the node; `None` is JSON null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_data: Option<Value>,
    /// Where other nodes reach it.
    pub node_to_node_interface: NetInterface,
    /// Milliseconds since the epoch; pending nodes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_last_seen: Option<u64>,
    /// PEM of the node's identity key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Attestation evidence.
    pub quote_info: QuoteInfo,
    /// The retirement is committed: an operator may delete the row.
    #[serde(skip_serializing_if = "is_false")]
    pub retired_committed: bool,
    /// Where clients reach it, by name.
    pub rpc_interfaces: BTreeMap<String, NetInterface>,
    /// Where in its life the node is.
    pub status: NodeStatus,
}

/// Where in its life a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeStatus {
    /// Asked to join.
    Pending,
    /// Takes part.
    Trusted,
    /// Leaves, or has left.
    Retired,
}

/// Attestation evidence of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteInfo {
    /// Hex of the TCB version the node claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed_tcb: Option<String>,
    /// The hardware vendor's endorsements.
    #[serde(default)]
    pub endorsements: Base64,
    /// What kind of evidence it is.
    pub format: QuoteFormat,
    /// The evidence.
    #[serde(default)]
    pub quote: Base64,
    /// Endorsement of the utility VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uvm_endorsements: Option<Base64>,
}

/// Kinds of attestation evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QuoteFormat {
    /// Intel SGX; only in old ledgers.
    #[serde(rename = "OE_SGX_v1")]
    Sgx,
    /// The virtual platform: proves nothing.
    #[serde(rename = "Insecure_Virtual")]
    InsecureVirtual,
    /// AMD SEV-SNP.
    #[serde(rename = "AMD_SEV_SNP_v1")]
    SevSnp,
}

/// A listening interface, as its configuration gives it: a member is present exactly when it was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetInterface {
    /// Patterns of the endpoints served here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_endpoints: Option<Vec<String>>,
    /// `HTTP1` or `HTTP2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// `host:port` on which the node listens.
    #[serde(default)]
    pub bind_address: String,
    /// Operator endpoints opened here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enabled_operator_features: Vec<String>,
    /// Whose certificate is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<Endorsement>,
    /// How long a forwarded request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_timeout_ms: Option<u64>,
    /// Limits of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_configuration: Option<HttpConfiguration>,
    /// Sessions above this number are closed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_sessions_hard: Option<u64>,
    /// Sessions above this number get an answer that the node is busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_sessions_soft: Option<u64>,
    /// Transport protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `host:port` told to clients; the bind address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_address: Option<String>,
    /// Where requests go that this node should not execute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirections: Option<Redirections>,
}

/// Whose certificate an interface shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// `Node`, `Service` or `Unsecured`; `ACME` in old ledgers.
    pub authority: String,
}

/// Limits of HTTP on an interface; sizes are texts with a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HttpConfiguration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_window_size: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_streams_count: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_frame_size: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_header_size: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_headers_count: Option<Value>,
}

/// Where an interface sends requests for another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirections {
    /// Requests for a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_backup: Option<Resolver>,
    /// Requests for the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_primary: Option<Resolver>,
}

/// How a redirection finds its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// `NodeByRole` or `StaticAddress`.
    pub kind: String,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Value>,
}

impl NetInterface {
    /// An interface of which only the addresses are known.
    #[must_use]
    pub fn at(bind_address: &str, published_address: &str) -> NetInterface {
        NetInterface {
            bind_address: bind_address.to_owned(),
            published_address: Some(published_address.to_owned()),
            ..NetInterface::default()
        }
    }

    /// The address told to clients.
    #[must_use]
    pub fn published(&self) -> &str {
        self.published_address.as_deref().unwrap_or(&self.bind_address)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
fn is_false(value: &bool) -> bool {
    !value
}

/// All that a row may hold, of any release.
#[derive(Deserialize)]
struct NodeInfoInLedger {
    cert: Option<String>,
    certificate_signing_request: Option<String>,
    code_digest: Option<String>,
    #[serde(default)]
    encryption_pub_key: String,
    ledger_secret_seqno: Option<SeqNo>,
    node_data: Option<Value>,
    node_to_node_interface: Option<NetInterface>,
    pending_last_seen: Option<u64>,
    public_key: Option<String>,
    quote_info: QuoteInfo,
    retired_committed: Option<bool>,
    rpc_interfaces: Option<BTreeMap<String, NetInterface>>,
    status: NodeStatus,
    nodehost: Option<String>,
    nodeport: Option<String>,
    rpchost: Option<String>,
    rpcport: Option<String>,
    pubhost: Option<String>,
    pubport: Option<String>,
}

/// The addresses of a row are neither those of today nor those of 1.x.
#[derive(Debug, thiserror::Error)]
#[error("incomplete addresses of a node")]
struct IncompleteAddresses;

impl TryFrom<NodeInfoInLedger> for NodeInfo {
    type Error = IncompleteAddresses;

    fn try_from(row: NodeInfoInLedger) -> Result<Self, IncompleteAddresses> {
        let (node_to_node_interface, rpc_interfaces) = match (row.node_to_node_interface, row.rpc_interfaces)
        {
            (Some(node), Some(rpc)) => (node, rpc),
            (None, None) => {
                let join = |host: Option<String>, port: Option<String>| match (host, port) {
                    (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
                    _ => Err(IncompleteAddresses),
                };
                let node = join(row.nodehost, row.nodeport)?;
                let bind = join(row.rpchost, row.rpcport)?;
                let published = join(row.pubhost, row.pubport)?;
                let rpc = NetInterface::at(&bind, &published);
                (NetInterface::at(&node, &node), BTreeMap::from([(LEGACY_INTERFACE.to_owned(), rpc)]))
            }
            _ => return Err(IncompleteAddresses),
        };
        Ok(NodeInfo {
            cert: row.cert,
            certificate_signing_request: row.certificate_signing_request,
            code_digest: row.code_digest,
            encryption_pub_key: row.encryption_pub_key,
            ledger_secret_seqno: row.ledger_secret_seqno,
            node_data: row.node_data,
            node_to_node_interface,
            pending_last_seen: row.pending_last_seen,
            public_key: row.public_key,
            quote_info: row.quote_info,
            retired_committed: row.retired_committed.unwrap_or(false),
            rpc_interfaces,
            status: row.status,
        })
    }
}

/// The name given to the one interface of a row of 1.x.
const LEGACY_INTERFACE: &str = "primary_rpc_interface";

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = concat!(
        r#"{"certificate_signing_request":"csr","code_digest":"496e","encryption_pub_key":"rsa","#,
        r#""node_data":{"z":1},"node_to_node_interface":{"bind_address":"a:1","published_address":"b:1"},"#,
        r#""public_key":"pk","quote_info":{"endorsements":"","format":"Insecure_Virtual","quote":"AQI="},"#,
        r#""rpc_interfaces":{"x":{"app_protocol":"HTTP1","bind_address":"a:2","endorsement":{"authority":"Service"},"#,
        r#""forwarding_timeout_ms":3000,"http_configuration":{"max_body_size":"1048576","max_headers_count":256},"#,
        r#""max_open_sessions_hard":1010,"max_open_sessions_soft":1000,"protocol":"tcp","published_address":"a:2"}},"#,
        r#""status":"Trusted"}"#
    );

    #[test]
    fn a_row_is_written_as_it_was_read() {
        let row: NodeInfo = serde_json::from_str(CURRENT).expect("valid");
        assert_eq!(serde_json::to_string(&row).expect("serialises"), CURRENT);
    }

    #[test]
    fn rows_of_the_first_release_are_read_and_incomplete_ones_refused() {
        let old = concat!(
            r#"{"nodehost":"n","nodeport":"1","rpchost":"r","rpcport":"2","pubhost":"p","pubport":"3","#,
            r#""quote_info":{"format":"OE_SGX_v1","quote":[1],"endorsements":[]},"status":"Retired"}"#
        );
        let row: NodeInfo = serde_json::from_str(old).expect("valid");
        assert_eq!(row.rpc_interfaces[LEGACY_INTERFACE], NetInterface::at("r:2", "p:3"));
        assert!(serde_json::from_str::<NodeInfo>(&old.replace("nodehost", "nodehots")).is_err());
        let half = old.replace("\"nodehost\":\"n\"", "\"rpc_interfaces\":{}");
        assert!(serde_json::from_str::<NodeInfo>(&half).is_err());
    }
}
