//! Values of the join policy tables (governance 9.4 and 12.1).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The one value of the tables of accepted measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeStatus {
    /// Nodes with this measurement may join.
    AllowedToJoin,
}

/// A row of `nodes.snp.uvm_endorsements`: accepted feeds of one issuer.
pub type UvmFeeds = BTreeMap<String, UvmFeed>;

/// The least accepted version of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UvmFeed {
    /// Security version number.
    pub svn: String,
}

/// A row of `nodes.snp.tcb_versions`: the least accepted TCB of a processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TcbPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_loader: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hexstring: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microcode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snp: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tee: Option<u32>,
}
