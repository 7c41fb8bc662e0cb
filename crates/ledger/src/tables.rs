//! Names of the tables this crate writes or reads.

use ccf_types::MapName;

/// Node signatures, JSON (section 10.2).
pub const SIGNATURES: MapName = MapName::from_static("public:ccf.internal.signatures");
/// Signatures by the service key, a JSON string with base64 (section 10.3).
pub const COSE_SIGNATURES: MapName = MapName::from_static("public:ccf.internal.cose_signatures");
/// The serialised Merkle tree, raw (section 9.4).
pub const TREE: MapName = MapName::from_static("public:ccf.internal.tree");
/// Nodes: key node id, JSON.
pub const NODES_INFO: MapName = MapName::from_static("public:ccf.gov.nodes.info");
/// Certificates of nodes endorsed by the service: key node id, PEM.
pub const NODE_ENDORSED_CERTIFICATES: MapName =
    MapName::from_static("public:ccf.gov.nodes.endorsed_certificates");
/// The service: one value, JSON.
pub const SERVICE_INFO: MapName = MapName::from_static("public:ccf.gov.service.info");

/// The only key of a map with a single value (section 3).
pub const UNIT_KEY: [u8; 8] = [0; 8];
