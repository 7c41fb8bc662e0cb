//! RPC interfaces as configured; the same objects are stored in the ledger and served back, so only keys that
//! were given are written again (node specification, section 3.3).

use super::units::SizeText;
use ccf_endpoints::openapi::AnyJson;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Addresses a node listens on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Where peers connect.
    pub node_to_node_interface: NodeToNodeInterface,
    /// Where clients connect, by name.
    pub rpc_interfaces: BTreeMap<String, RpcInterface>,
}

impl Network {
    /// Whether the first interface by name speaks HTTP/2: then this node takes other nodes to do so too.
    #[must_use]
    pub fn first_is_http2(&self) -> bool {
        self.rpc_interfaces.values().next().is_some_and(|first| first.app_protocol() == "HTTP2")
    }
}

/// The listening socket for other nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeToNodeInterface {
    /// `host:port`; port 0 means any.
    pub bind_address: String,
    /// The address peers use; filled with the bound one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_address: Option<String>,
}

/// One listening socket for clients and its rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NodeInfoNetwork_v2__NetInterface")]
pub struct RpcInterface {
    /// Regular expressions; an endpoint's path template must match one wholly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_endpoints: Option<Vec<String>>,
    /// What is spoken above TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// `host:port`; port 0 means any.
    pub bind_address: String,
    /// Which operator endpoints this interface offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<BTreeSet<OperatorFeature>>")]
    pub enabled_operator_features: Vec<OperatorFeature>,
    /// Whose certificate is presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<Endorsement>,
    /// How long a forwarded request may take, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_timeout_ms: Option<u64>,
    /// Limits of the HTTP parser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_configuration: Option<HttpConfiguration>,
    /// Connections from this many on are closed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_sessions_hard: Option<usize>,
    /// Connections from this many on are answered 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_sessions_soft: Option<usize>,
    /// `tcp` or `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub protocol: Option<Transport>,
    /// The address clients use; filled with the bound one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_address: Option<String>,
    /// Where requests that another node must answer are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirections: Option<Redirections>,
}

/// Transport protocol of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP, which only the experimental QUIC stub of the reference used.
    Udp,
}

/// Operator endpoints that are off unless named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperatorFeature {
    /// Download of snapshots.
    SnapshotRead,
    /// Download of ledger chunks.
    LedgerChunkRead,
    /// Creation of a snapshot on request.
    SnapshotCreate,
}

/// Whose certificate an interface presents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// The endorsing authority.
    pub authority: Authority,
}

/// Endorsing authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authority {
    /// The node itself: available at once.
    Node,
    /// The service: available after the node's endorsement is committed.
    Service,
    /// Deprecated; never gets a certificate.
    #[serde(rename = "ACME")]
    Acme,
    /// No TLS; only for named endpoints.
    Unsecured,
}

/// Limits of the HTTP parser of an interface.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ParserConfiguration")]
pub struct HttpConfiguration {
    /// HTTP/2 setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_window_size: Option<SizeText>,
    /// Largest request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// HTTP/2 setting, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub max_concurrent_streams_count: Option<u32>,
    /// HTTP/2 setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_frame_size: Option<SizeText>,
    /// Largest header name and largest header value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_header_size: Option<SizeText>,
    /// Most headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_headers_count: Option<u32>,
}

/// Where requests are redirected, if at all.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NodeInfoNetwork_v2__NetInterface__Redirections")]
pub struct Redirections {
    /// For requests that only a backup may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_backup: Option<Resolver>,
    /// For requests that only the primary may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_primary: Option<Resolver>,
}

/// How the target of a redirection is found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "target")]
pub enum Resolver {
    /// The same interface of a node with this role.
    NodeByRole(NodeRoleTarget),
    /// Always the same address.
    StaticAddress(StaticTarget),
}

/// Target of [`Resolver::NodeByRole`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeRoleTarget {
    /// Name of the interface; absent means the receiving one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The role.
    pub role: Role,
}

/// Target of [`Resolver::StaticAddress`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StaticTarget {
    /// `host:port`.
    pub address: String,
}

/// Role of a node as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Executes writes.
    Primary,
    /// Replicates.
    Backup,
}

/// As published: the kinds by name, their parameters left open.
impl JsonSchema for Resolver {
    fn schema_name() -> Cow<'static, str> {
        "RedirectionResolverConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties = json_schema!({
            "kind": generator.subschema_for::<ResolutionKind>(),
            "target": generator.subschema_for::<AnyJson>(),
        });
        json_schema!({"properties": properties, "required": ["kind"], "type": "object"})
    }
}

/// The tags of [`Resolver`], for its schema.
#[derive(JsonSchema)]
#[schemars(rename = "RedirectionResolutionKind")]
#[expect(dead_code, reason = "exists for its schema")]
enum ResolutionKind {
    NodeByRole,
    StaticAddress,
}

impl RpcInterface {
    /// The authority, `Service` by default.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.endorsement.as_ref().map_or(Authority::Service, |e| e.authority)
    }

    /// The application protocol, `HTTP1` by default.
    #[must_use]
    pub fn app_protocol(&self) -> &str {
        self.app_protocol.as_deref().unwrap_or("HTTP1")
    }
}
