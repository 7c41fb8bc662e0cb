//! Details of replication (node specification, section 13.4).

use super::{Shared, local, schemas};
use ccf_endpoints::{EndpointDefinition, Method, Role};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let details = shared.clone();
    let config = shared.clone();
    vec![
        local(Method::Get, "/consensus", move |ctx| {
            let term = details.node.status.term();
            // A one-node network: its only configuration is that of the first transaction.
            let answer = json!({"details": {
                "acks": {},
                "configs": [{"idx": 1, "nodes": own_address(&details), "rid": 1}],
                "current_view": term.view,
                "leadership_state": match ctx.node().role() { Role::Primary => "Leader", Role::Backup => "Follower" },
                "membership_state": "Active",
                "primary_id": term.primary,
                "ticking": true,
            }});
            ctx.respond_json(&answer)
        })
        .output::<schemas::ConsensusConfigDetails>()
        .summary("Details of replication"),
        local(Method::Get, "/config", move |ctx| ctx.respond_json(&own_address(&config)))
            .output::<BTreeMap<String, schemas::ConsensusNodeConfig>>()
            .summary("Addresses of the latest configuration"),
    ]
}

fn own_address(shared: &Shared) -> Value {
    let address = shared.facts.node_to_node_interface.published();
    json!({shared.facts.node_id.as_str(): {"address": address}})
}
