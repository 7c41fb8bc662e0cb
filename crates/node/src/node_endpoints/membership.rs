//! Nodes that join and leave (node specification, sections 9 and 12): `/join`, the marks of completed retirements,
//! removal.

use super::redirect;
use ccf_crypto::cert::Certificate;
use ccf_endpoints::{
    AuthnPolicy, Caller, EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired,
    InvalidTemplate, Method, Registry, Role,
    authn::{AuthnInput, Refusal},
};
use ccf_governance::{
    join::{JoinDecision, Joining, NodeMembership, decide, parse_request},
    retirement::{self, RemovalError},
    tables,
};
use ccf_types::NodeId;
use std::sync::Arc;

/// Adds the endpoints to the `/node` frontend.
///
/// # Errors
/// [`InvalidTemplate`] if a path of ours is no template: a mistake that tests catch.
pub(crate) fn install(
    registry: &mut Registry,
    host: &Arc<dyn NodeMembership>,
) -> Result<(), InvalidTemplate> {
    let with = |handler: fn(&dyn NodeMembership, &mut EndpointContext<'_>) -> Result<(), ErrorResponse>| {
        let host = Arc::clone(host);
        move |context: &mut EndpointContext<'_>| handler(host.as_ref(), context)
    };
    let by_node = || [Arc::new(NodeCert) as Arc<dyn AuthnPolicy>];
    registry.install(
        EndpointDefinition::read_write(Method::Post, "/join", with(join))
            .forwarding(ForwardingRequired::Never)
            .hidden(),
    )?;
    registry.install(
        EndpointDefinition::read_write(
            Method::Post,
            "/network/nodes/set_retired_committed",
            with(set_retired_committed),
        )
        .authn(by_node())
        .hidden(),
    )?;
    registry.install(
        EndpointDefinition::read_write(
            Method::Post,
            "/network/nodes/remove_expired_pending",
            with(remove_expired_pending),
        )
        .authn(by_node())
        .hidden(),
    )
}

/// `DELETE /network/nodes/{node_id}`.
pub(super) fn remove(context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = NodeId::from_text(&context.param("node_id")?);
    match retirement::remove_node(&context.tx, &id) {
        Ok(()) => context.respond_json(&true),
        Err(error) => {
            let code = match error {
                RemovalError::Unknown => ErrorCode::ResourceNotFound,
                RemovalError::NotRetiredCommitted => ErrorCode::NodeNotRetiredCommitted,
                _ => ErrorCode::InternalError,
            };
            Err(ErrorResponse::new(code, error.to_string()))
        }
    }
}

fn join(host: &dyn NodeMembership, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let request = parse_request(context.request().body())?;
    let Some(caller) = context.session().certificate() else {
        return Err(ErrorResponse::internal("A node must present its certificate to join."));
    };
    let certificate = Certificate::from_der(caller.der()).map_err(|error| {
        ErrorResponse::internal(format!("The caller's certificate cannot be read: {error}"))
    })?;
    let is_primary = context.node().role() == Role::Primary;
    let joining = Joining { certificate: &certificate, request, is_primary, now_ms: now_ms(context) };
    match decide(&context.tx, host, joining)? {
        JoinDecision::Answer(answer) => context.respond_json(&answer),
        JoinDecision::AskPrimary => {
            let primary = host.primary().filter(|primary| primary != host.node_id());
            let primary = primary.ok_or_else(|| ErrorResponse::internal("Primary unknown"))?;
            let address = redirect::address_of(context, &primary)?;
            let text = "Node is not primary; cannot handle write";
            Err(ErrorResponse::new(ErrorCode::NodeCannotHandleRequest, text)
                .with_header("location", format!("https://{address}/node/join")))
        }
    }
}

fn set_retired_committed(
    _: &dyn NodeMembership,
    context: &mut EndpointContext<'_>,
) -> Result<(), ErrorResponse> {
    retirement::set_retired_committed(&context.tx)?;
    Ok(())
}

fn remove_expired_pending(
    host: &dyn NodeMembership,
    context: &mut EndpointContext<'_>,
) -> Result<(), ErrorResponse> {
    let is_own =
        matches!(context.caller(), Some(Caller::Custom(_, id)) if id.downcast_ref() == Some(host.node_id()));
    if !is_own {
        let text = "Only the node itself can call this endpoint.";
        return Err(ErrorResponse::new(ErrorCode::InvalidAuthenticationInfo, text));
    }
    let now = now_ms(context);
    retirement::remove_expired_pending(&context.tx, now, host.pending_node_timeout_ms())?;
    Ok(())
}

fn now_ms(context: &EndpointContext<'_>) -> u64 {
    context.now().saturating_mul(1000)
}

/// A node of the network, by the key of its certificate.
pub(super) struct NodeCert;

impl AuthnPolicy for NodeCert {
    fn name(&self) -> &str {
        "node_cert"
    }

    fn authenticate(&self, input: &AuthnInput<'_>) -> Result<Caller, Refusal> {
        let Some(certificate) = input.session.certificate() else {
            return Err("No caller certificate".into());
        };
        let id = Certificate::from_der(certificate.der())
            .ok()
            .and_then(|certificate| Some(certificate.public_key().ok()?.node_id()));
        match id {
            Some(id) if input.tx.ro(&tables::NODES).has(&id)? => {
                Ok(Caller::Custom(self.name().into(), Arc::new(id)))
            }
            _ => Err("Could not find matching node certificate".into()),
        }
    }
}

#[cfg(test)]
mod tests;
