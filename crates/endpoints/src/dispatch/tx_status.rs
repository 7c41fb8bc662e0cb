//! The status of a transaction, from what consensus knows (applications specification, section 11.2).

use ccf_types::{TxId, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TxStatus {
    /// This node has not heard of it.
    Unknown,
    /// It is in the ledger of this node and may still be rolled back.
    Pending,
    /// It is in the ledger for ever.
    Committed,
    /// It will never be in the ledger.
    Invalid,
}

impl fmt::Display for TxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The status of `target`, given the view of the entry this node has at its sequence number and the
/// committed position.
#[must_use]
pub fn tx_status(target: TxId, local_view: Option<View>, committed: TxId) -> TxStatus {
    let views_equal = local_view == Some(target.view);
    if committed.seqno >= target.seqno {
        if views_equal { TxStatus::Committed } else { TxStatus::Invalid }
    } else if views_equal {
        TxStatus::Pending
    } else if committed.view > target.view {
        TxStatus::Invalid
    } else {
        TxStatus::Unknown
    }
}
