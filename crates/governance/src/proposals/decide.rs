//! Resolving a proposal: votes, the constitution's decision, and its application (governance 6.6).

use crate::{
    constitution::Constitution,
    effects::Effects,
    tables::{
        self,
        proposal::{Failure, ProposalInfo, ProposalState},
    },
};
use ccf_endpoints::ErrorResponse;
use ccf_js::Ballot;
use ccf_kv::{KvError, Tx};
use ccf_types::MemberId;
use std::collections::BTreeMap;

/// Runs all ballots and the constitution, stores the outcome in the proposal's row and applies an accepted proposal.
///
/// `info` holds the new ballot; the store still holds the row without it, which is what the scripts see.
///
/// # Errors
/// 500 when a script fails, other than a vote that throws; then nothing may be kept.
pub(super) fn resolve(
    effects: &Effects<'_>,
    tx: &Tx,
    constitution: &Constitution<'_>,
    id: &str,
    proposal: &str,
    mut info: ProposalInfo,
) -> Result<ProposalInfo, ErrorResponse> {
    let mut votes: BTreeMap<MemberId, bool> = BTreeMap::new();
    let mut failures: BTreeMap<MemberId, Failure> = BTreeMap::new();
    for (member, source) in &info.ballots {
        let ballot = Ballot {
            source,
            member_id: member.as_str(),
            proposal_id: id,
            proposal,
            proposer_id: info.proposer_id.as_str(),
        };
        match constitution.vote(tx, &ballot)? {
            Ok(vote) => drop(votes.insert(member.clone(), vote)),
            Err(failure) => drop(failures.insert(member.clone(), failure)),
        }
    }
    let word = constitution
        .resolve(tx, proposal, &info.proposer_id, &votes, id)?
        .map_err(|failure| failed("resolve", &failure))?;
    info.state = state_of(&word).ok_or_else(|| {
        let reason = format!("constitution returned invalid value for resolve(): \"{word}\"");
        failed("resolve", &Failure { reason, trace: None })
    })?;
    let id = id.to_owned();
    if info.state != ProposalState::Open {
        forget_decided(tx, &id)?;
        info.final_votes = Some(votes);
        info.vote_failures = Some(failures);
    }
    tx.rw(&tables::PROPOSALS_INFO).put(&id, &info)?;
    if info.state == ProposalState::Accepted {
        constitution.apply(effects, tx, proposal, &id)?.map_err(|failure| failed("apply", &failure))?;
    }
    Ok(info)
}

/// Removes every other proposal that is not open any more (governance 6.6, step 4a).
pub(super) fn forget_decided(tx: &Tx, except: &str) -> Result<(), KvError> {
    let rows = tx.rw(&tables::PROPOSALS_INFO);
    for (id, info) in rows.entries()? {
        if id != except && info.state != ProposalState::Open {
            rows.remove(&id)?;
            tx.rw(&tables::PROPOSALS).remove(&id)?;
        }
    }
    Ok(())
}

/// The words a constitution may decide with.
fn state_of(word: &str) -> Option<ProposalState> {
    match word {
        "Open" => Some(ProposalState::Open),
        "Accepted" => Some(ProposalState::Accepted),
        "Rejected" => Some(ProposalState::Rejected),
        _ => None,
    }
}

fn failed(step: &str, failure: &Failure) -> ErrorResponse {
    let trace = failure.trace.as_deref().unwrap_or("N/A");
    ErrorResponse::internal(format!("Failed to {step}(): {}\nTrace: {trace}", failure.reason))
}
