//! `/members/state-digests`: handing out the digest of the state, and its acknowledgement (governance 4.1, 6.1).

use super::{
    Governance, Signer,
    request::{check_signer, message, raw_param},
    shown, signed,
};
use crate::{
    effects::Effects,
    service::{self, ServiceError},
    tables::{
        self,
        base64::Base64,
        member::{Ack, MemberStatus},
        service::ServiceStatus,
    },
};
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, json_answer, parse_json};
use ccf_kv::Tx;
use ccf_ledger::merkle::TreeBlob;
use ccf_types::{Digest, MemberId};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn endpoints(governance: &Arc<Governance>) -> Vec<EndpointDefinition> {
    vec![
        shown("/members/state-digests/{memberId}", json_answer(show)),
        signed(
            "/members/state-digests/{memberId}:update",
            Signer::Member,
            "state_digest",
            governance,
            update,
        ),
        signed("/members/state-digests/{memberId}:ack", Signer::Member, "ack", governance, acknowledge),
    ]
}

fn show(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = raw_param(context, "memberId")?;
    let ack = context.tx.ro(&tables::MEMBER_ACKS).get(&MemberId::from_text(&id))?;
    let Some(ack) = ack else {
        let text = format!("No ACK record exists for member m[{id}].");
        return Err(ErrorResponse::new(ErrorCode::ResourceNotFound, text));
    };
    Ok(json!({"memberId": id, "stateDigest": ack.state_digest}))
}

fn update(_: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let message = message(context)?;
    check_signer(&message, &raw_param(context, "memberId")?)?;
    let root = last_signed_root(&context.tx)?;
    let acks = context.tx.rw(&tables::MEMBER_ACKS);
    let mut ack = acks.get(&message.member_id)?.unwrap_or_default();
    ack.state_digest = root.to_string();
    acks.put(&message.member_id, &ack)?;
    context.respond_json(&json!({"memberId": message.member_id, "stateDigest": ack.state_digest}))
}

/// The root of the tree at the latest signature.
fn last_signed_root(tx: &Tx) -> Result<Digest, ErrorResponse> {
    let blob = tx.ro(&tables::TREE).get()?;
    let blob = blob
        .ok_or_else(|| ErrorResponse::internal("Service has no signatures to ack yet - try again soon."))?;
    let tree = TreeBlob::parse(&blob).map_err(|e| ErrorResponse::internal(e.to_string()))?;
    Ok(tree.to_tree().root())
}

fn acknowledge(governance: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        state_digest: String,
    }
    let message = message(context)?;
    check_signer(&message, &raw_param(context, "memberId")?)?;
    let member = &message.member_id;
    let acks = context.tx.rw(&tables::MEMBER_ACKS);
    let Some(ack) = acks.get(member)? else {
        let text = format!("No ACK record exists for member m[{member}].");
        return Err(ErrorResponse::new(ErrorCode::AuthorizationFailed, text));
    };
    let payload: Payload = parse_json(&message.content)?;
    if payload.state_digest != ack.state_digest {
        let text = format!(
            "Submitted state digest is not valid.\nExpected\n {}\nReceived\n {}",
            ack.state_digest, payload.state_digest
        );
        return Err(ErrorResponse::new(ErrorCode::StateDigestMismatch, text));
    }
    let envelope = Base64(message.envelope.to_vec());
    acks.put(member, &Ack { cose_sign1_req: Some(envelope), signed_req: None, ..ack })?;
    let effects = Effects::new(&governance.node, &governance.scripts, context.now());
    activate(&effects, &context.tx, member)
        .map_err(|error| ErrorResponse::internal(format!("Error activating member m[{member}]: {error}")))?;
    context.response.status = 204;
    Ok(())
}

/// Makes a member active. One that holds an encryption key gets its share at once if the service is open.
fn activate(effects: &Effects<'_>, tx: &Tx, member: &MemberId) -> Result<(), ServiceError> {
    let members = tx.rw(&tables::MEMBER_INFO);
    let mut info = members.get(member)?.ok_or(ServiceError::NoSuchMember)?;
    let newly_active = info.status != MemberStatus::Active;
    info.status = MemberStatus::Active;
    members.put(member, &info)?;
    let is_open = tx.ro(&tables::SERVICE_INFO).get()?.is_some_and(|s| s.status == ServiceStatus::Open);
    if newly_active && is_open && tx.ro(&tables::MEMBER_ENCRYPTION_KEYS).has(member)? {
        service::refresh_shares(effects.node(), tx)?;
    }
    Ok(())
}
