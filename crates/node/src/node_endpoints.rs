//! The endpoints under `/node` (node specification, section 13): one file per group.
//!
//! Not there until joining and JWT land: `/join`, `/jwt_keys/refresh`.

mod absent;
mod attestation;
mod consensus;
mod files;
pub(crate) mod membership;
mod network;
pub(crate) mod recovery_decision;
mod redirect;
mod schemas;
mod status;

pub(crate) use files::FileDirectories;
pub(crate) use status::CCF_VERSION;

use crate::{node_facts::NodeFacts, node_view::RunningNode};
use ccf_endpoints::{
    EndpointDefinition, ErrorResponse, ForwardingRequired, Frontend, InvalidTemplate, Method, Registry,
    openapi::ApiInfo,
};
use std::sync::Arc;

/// What the handlers of this frontend share.
#[derive(Clone)]
struct Shared {
    facts: Arc<NodeFacts>,
    node: Arc<RunningNode>,
}

/// The `/node` frontend.
///
/// # Errors
/// [`InvalidTemplate`] if a path of ours is no template: a mistake that tests catch.
pub(crate) fn registry(
    facts: &Arc<NodeFacts>,
    node: &Arc<RunningNode>,
    directories: &FileDirectories,
) -> Result<Registry, InvalidTemplate> {
    let mut registry = Registry::new(Frontend::Node);
    registry.set_info(ApiInfo {
        title: "CCF Public Node API".to_owned(),
        description: "Status of this node, of the network and of the service.".to_owned(),
        version: "5.0.5".to_owned(),
    });
    let shared = Shared { facts: Arc::clone(facts), node: Arc::clone(node) };
    for definition in status::endpoints(&shared)
        .into_iter()
        .chain(network::endpoints(&shared))
        .chain(attestation::endpoints(&shared))
        .chain(consensus::endpoints(&shared))
        .chain(files::endpoints(&shared, directories))
        .chain(absent::endpoints(&shared))
    {
        registry.install(definition)?;
    }
    Ok(registry)
}

/// Answers with a value whose members are declared in the order of the published schema, and sent sorted.
fn respond(
    ctx: &mut ccf_endpoints::EndpointContext<'_>,
    answer: impl serde::Serialize,
) -> Result<(), ErrorResponse> {
    let sorted = serde_json::to_value(answer).map_err(|e| ErrorResponse::internal(e.to_string()))?;
    ctx.respond_json(&sorted)
}

/// An endpoint that answers from this node's own state, without the store.
fn local(
    method: Method,
    path: &str,
    handler: impl Fn(&mut ccf_endpoints::EndpointContext<'_>) -> Result<(), ccf_endpoints::ErrorResponse>
    + Send
    + Sync
    + 'static,
) -> EndpointDefinition {
    EndpointDefinition::command(method, path, handler).forwarding(ForwardingRequired::Never)
}
