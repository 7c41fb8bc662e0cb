//! What a member does over HTTPS: acknowledge, propose, vote, each request signed with the member's key.

use crate::{
    http_client::{ClientError, HttpClient, Reply},
    identity::Identity,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::cose::{CoseError, MemberRequest, MessageType};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// Version of the governance API that these requests follow.
pub const API_VERSION: &str = "2024-07-01";

/// Media type of a signed request.
pub const COSE: &str = "application/cose";

/// A ballot that votes for whatever is proposed.
pub const BALLOT_YES: &str = "export function vote (proposal, proposerId) { return true }";

/// Why a governance step did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GovernanceClientError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Signing failed.
    #[error("cannot sign the request: {0}")]
    Sign(#[from] CoseError),
    /// The service refused.
    #[error("{step} was refused: {reason}")]
    Refused {
        /// What was asked.
        step: String,
        /// Status and the service's words.
        reason: String,
    },
}

/// A proposal as the service answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// 64 hex digits.
    pub id: String,
    /// `Open`, `Accepted`, `Rejected`, …
    pub state: String,
    /// Transaction in which it got this state.
    pub tx_id: Option<String>,
}

/// Governance over one connection.
pub struct GovernanceClient<'a> {
    client: &'a mut HttpClient,
}

impl<'a> GovernanceClient<'a> {
    /// Governance of the service that `client` is connected to.
    pub fn new(client: &'a mut HttpClient) -> Self {
        GovernanceClient { client }
    }

    /// Accepts the state of the service in the member's name, which makes the member Active.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn acknowledge(&mut self, member: &Identity) -> Result<(), GovernanceClientError> {
        let id = member.certificate.member_id();
        let digests = format!("/gov/members/state-digests/{id}");
        let digest =
            self.signed(member, &format!("{digests}:update"), MessageType::StateDigest, None, b"")?;
        let digest = accepted("taking the state digest", digest)?;
        let answer = self.signed(member, &format!("{digests}:ack"), MessageType::Ack, None, &digest.body)?;
        accepted("the acknowledgement", answer).map(|_| ())
    }

    /// Proposes `actions`: `{"actions": [{"name", "args"}, …]}`.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn propose(
        &mut self,
        member: &Identity,
        proposal: &Value,
    ) -> Result<Proposal, GovernanceClientError> {
        let path = "/gov/members/proposals:create";
        let answer =
            self.signed(member, path, MessageType::Proposal, None, proposal.to_string().as_bytes())?;
        proposal_of("the proposal", answer)
    }

    /// Votes on proposal `id` with the text of a ballot.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn vote(
        &mut self,
        member: &Identity,
        id: &str,
        ballot: &str,
    ) -> Result<Proposal, GovernanceClientError> {
        let path = format!("/gov/members/proposals/{id}/ballots/{}:submit", member.certificate.member_id());
        let payload = json!({"ballot": ballot}).to_string();
        let answer = self.signed(member, &path, MessageType::Ballot, Some(id), payload.as_bytes())?;
        proposal_of("the vote", answer)
    }

    /// Withdraws proposal `id`.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn withdraw(&mut self, member: &Identity, id: &str) -> Result<(), GovernanceClientError> {
        let path = format!("/gov/members/proposals/{id}:withdraw");
        accepted("the withdrawal", self.signed(member, &path, MessageType::Withdrawal, Some(id), b"")?)
            .map(|_| ())
    }

    /// Takes the member's recovery share, decrypts it, and hands it in; what the service says to it.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn submit_recovery_share(&mut self, member: &Identity) -> Result<String, GovernanceClientError> {
        let step = "taking the recovery share";
        let refused = |reason: &str| GovernanceClientError::Refused {
            step: step.to_owned(),
            reason: reason.to_owned(),
        };
        let key =
            member.encryption_key.as_ref().ok_or_else(|| refused("the member has no encryption key"))?;
        let id = member.certificate.member_id();
        let answer = self.read(&format!("/gov/recovery/encrypted-shares/{id}"))?;
        let encrypted = answer["encryptedShare"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let encrypted = encrypted.ok_or_else(|| refused("the answer holds no share"))?;
        let share = key.oaep_decrypt(&[], &encrypted).map_err(|error| refused(&error.to_string()))?;
        let payload = json!({"share": STANDARD.encode(&*share)}).to_string();
        let path = format!("/gov/recovery/members/{id}:recover");
        let answer = self.signed(member, &path, MessageType::RecoveryShare, None, payload.as_bytes())?;
        let answer = accepted("the recovery share", answer)?.json();
        Ok(answer["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads `path` of the governance API, given without its version.
    ///
    /// # Errors
    /// [`GovernanceClientError`].
    pub fn read(&mut self, path: &str) -> Result<Value, GovernanceClientError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let reply = self.client.get(&format!("{path}{separator}api-version={API_VERSION}"))?;
        accepted(path, reply).map(|reply| reply.json())
    }

    /// Sends a signed request; a refusal is an answer.
    ///
    /// # Errors
    /// [`GovernanceClientError`] when it cannot be signed or is not answered.
    pub fn signed(
        &mut self,
        member: &Identity,
        path: &str,
        message_type: MessageType,
        proposal_id: Option<&str>,
        payload: &[u8],
    ) -> Result<Reply, GovernanceClientError> {
        let body = sign(member, message_type, now(), proposal_id, payload)?;
        let path = format!("{path}?api-version={API_VERSION}");
        Ok(self.client.post(&path, COSE, body)?)
    }
}

/// A governance message in `member`'s name, as the body of a request; `created_at` in seconds since 1970.
///
/// # Errors
/// [`CoseError`] when signing fails.
pub fn sign(
    member: &Identity,
    message_type: MessageType,
    created_at: u64,
    proposal_id: Option<&str>,
    payload: &[u8],
) -> Result<Vec<u8>, CoseError> {
    let id = member.certificate.member_id().to_string();
    MemberRequest::sign(&member.key, &id, message_type, created_at, proposal_id, payload)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    OffsetDateTime::now_utc().unix_timestamp().unsigned_abs()
}

fn accepted(step: &str, reply: Reply) -> Result<Reply, GovernanceClientError> {
    match reply.status.is_success() {
        true => Ok(reply),
        false => Err(GovernanceClientError::Refused { step: step.to_owned(), reason: reply.refusal() }),
    }
}

fn proposal_of(step: &str, reply: Reply) -> Result<Proposal, GovernanceClientError> {
    let reply = accepted(step, reply)?;
    let json = reply.json();
    match (json["proposalId"].as_str(), json["proposalState"].as_str()) {
        (Some(id), Some(state)) => Ok(Proposal {
            id: id.to_owned(),
            state: state.to_owned(),
            tx_id: reply.tx_id().map(str::to_owned),
        }),
        _ => Err(GovernanceClientError::Refused { step: step.to_owned(), reason: reply.refusal() }),
    }
}
