//! A row of `proposals_info` (governance 6 and 12.3).

use ccf_types::MemberId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the framework keeps of a proposal beside its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalInfo {
    /// Source of each member's ballot: a JavaScript module.
    pub ballots: BTreeMap<MemberId, String>,
    /// Why it failed; only in old ledgers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What each ballot returned when the proposal was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_votes: Option<BTreeMap<MemberId, bool>>,
    /// Who proposed.
    pub proposer_id: MemberId,
    /// Where in its life the proposal is.
    pub state: ProposalState,
    /// Ballots that threw when the proposal was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_failures: Option<BTreeMap<MemberId, Failure>>,
}

/// Where in its life a proposal is (governance 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposalState {
    /// Collects ballots.
    Open,
    /// Applied.
    Accepted,
    /// Taken back by its proposer.
    Withdrawn,
    /// Refused by the constitution.
    Rejected,
    /// Could not be applied; only in old ledgers.
    Failed,
    /// Lost its meaning because another proposal was applied.
    Dropped,
}

impl ProposalState {
    /// The state as messages to clients show it.
    #[must_use]
    pub fn lower_case(self) -> &'static str {
        match self {
            ProposalState::Open => "open",
            ProposalState::Accepted => "accepted",
            ProposalState::Withdrawn => "withdrawn",
            ProposalState::Rejected => "rejected",
            ProposalState::Failed => "failed",
            ProposalState::Dropped => "dropped",
        }
    }
}

/// Why a script failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exception as text.
    pub reason: String,
    /// Its stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl ProposalInfo {
    /// A new proposal, without ballots.
    #[must_use]
    pub fn open(proposer_id: MemberId) -> ProposalInfo {
        ProposalInfo {
            ballots: BTreeMap::new(),
            failure: None,
            final_votes: None,
            proposer_id,
            state: ProposalState::Open,
            vote_failures: None,
        }
    }
}
