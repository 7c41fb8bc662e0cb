//! Proposals, ballots and their resolution (governance 6). Pure functions of a transaction: the `/gov` endpoints
//! check who calls and show the results.

mod decide;
mod id;

pub use id::proposal_id;

use crate::{
    constitution::Constitution,
    effects::Effects,
    tables::{
        self,
        base64::Base64,
        proposal::{ProposalInfo, ProposalState},
    },
};
use ccf_endpoints::{ErrorCode, ErrorResponse, authn::MemberCose, parse_json};
use ccf_kv::{KvError, Tx};
use ccf_types::Digest;

/// A proposal as the endpoints show it.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// Its identity.
    pub(crate) id: String,
    /// Everything else.
    pub(crate) info: ProposalInfo,
}

/// Makes a proposal: validates it, stores it and resolves it, without any vote.
///
/// `root` is the Merkle root over the state that `tx` reads.
///
/// # Errors
/// What the endpoint answers; then the transaction must be dropped.
pub(crate) fn create(
    effects: &Effects<'_>,
    tx: &Tx,
    request: &MemberCose,
    root: &Digest,
) -> Result<Proposal, ErrorResponse> {
    let id = proposal_id(root, &request.signature);
    let constitution = Constitution::load(effects.scripts(), tx)?;
    let text = String::from_utf8_lossy(&request.content);
    constitution.validate(tx, &text)?;

    let proposals = tx.rw(&tables::PROPOSALS);
    if proposals.has(&id)? {
        return Err(ErrorResponse::internal("Proposal ID collision."));
    }
    proposals.put(&id, &request.content.as_ref().into())?;
    let info = ProposalInfo::open(request.member_id.clone());
    tx.rw(&tables::PROPOSALS_INFO).put(&id, &info)?;
    record(tx, request)?;
    id::enter_window(tx, request.header.created_at, &request.signature, &id)?;
    let info = decide::resolve(effects, tx, &constitution, &id, &text, info)?;
    Ok(Proposal { id, info })
}

/// Adds the caller's ballot and resolves the proposal. The same ballot again changes nothing.
///
/// # Errors
/// What the endpoint answers; then the transaction must be dropped.
pub(crate) fn submit_ballot(
    effects: &Effects<'_>,
    tx: &Tx,
    request: &MemberCose,
    id: &str,
) -> Result<Proposal, ErrorResponse> {
    let id = id.to_owned();
    let member = &request.member_id;
    let mut info = find(tx, &id)?;
    if info.state != ProposalState::Open {
        let text = format!(
            "Proposal {id} is currently in state {} - only open proposals can receive votes",
            info.state.lower_case()
        );
        return Err(ErrorResponse::new(ErrorCode::ProposalNotOpen, text));
    }
    let proposal = tx.ro(&tables::PROPOSALS).get(&id)?.ok_or_else(|| not_found(&id))?;
    let ballot = ballot_of(&request.content)?;
    let constitution = Constitution::load(effects.scripts(), tx)?;
    match info.ballots.get(member) {
        Some(earlier) if *earlier == ballot => return Ok(Proposal { id, info }),
        Some(_) => {
            let text = format!("Different ballot already submitted by m[{member}] for {id}.");
            return Err(ErrorResponse::new(ErrorCode::VoteAlreadyExists, text));
        }
        None => info.ballots.insert(member.clone(), ballot),
    };
    record(tx, request)?;
    let text = String::from_utf8_lossy(&proposal);
    let info = decide::resolve(effects, tx, &constitution, &id, &text, info)?;
    Ok(Proposal { id, info })
}

/// Takes a proposal back. `None`: there is no such proposal.
///
/// # Errors
/// What the endpoint answers; then the transaction must be dropped.
pub(crate) fn withdraw(tx: &Tx, request: &MemberCose, id: &str) -> Result<Option<Proposal>, ErrorResponse> {
    let id = id.to_owned();
    let caller = &request.member_id;
    let Some(mut info) = tx.ro(&tables::PROPOSALS_INFO).get(&id)? else { return Ok(None) };
    if info.proposer_id != *caller {
        let text = format!(
            "Proposal {id} can only be withdrawn by proposer m[{}], not caller m[{caller}].",
            info.proposer_id
        );
        return Err(ErrorResponse::new(ErrorCode::AuthorizationFailed, text));
    }
    match info.state {
        ProposalState::Withdrawn => {}
        ProposalState::Open => {
            info.state = ProposalState::Withdrawn;
            tx.rw(&tables::PROPOSALS_INFO).put(&id, &info)?;
            decide::forget_decided(tx, &id)?;
            record(tx, request)?;
        }
        state => {
            let text = format!(
                "Proposal {id} is currently in state {} and cannot be withdrawn.",
                state.lower_case()
            );
            return Err(ErrorResponse::new(ErrorCode::ProposalNotOpen, text));
        }
    }
    Ok(Some(Proposal { id, info }))
}

/// The stored state of a proposal.
///
/// # Errors
/// 404 `ProposalNotFound`.
pub(crate) fn find(tx: &Tx, id: &str) -> Result<ProposalInfo, ErrorResponse> {
    tx.ro(&tables::PROPOSALS_INFO).get(&id.to_owned())?.ok_or_else(|| not_found(id))
}

/// 404 `ProposalNotFound`.
#[must_use]
pub(crate) fn not_found(id: &str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ProposalNotFound, format!("Could not find proposal {id}."))
}

/// Keeps the signed request for the audit of the ledger (governance 5.3).
fn record(tx: &Tx, request: &MemberCose) -> Result<(), KvError> {
    tx.rw(&tables::COSE_HISTORY).put(&request.member_id, &Base64(request.envelope.to_vec()))
}

fn ballot_of(payload: &[u8]) -> Result<String, ErrorResponse> {
    #[derive(serde::Deserialize)]
    struct Payload {
        ballot: serde_json::Value,
    }
    let payload: Payload = parse_json(payload)?;
    match payload.ballot {
        serde_json::Value::String(ballot) => Ok(ballot),
        _ => Err(ErrorResponse::invalid_input(
            "Signed request body is not a JSON object containing string field \"ballot\"",
        )),
    }
}
