//! Leading a client to the same interface of another node (node specification, section 13.1).

use super::Shared;
use ccf_endpoints::{EndpointContext, ErrorCode, ErrorResponse, Origin};
use ccf_governance::tables::{self, node::NodeInfo};
use ccf_types::NodeId;

/// Answers 308 with the `location` of `path` on `node`.
///
/// # Errors
/// 500 if the node has no interface named as the one that received the request.
pub(super) fn to_node(ctx: &mut EndpointContext<'_>, node: &NodeId, path: &str) -> Result<(), ErrorResponse> {
    let Some(info) = ctx.tx.ro(&tables::NODES).get(node)? else {
        let text = format!("Cannot find node info to produce redirect response for node {node}");
        return Err(ErrorResponse::internal(text));
    };
    let address = address(ctx, node, &info)?;
    ctx.response.status = 308;
    ctx.response.headers.set("location", format!("https://{address}{path}"));
    Ok(())
}

/// The published address of the interface of a node that is named as the one that received the request.
fn address(ctx: &EndpointContext<'_>, node: &NodeId, info: &NodeInfo) -> Result<String, ErrorResponse> {
    if ctx.session().origin() != Origin::Client {
        return Err(ErrorResponse::internal("Cannot redirect non-RPC request"));
    }
    let name = &ctx.session().interface().name;
    match info.rpc_interfaces.get(name) {
        Some(interface) => Ok(interface.published().to_owned()),
        None => Err(ErrorResponse::internal(format!(
            "Cannot redirect request. Received on RPC interface {name}, which is not present on target node {node}"
        ))),
    }
}

/// As [`to_node`], to the primary. The body says why.
///
/// # Errors
/// 500 if no primary is known or it cannot be led to.
pub(super) fn to_primary(
    shared: &Shared,
    ctx: &mut EndpointContext<'_>,
    path: &str,
) -> Result<(), ErrorResponse> {
    let primary = shared.node.status.term().primary.clone();
    let primary = primary.ok_or_else(|| ErrorResponse::internal("Primary unknown"))?;
    to_node(ctx, &primary, path)?;
    let error =
        ErrorResponse::new(ErrorCode::NodeCannotHandleRequest, "Node is not primary; cannot handle write");
    let answer = error.into_response();
    ctx.response.body = answer.body;
    Ok(())
}
