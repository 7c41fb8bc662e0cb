//! `/members/proposals`: making, voting on and reading proposals (governance 4.2).

use super::{
    Governance, Signer,
    request::{Named, check_proposal, id_param, message},
    shown, signed,
};
use crate::{
    effects::Effects,
    proposals::{self, Proposal},
    tables::{self, proposal::ProposalInfo},
};
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, json_answer};
use ccf_types::MemberId;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn endpoints(governance: &Arc<Governance>) -> Vec<EndpointDefinition> {
    const BALLOT: &str = "/members/proposals/{proposalId}/ballots/{memberId}";
    let active = Signer::ActiveMember;
    vec![
        signed("/members/proposals:create", active, "proposal", governance, create),
        signed("/members/proposals/{proposalId}:withdraw", active, "withdrawal", governance, withdraw),
        shown("/members/proposals/{proposalId}", json_answer(show)),
        shown("/members/proposals", json_answer(list)),
        shown("/members/proposals/{proposalId}/actions", show_actions),
        signed(&format!("{BALLOT}:submit"), active, "ballot", governance, submit),
        shown(BALLOT, show_ballot),
    ]
}

fn create(governance: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let message = message(context)?;
    let root = governance.node.root_at(context.tx.read_tx_id());
    let root = root.ok_or_else(|| ErrorResponse::internal("Service has no root of the Merkle tree yet."))?;
    let effects = Effects::new(&governance.node, &governance.scripts, context.now());
    let proposal = proposals::create(&effects, &context.tx, &message, &root)?;
    effects.carry_out_on_commit(context);
    context.respond_json(&object(&proposal.id, &proposal.info))
}

fn submit(governance: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let message = message(context)?;
    let id = id_param(context, "proposalId", Named::Proposal)?;
    let member = id_param(context, "memberId", Named::Member)?;
    check_proposal(&message, &id)?;
    if message.member_id.as_str() != member {
        let text = "Authenticated member id does not match URL";
        return Err(ErrorResponse::new(ErrorCode::InvalidResourceName, text));
    }
    let effects = Effects::new(&governance.node, &governance.scripts, context.now());
    let proposal = proposals::submit_ballot(&effects, &context.tx, &message, &id)?;
    effects.carry_out_on_commit(context);
    context.respond_json(&object(&proposal.id, &proposal.info))
}

fn withdraw(_: &Governance, context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let message = message(context)?;
    let id = id_param(context, "proposalId", Named::Proposal)?;
    check_proposal(&message, &id)?;
    match proposals::withdraw(&context.tx, &message, &id)? {
        Some(Proposal { id, info }) => context.respond_json(&object(&id, &info)),
        None => {
            context.response.status = 204;
            Ok(())
        }
    }
}

fn show(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let id = id_param(context, "proposalId", Named::Proposal)?;
    Ok(object(&id, &proposals::find(&context.tx, &id)?))
}

fn list(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let rows = context.tx.ro(&tables::PROPOSALS_INFO).entries()?;
    let all: Vec<Value> = rows.iter().map(|(id, info)| object(id, info)).collect();
    Ok(json!({"value": all}))
}

fn show_actions(context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = id_param(context, "proposalId", Named::Proposal)?;
    let proposal = context.tx.ro(&tables::PROPOSALS).get(&id)?.ok_or_else(|| proposals::not_found(&id))?;
    context.response.set_body("application/json", proposal.to_vec());
    Ok(())
}

fn show_ballot(context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let id = id_param(context, "proposalId", Named::Proposal)?;
    let member = id_param(context, "memberId", Named::Member)?;
    let mut info = proposals::find(&context.tx, &id)?;
    let Some(ballot) = info.ballots.remove(&MemberId::from_text(&member)) else {
        let text = format!("Member m[{member}] has not voted for proposal {id}.");
        return Err(ErrorResponse::new(ErrorCode::VoteNotFound, text));
    };
    context.response.set_body("text/javascript", ballot);
    Ok(())
}

/// A proposal as clients see it.
fn object(id: &str, info: &ProposalInfo) -> Value {
    let submitters: Vec<&MemberId> = info.ballots.keys().collect();
    let mut object = json!({
        "proposalId": id,
        "proposerId": info.proposer_id,
        "proposalState": info.state,
        "ballotCount": info.ballots.len(),
        "ballotSubmitters": submitters,
    });
    if let Some(votes) = &info.final_votes {
        object["finalVotes"] = json!(votes);
    }
    if let Some(failures) = &info.vote_failures {
        object["voteFailures"] = json!(failures);
    }
    if let Some(failure) = &info.failure {
        object["failure"] = json!(failure);
    }
    object
}
