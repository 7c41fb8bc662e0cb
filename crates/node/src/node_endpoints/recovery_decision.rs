//! Messages of the recovery decision protocol (node specification, section 11.7): between nodes that recover one service
//! at the same time. They are hidden, and a node that takes no part in a decision refuses them all.

use super::membership::NodeCert;
use crate::recovery_decision::{Decision, DecisionSlot};
use ccf_crypto::cert::Certificate;
use ccf_endpoints::{
    AuthnPolicy, Caller, EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired,
    InvalidTemplate, Method, Registry, Role, TX_ID_HEADER,
};
use ccf_governance::decision::{
    Outcome,
    message::{Message, PATH},
    not_deciding,
};
use ccf_types::NodeId;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Adds the endpoints to the `/node` frontend.
///
/// # Errors
/// [`InvalidTemplate`] if a path of ours is no template: a mistake that tests catch.
pub(crate) fn install(registry: &mut Registry, slot: &DecisionSlot) -> Result<(), InvalidTemplate> {
    let endpoint =
        |name: &str, handler: fn(&mut EndpointContext<'_>, &Arc<Decision>) -> Result<(), ErrorResponse>| {
            let slot = Arc::clone(slot);
            let handler = move |context: &mut EndpointContext<'_>| {
                let is_primary = context.node().role() == Role::Primary;
                let decision = slot.get().filter(|_| is_primary).ok_or_else(not_deciding)?;
                handler(context, decision)
            };
            EndpointDefinition::read_write(Method::Put, &format!("{PATH}/{name}"), handler)
                .forwarding(ForwardingRequired::Never)
                .hidden()
        };
    registry.install(endpoint("gossip", |context, decision| receive(context, decision, Message::Gossip)))?;
    registry.install(endpoint("vote", |context, decision| receive(context, decision, Message::Vote)))?;
    registry
        .install(endpoint("iamopen", |context, decision| receive(context, decision, Message::IAmOpen)))?;
    let by_node = [Arc::new(NodeCert) as Arc<dyn AuthnPolicy>];
    registry.install(endpoint("timeout", timeout).authn(by_node))
}

fn receive<M: DeserializeOwned>(
    context: &mut EndpointContext<'_>,
    decision: &Arc<Decision>,
    message: fn(M) -> Message,
) -> Result<(), ErrorResponse> {
    let message = message(serde_json::from_slice(context.request().body())?);
    let Some(caller) = context.session().certificate() else {
        let text = "A node must present its certificate to take part in a recovery decision.";
        return Err(ErrorResponse::new(ErrorCode::InvalidAuthenticationInfo, text));
    };
    let certificate = Certificate::from_der(caller.der()).map_err(|error| {
        ErrorResponse::invalid_input(format!("The caller's certificate cannot be read: {error}"))
    })?;
    let now = context.now();
    if let Outcome::Join(instead) = decision.receive(&context.tx, &message, &certificate, now)? {
        let decision = Arc::clone(decision);
        context.on_local_commit(move |response, tx_id| {
            decision.join_instead(instead);
            response.headers.set(TX_ID_HEADER, tx_id);
            Ok(())
        });
    }
    Ok(())
}

fn timeout(context: &mut EndpointContext<'_>, decision: &Arc<Decision>) -> Result<(), ErrorResponse> {
    let caller = match context.caller() {
        Some(Caller::Custom(_, id)) => id.downcast_ref::<NodeId>(),
        _ => None,
    };
    if !caller.is_some_and(|id| decision.is_of(id)) {
        let text = "Only the node itself can call this endpoint.";
        return Err(ErrorResponse::new(ErrorCode::InvalidAuthenticationInfo, text));
    }
    decision.tick(&context.tx, context.now())?;
    Ok(())
}
