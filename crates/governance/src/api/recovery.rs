//! `/recovery`: handing recovery shares out and taking them back (governance 4.3 and 4.4).

use super::{
    Governance, Signer,
    request::{Named, check_signer, id_param, message},
    shown, signed,
};
use crate::{
    node::NodePhase,
    recovery::{SubmitError, Submitted, submit_share},
    tables::{self, base64::Base64, service::ServiceStatus},
};
use ccf_crypto::Zeroizing;
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, json_answer, parse_json};
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

#[derive(serde::Deserialize)]
struct SubmittedShare {
    share: String,
}

fn recover(governance: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let node = governance.node.as_ref();
    let service = context.tx.ro(&tables::SERVICE_INFO).get()?;
    if !service.is_some_and(|s| s.status == ServiceStatus::WaitingForRecoveryShares) {
        let text = "Service is not waiting for recovery shares.";
        return Err(ErrorResponse::new(ErrorCode::ServiceNotWaitingForRecoveryShares, text));
    }
    if node.phase() == NodePhase::ReadingPrivateLedger {
        let text = "Node is already recovering private ledger.";
        return Err(ErrorResponse::new(ErrorCode::NodeAlreadyRecovering, text));
    }
    let id = id_param(context, "memberId", Named::Member)?;
    let message = message(context)?;
    let payload: SubmittedShare = parse_json(&message.content)?;
    check_signer(&message, &id)?;
    let share = Base64::decode(&payload.share)
        .map(|share| Zeroizing::new(share.0))
        .ok_or_else(|| ErrorResponse::internal("Error submitting recovery shares."))?;

    let submitted = match submit_share(node, &context.tx, &message.member_id, &share) {
        Ok(submitted) => submitted,
        Err(error) => {
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!("{error} {reason}");
            // Shares that restore nothing are cleared, and that must last.
            context.set_apply_writes(matches!(error, SubmitError::Restore(_)));
            return Err(ErrorResponse::internal(error.to_string()));
        }
    };
    let Submitted { count, threshold, is_full, restored } = submitted;
    let mut text = match is_full {
        true => "Full recovery key successfully submitted".to_owned(),
        false => format!("{count}/{threshold} recovery shares successfully submitted"),
    };
    if restored {
        text.push_str("\nEnd of recovery procedure initiated");
    }
    context.respond_json(&json!({
        "message": text,
        "submittedCount": count,
        "recoveryThreshold": threshold,
        "fullKeySubmitted": is_full,
    }))
}
