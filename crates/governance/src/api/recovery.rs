//! `/recovery`: handing recovery shares out and taking them back (governance 4.3 and 4.4).

use super::{
    Governance, Signer,
    request::{Named, id_param},
    shown, signed,
};
use crate::tables::{self, service::ServiceStatus};
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, json_answer};
use ccf_types::MemberId;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn endpoints(governance: &Arc<Governance>) -> Vec<EndpointDefinition> {
    vec![
        shown("/recovery/encrypted-shares/{memberId}", json_answer(encrypted_share)),
        signed(
            "/recovery/members/{memberId}:recover",
            Signer::ActiveMember,
            "recovery_share",
            governance,
            recover,
        ),
    ]
}

fn encrypted_share(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = id_param(context, "memberId", Named::Member)?;
    let shares = context.tx.ro(&tables::RECOVERY_SHARES).get()?;
    let shares =
        shares.ok_or_else(|| ErrorResponse::internal("Failed to retrieve current recovery shares info"))?;
    match shares.encrypted_shares.get(&MemberId::from_text(&id)) {
        Some(share) => Ok(json!({"memberId": id, "encryptedShare": share})),
        None => {
            let text = format!("Recovery share not found for member m[{id}].");
            Err(ErrorResponse::new(ErrorCode::ResourceNotFound, text))
        }
    }
}

fn recover(_: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let service = context.tx.ro(&tables::SERVICE_INFO).get()?;
    if !service.is_some_and(|s| s.status == ServiceStatus::WaitingForRecoveryShares) {
        let text = "Service is not waiting for recovery shares.";
        return Err(ErrorResponse::new(ErrorCode::ServiceNotWaitingForRecoveryShares, text));
    }
    // A service comes to that status by disaster recovery only, which no node of this release can start.
    Err(ErrorResponse::internal("This node cannot recover a service."))
}
