//! The constitution in force and its three functions; the texts of our own constitutions.

pub mod texts;

use crate::{
    effects::Effects,
    tables::{self, proposal::Failure},
};
use ccf_endpoints::{ErrorCode, ErrorResponse};
use ccf_js::{Ballot, GovernanceError, GovernanceScripts, ScriptError, Vote};
use ccf_kv::Tx;
use ccf_types::MemberId;
use std::collections::BTreeMap;

/// The constitution that a transaction sees, with what runs it.
pub(crate) struct Constitution<'a> {
    scripts: &'a GovernanceScripts,
    text: String,
}

/// What a script did: its result, or why it failed.
type Ran<T> = Result<T, Failure>;

impl<'a> Constitution<'a> {
    /// The constitution in force; 500 if there is none.
    pub(crate) fn load(scripts: &'a GovernanceScripts, tx: &Tx) -> Result<Constitution<'a>, ErrorResponse> {
        let text = tx.ro(&tables::CONSTITUTION).get()?;
        let text = text.ok_or_else(|| {
            ErrorResponse::internal("No constitution is set - proposals cannot be evaluated")
        })?;
        Ok(Constitution { scripts, text })
    }

    /// Whether the proposal may be stored; 400 with the constitution's reasons if not.
    pub(crate) fn validate(&self, tx: &Tx, proposal: &str) -> Result<(), ErrorResponse> {
        let validation = match self.scripts.validate(tx, &self.text, proposal) {
            Ok(validation) => validation,
            Err(GovernanceError::Thrown(error)) => {
                let stack = error.stack.as_deref().unwrap_or_default();
                let text = format!("Failed to execute validation: {} {stack}", error.reason());
                return Err(ErrorResponse::internal(text));
            }
            Err(other) => return Err(ErrorResponse::internal(other.to_string())),
        };
        if validation.valid {
            return Ok(());
        }
        let text = format!("Proposal failed to validate: {}", validation.description);
        Err(ErrorResponse::new(ErrorCode::ProposalFailedToValidate, text))
    }

    /// Runs one ballot. A vote that throws is a failure of that member only; a ballot that is no module with a
    /// `vote` fails the request.
    pub(crate) fn vote(&self, tx: &Tx, ballot: &Ballot<'_>) -> Result<Ran<bool>, ErrorResponse> {
        self.ran(self.scripts.vote(tx, ballot))
    }

    /// The constitution's word on the votes.
    pub(crate) fn resolve(
        &self,
        tx: &Tx,
        proposal: &str,
        proposer_id: &MemberId,
        votes: &BTreeMap<MemberId, bool>,
        proposal_id: &str,
    ) -> Result<Ran<String>, ErrorResponse> {
        let vote = |(member, vote): (&MemberId, &bool)| Vote { member_id: member.to_string(), vote: *vote };
        let votes: Vec<Vote> = votes.iter().map(vote).collect();
        self.ran(self.scripts.resolve(tx, &self.text, proposal, proposer_id.as_str(), &votes, proposal_id))
    }

    /// Carries the proposal out.
    pub(crate) fn apply(
        &self,
        effects: &Effects<'_>,
        tx: &Tx,
        proposal: &str,
        proposal_id: &str,
    ) -> Result<Ran<()>, ErrorResponse> {
        self.ran(self.scripts.apply(tx, effects, &self.text, proposal, proposal_id))
    }

    #[allow(clippy::unused_self)] // a method reads better where it is used
    fn ran<T>(&self, result: Result<T, GovernanceError>) -> Result<Ran<T>, ErrorResponse> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(GovernanceError::Thrown(error)) => Ok(Err(failure(error))),
            Err(GovernanceError::Compile { module, .. }) => {
                Err(ErrorResponse::internal(format!("Failed to compile {module}")))
            }
            Err(other) => Err(ErrorResponse::internal(other.to_string())),
        }
    }
}

fn failure(error: ScriptError) -> Failure {
    Failure { reason: error.reason().to_owned(), trace: error.stack }
}
