//! Status of this node (node specification, section 13.2).

use super::{Shared, local, redirect, respond, schemas};
use crate::{http::SessionMetrics, interfaces::ServerHandle, node_facts::StartupState, peers::PeerNetwork};
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, Frontend, Method, NodeView, Role,
    openapi::{self, Pem},
};
use ccf_types::NodeId;
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering};

/// The version this node reports; tools read the CCF release whose interfaces it speaks.
pub(crate) const CCF_VERSION: &str = "ccf-7.0.0";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetState__Out")]
struct State {
    #[schemars(with = "openapi::NodeId")]
    node_id: NodeId,
    #[schemars(with = "schemas::NodeStartupState")]
    state: StartupState,
    last_signed_seqno: u64,
    startup_seqno: u64,
    /// Only while the private ledger is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_target_seqno: Option<u64>,
    /// Only while the private ledger is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recovered_seqno: Option<u64>,
    stop_notice: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetVersion__Out")]
struct Version {
    ccf_version: &'static str,
    quickjs_version: &'static str,
    r#unsafe: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SelfSignedNodeCertificateInfo")]
struct SelfSignedCertificate {
    #[schemars(with = "Pem")]
    self_signed_certificate: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeMetrics")]
struct Metrics {
    sessions: Sessions,
    /// Beyond the published schema, which is CCF's.
    #[schemars(skip)]
    node_to_node: NodeToNode,
    /// Certificates of the service, of nodes and of members that end soon or have ended; the log names them.
    #[schemars(skip)]
    certificates_expiring: u64,
}

/// What became of what other nodes sent; not part of CCF's answer.
#[derive(Serialize)]
struct NodeToNode {
    /// Frames that were opened.
    frames_accepted: u64,
    /// Frames that no correct node sends, by reason.
    frames_refused: BTreeMap<&'static str, u64>,
    /// Frames that came in the wrong order, under other keys, or again.
    frames_dropped: u64,
    /// Frames that came before this node was part of a service.
    frames_before_identity: u64,
    /// Connections that were ended because of what came over them.
    connections_refused: u64,
    /// Connections that could not be made.
    dials_failed: u64,
    /// Consensus messages that no correct node sends, by reason.
    messages_refused: BTreeMap<&'static str, u64>,
    /// Consensus messages that were dropped because too many waited.
    messages_dropped: u64,
    /// Messages that were not sent because too much waited for the same node.
    messages_lost: u64,
}

impl NodeToNode {
    fn of(shared: &Shared) -> NodeToNode {
        let peers = shared.facts.peers.get().map(PeerNetwork::counters).unwrap_or_default();
        NodeToNode {
            frames_accepted: peers.frames_accepted,
            frames_refused: peers.refusals,
            frames_dropped: peers.frames_dropped,
            frames_before_identity: peers.frames_before_identity,
            connections_refused: peers.connections_refused,
            dials_failed: peers.dials_failed,
            messages_refused: shared.node.status.refusals.counts(),
            messages_dropped: shared.node.inbox.messages_dropped(),
            messages_lost: peers.messages_lost,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionMetrics")]
struct Sessions {
    active: usize,
    peak: usize,
    interfaces: BTreeMap<String, InterfaceSessions>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionMetrics__PerInterface")]
struct InterfaceSessions {
    active: usize,
    peak: usize,
    soft_cap: usize,
    hard_cap: usize,
    errors: HttpErrors,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionMetrics__Errors")]
struct HttpErrors {
    parsing: u64,
    request_header_too_large: u64,
    request_payload_too_large: u64,
}

impl Metrics {
    fn of(metrics: &SessionMetrics, shared: &Shared) -> Metrics {
        let interfaces = metrics.interfaces.iter().map(|interface| {
            let sessions = InterfaceSessions {
                active: interface.active,
                errors: HttpErrors {
                    parsing: interface.errors_parsing,
                    request_header_too_large: interface.errors_request_header_too_large,
                    request_payload_too_large: interface.errors_request_payload_too_large,
                },
                hard_cap: interface.hard_cap,
                peak: interface.peak,
                soft_cap: interface.soft_cap,
            };
            (interface.name.clone(), sessions)
        });
        let interfaces = interfaces.collect();
        let sessions = Sessions { active: metrics.active, interfaces, peak: metrics.peak };
        Metrics {
            sessions,
            node_to_node: NodeToNode::of(shared),
            certificates_expiring: shared.facts.certificates_expiring.load(Ordering::Acquire),
        }
    }
}

pub(super) fn endpoints(shared: &Shared) -> Vec<EndpointDefinition> {
    let state = shared.clone();
    let certificate = shared.clone();
    let metrics = shared.clone();
    let ready_app = shared.clone();
    let ready_gov = shared.clone();
    let head = shared.clone();
    vec![
        EndpointDefinition::read_only(Method::Get, "/state", move |ctx| {
            // Reading the version of the store gives the answer its transaction ID.
            let _ = ctx.tx.read_tx_id();
            let reading = state.facts.state() == StartupState::ReadingPrivateLedger;
            let progress =
                |seqno: &std::sync::atomic::AtomicU64| reading.then(|| seqno.load(Ordering::Acquire));
            let answer = State {
                node_id: state.facts.node_id.clone(),
                state: state.facts.state(),
                last_signed_seqno: state.node.status.last_signed().0,
                startup_seqno: state.facts.startup_seqno.load(Ordering::Acquire),
                recovery_target_seqno: progress(&state.facts.recovery_target),
                last_recovered_seqno: progress(&state.facts.recovered),
                stop_notice: state.facts.stop_notice(),
            };
            respond(ctx, answer)
        })
        .forwarding(ccf_endpoints::ForwardingRequired::Never)
        .output::<State>()
        .summary("State of this node"),
        local(Method::Get, "/version", |ctx| {
            ctx.respond_json(&Version {
                ccf_version: CCF_VERSION,
                quickjs_version: ccf_js::ENGINE_VERSION,
                r#unsafe: false,
            })
        })
        .output::<Version>()
        .summary("Version of this node"),
        local(Method::Get, "/metrics", move |ctx| {
            match metrics.facts.server.get().and_then(ServerHandle::metrics) {
                Some(sessions) => respond(ctx, Metrics::of(&sessions, &metrics)),
                None => Err(ErrorResponse::internal("The HTTP server is not running.")),
            }
        })
        .output::<Metrics>()
        .summary("Sessions and HTTP errors of this node, and what it refused of other nodes"),
        local(Method::Get, "/self_signed_certificate", move |ctx| {
            let self_signed_certificate = certificate.facts.self_signed_certificate.read().clone();
            ctx.respond_json(&SelfSignedCertificate { self_signed_certificate })
        })
        .output::<SelfSignedCertificate>()
        .summary("The node's self-signed certificate"),
        local(Method::Get, "/ready/app", move |ctx| ready(&ready_app, Frontend::App, ctx))
            .output_as(204, "application/json", None)
            .summary("Whether this node serves the application"),
        local(Method::Get, "/ready/gov", move |ctx| ready(&ready_gov, Frontend::Gov, ctx))
            .output_as(204, "application/json", None)
            .summary("Whether this node serves governance"),
        local(Method::Get, "/primary", |ctx| match ctx.node().role() {
            Role::Primary => Ok(()),
            Role::Backup => Err(ErrorResponse::new(ErrorCode::ResourceNotFound, "Node is not primary")),
        })
        .summary("Whether this node is primary"),
        EndpointDefinition::read_only(Method::Head, "/primary", move |ctx| {
            if ctx.node().role() == Role::Primary {
                return Ok(());
            }
            let primary = head.node.status.term().primary.clone();
            let primary = primary.ok_or_else(|| ErrorResponse::internal("Primary unknown"))?;
            ctx.set_apply_writes(false);
            redirect::to_node(ctx, &primary, "/node/primary")
        })
        .forwarding(ccf_endpoints::ForwardingRequired::Never)
        .summary("Whether this node is primary"),
        local(Method::Get, "/backup", |ctx| match ctx.node().role() {
            Role::Backup => Ok(()),
            Role::Primary => Err(ErrorResponse::new(ErrorCode::ResourceNotFound, "Node is not backup")),
        })
        .summary("Whether this node is a backup"),
    ]
}

fn ready(shared: &Shared, frontend: Frontend, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let state = shared.facts.state();
    let part = match frontend {
        Frontend::Gov => state.is_part_of_network(),
        Frontend::App | Frontend::Node => state == StartupState::PartOfNetwork,
    };
    let ready = !shared.facts.stop_notice() && part && shared.node.is_open(frontend);
    ctx.response.status = if ready { 204 } else { 503 };
    Ok(())
}
