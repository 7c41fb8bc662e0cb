//! Details of replication (node specification, section 13.4).

use super::{Shared, local, schemas};
use ccf_consensus::{Configuration, Nodes, Status};
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, Method, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let details = shared.clone();
    let config = shared.clone();
    vec![
        local(Method::Get, "/consensus", move |ctx| {
            respond(ctx, &details, |status| json!({"details": shown(status)}))
        })
        .output::<schemas::ConsensusConfigDetails>()
        .summary("Details of replication"),
        local(Method::Get, "/config", move |ctx| {
            respond(ctx, &config, |status| {
                let latest = status.configurations.newest().map(|newest| addresses(&newest.nodes));
                latest.unwrap_or_default().into()
            })
        })
        .output::<BTreeMap<String, schemas::ConsensusNodeConfig>>()
        .summary("Addresses of the latest configuration"),
    ]
}

/// Answers with what is shown of the status, once the replicator has said it.
fn respond(
    ctx: &mut EndpointContext<'_>,
    shared: &Shared,
    show: fn(&Status) -> Value,
) -> Result<(), ErrorResponse> {
    let unconfigured = || ErrorResponse::new(ErrorCode::ResourceNotFound, "No configured consensus");
    if !shared.facts.state().is_part_of_network() {
        return Err(unconfigured());
    }
    let status = shared.node.inbox.consensus_status();
    ctx.respond_later(async move {
        match status.await {
            Some(status) => Response::with_body(200, "application/json", show(&status).to_string()),
            None => unconfigured().into_response(),
        }
    });
    Ok(())
}

fn addresses(nodes: &Nodes) -> Map<String, Value> {
    nodes.iter().map(|(id, address)| (id.as_str().to_owned(), json!({"address": &**address}))).collect()
}

fn configuration(it: &Configuration) -> Value {
    json!({"idx": it.seqno, "nodes": addresses(&it.nodes), "rid": it.seqno})
}

fn shown(status: &Status) -> Value {
    let acks: Map<String, Value> = status
        .peers
        .iter()
        .map(|(id, peer)| {
            let ack = json!({"seqno": peer.matched, "last_received_ms": peer.silent_ms});
            (id.as_str().to_owned(), ack)
        })
        .collect();
    let mut details = json!({
        "acks": acks,
        "configs": status.configurations.iter().map(configuration).collect::<Vec<_>>(),
        "current_view": status.view,
        "leadership_state": status.leadership.as_str(),
        "membership_state": if status.retirement_phase.is_some() { "Retired" } else { "Active" },
        "primary_id": status.primary,
        "ticking": status.ticking,
    });
    if let Some(phase) = status.retirement_phase {
        details["retirement_phase"] = phase.as_str().into();
    }
    details
}
