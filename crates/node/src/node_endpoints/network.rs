//! The network and the service (node specification, section 13.3).

use super::{Shared, local, respond, schemas};
use crate::{config::RpcInterface, node_facts::NodeFacts};
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, Method,
    openapi::{self, Pem, TransactionId},
};
use ccf_governance::{
    retirement,
    tables::{
        self,
        node::{NetInterface, NodeInfo, NodeStatus},
        service::ServiceStatus,
    },
};
use ccf_kv::Tx;
use ccf_types::{NodeId, TxId, View};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, ops::ControlFlow};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNetworkInfo__Out")]
struct Network {
    service_status: ServiceStatus,
    #[schemars(with = "Pem")]
    service_certificate: String,
    #[schemars(with = "u64")]
    current_view: Option<View>,
    #[schemars(with = "openapi::NodeId")]
    primary_id: Option<NodeId>,
    recovery_count: u64,
    service_data: Value,
    #[schemars(with = "TransactionId")]
    current_service_create_txid: Option<TxId>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNodes__Out")]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNode__NodeInfo")]
struct Node {
    #[schemars(with = "openapi::NodeId")]
    node_id: NodeId,
    status: NodeStatus,
    primary: bool,
    #[schemars(with = "BTreeMap<String, RpcInterface>")]
    rpc_interfaces: BTreeMap<String, NetInterface>,
    node_data: Value,
    last_written: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetServicePreviousIdentity__Out")]
struct PreviousIdentity {
    #[schemars(with = "Pem")]
    previous_service_identity: String,
}

impl Node {
    fn of(tx: &Tx, id: NodeId, info: NodeInfo, primary: Option<&NodeId>) -> Result<Node, ErrorResponse> {
        let last_written = tx.ro(&tables::NODES).version_of_previous_write(&id)?.map_or(0, |seqno| seqno.0);
        Ok(Node {
            last_written,
            node_data: info.node_data.unwrap_or(Value::Null),
            primary: primary == Some(&id),
            node_id: id,
            rpc_interfaces: info.rpc_interfaces,
            status: info.status,
        })
    }

    /// This node before it stands in the ledger.
    fn from_facts(facts: &NodeFacts) -> Node {
        Node {
            last_written: 0,
            node_data: facts.node_data.clone().unwrap_or(Value::Null),
            node_id: facts.node_id.clone(),
            primary: false,
            rpc_interfaces: facts.rpc_interfaces.clone(),
            status: NodeStatus::Pending,
        }
    }
}

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let with = |handler: fn(&Shared, &mut EndpointContext<'_>) -> Result<(), ErrorResponse>| {
        let shared = shared.clone();
        move |ctx: &mut EndpointContext<'_>| handler(&shared, ctx)
    };
    vec![
        EndpointDefinition::read_only(Method::Get, "/network", with(network))
            .output::<Network>()
            .summary("The service and its primary"),
        EndpointDefinition::read_only(Method::Get, "/network/nodes", with(nodes))
            .query::<String>("host", false)
            .query::<String>("port", false)
            .query::<String>("status", false)
            .output::<Nodes>()
            .summary("Nodes of the network, filtered by published address and status"),
        EndpointDefinition::read_only(Method::Get, "/network/nodes/{node_id}", with(one_node))
            .output::<Node>()
            .summary("One node of the network"),
        EndpointDefinition::read_only(Method::Get, "/network/nodes/self", with(own_node))
            .forwarding(ForwardingRequired::Never)
            .output::<Node>()
            .summary("This node"),
        EndpointDefinition::read_only(Method::Get, "/network/nodes/primary", with(primary_node))
            .output::<Node>()
            .summary("The primary"),
        EndpointDefinition::read_only(Method::Get, "/network/removable_nodes", with(removable))
            .output::<Nodes>()
            .summary("Retired nodes that can be removed"),
        EndpointDefinition::read_only(Method::Get, "/service/previous_identity", |ctx| {
            match ctx.tx.ro(&tables::PREVIOUS_SERVICE_IDENTITY).get()? {
                Some(previous_service_identity) => {
                    ctx.respond_json(&PreviousIdentity { previous_service_identity })
                }
                None => Err(not_found("This service is not a recovery of a previous service.")),
            }
        })
        .output::<PreviousIdentity>()
        .summary("The service certificate before the last recovery"),
        EndpointDefinition::read_only(Method::Get, "/service/configuration", |ctx| {
            match ctx.tx.ro(&tables::SERVICE_CONFIG).get()? {
                Some(configuration) => ctx.respond_json(&configuration),
                None => Err(not_found("Service state not available.")),
            }
        })
        .forwarding(ForwardingRequired::Never)
        .output::<schemas::ServiceConfiguration>()
        .summary("The service's configuration"),
        local(Method::Post, "/create", |_| {
            Err(ErrorResponse::with_status(403, ErrorCode::InternalError, "Node is not in initial state."))
        })
        .hidden(),
    ]
}

fn not_found(message: &str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ResourceNotFound, message)
}

fn network(shared: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let Some(info) = ctx.tx.ro(&tables::SERVICE_INFO).get()? else {
        return Err(not_found("Service state not available."));
    };
    let term = shared.node.status.term();
    respond(
        ctx,
        Network {
            current_service_create_txid: info.current_service_create_txid,
            current_view: Some(term.view),
            primary_id: term.primary.clone(),
            recovery_count: info.recovery_count.unwrap_or(0),
            service_certificate: info.cert,
            service_data: info.service_data.unwrap_or(Value::Null),
            service_status: info.status,
        },
    )
}

fn nodes(shared: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let query = ctx.request().query();
    let text = |name: &str| query.get(name).map(str::to_owned);
    let (host, port) = (text("host"), text("port"));
    let status = match text("status").as_deref() {
        None => None,
        Some("Pending") => Some(NodeStatus::Pending),
        Some("Trusted") => Some(NodeStatus::Trusted),
        Some("Retired") => Some(NodeStatus::Retired),
        Some(other) => {
            let message = format!("Query parameter '{other}' is not a valid node status");
            return Err(ErrorResponse::new(ErrorCode::InvalidQueryParameterValue, message));
        }
    };
    let term = shared.node.status.term();
    let mut rows = Vec::new();
    ctx.tx.ro(&tables::NODES).for_each(|id, info| {
        rows.push((id, info));
        ControlFlow::<()>::Continue(())
    })?;
    let matches = |interface: &NetInterface| {
        let (own_host, own_port) =
            interface.published().rsplit_once(':').unwrap_or((interface.published(), ""));
        host.as_deref().is_none_or(|host| host == own_host)
            && port.as_deref().is_none_or(|port| port == own_port)
    };
    let mut nodes = Vec::new();
    for (id, info) in rows {
        if status.is_none_or(|status| status == info.status) && info.rpc_interfaces.values().any(matches) {
            nodes.push(Node::of(&ctx.tx, id, info, term.primary.as_ref())?);
        }
    }
    respond(ctx, Nodes { nodes })
}

fn one_node(shared: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = NodeId::from_text(&ctx.param("node_id")?);
    respond_with_node(shared, ctx, id)
}

fn respond_with_node(
    shared: &Shared,
    ctx: &mut EndpointContext<'_>,
    id: NodeId,
) -> Result<(), ErrorResponse> {
    match ctx.tx.ro(&tables::NODES).get(&id)? {
        Some(info) => {
            let node = Node::of(&ctx.tx, id, info, shared.node.status.term().primary.as_ref())?;
            respond(ctx, node)
        }
        None => Err(not_found("Node not found")),
    }
}

fn own_node(shared: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = shared.facts.node_id.clone();
    if ctx.tx.ro(&tables::NODES).has(&id)? {
        return respond_with_node(shared, ctx, id);
    }
    respond(ctx, Node::from_facts(&shared.facts))
}

fn primary_node(shared: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    match shared.node.status.term().primary.clone() {
        Some(primary) => respond_with_node(shared, ctx, primary),
        None => Err(ErrorResponse::internal("Primary unknown")),
    }
}

fn removable(_: &Shared, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let rows = retirement::removable_nodes(&ctx.tx)?;
    let nodes =
        rows.into_iter().map(|(id, info)| Node::of(&ctx.tx, id, info, None)).collect::<Result<_, _>>()?;
    respond(ctx, Nodes { nodes })
}
