//! Leading a client to the same interface of another node (node specification, section 13.1).

use ccf_endpoints::{EndpointContext, ErrorResponse, Origin};
use ccf_governance::tables;
use ccf_types::NodeId;

/// Answers 308 with the `location` of `path` on `node`.
///
/// # Errors
/// 500 if the node has no interface named as the one that received the request.
pub(super) fn to_node(ctx: &mut EndpointContext<'_>, node: &NodeId, path: &str) -> Result<(), ErrorResponse> {
    let address = address_of(ctx, node)?;
    ctx.response.status = 308;
    ctx.response.headers.set("location", format!("https://{address}{path}"));
    Ok(())
}

/// The published address of the interface of a node that is named as the one that received the request.
///
/// # Errors
/// 500 if the node has none, or is not known.
pub(super) fn address_of(ctx: &EndpointContext<'_>, node: &NodeId) -> Result<String, ErrorResponse> {
    let Some(info) = ctx.tx.ro(&tables::NODES).get(node)? else {
        let text = format!("Cannot find node info to produce redirect response for node {node}");
        return Err(ErrorResponse::internal(text));
    };
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
