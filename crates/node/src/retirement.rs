//! What the primary does for nodes whose retirement is committed (consensus specification, section 8).

use crate::node_view::RunningNode;
use ccf_governance::retirement::set_retired_committed;

/// Marks their rows, so that every future primary knows. Does nothing if this node is not primary any more: its
/// successor asks for the same.
pub(crate) fn mark_retired_committed(node: &RunningNode) {
    match node.execute(|tx| set_retired_committed(tx).map(drop)) {
        Ok(Some(at)) => tracing::info!("Retired nodes were marked as such for good at {at}"),
        Ok(None) => {}
        Err(reason) => tracing::info!("Retired nodes were not marked by this node: {reason}"),
    }
}
