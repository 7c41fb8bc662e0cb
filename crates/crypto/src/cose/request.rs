//! Signed requests of members (governance) and users (crypto 14).

use super::{CoseError, Payload, Sign1, WhichAlgorithm, algorithm_of, label, ledger::text, sign1};
use crate::{
    cbor::{Item, Writer},
    key::{EcKeyPair, PublicKey},
};

const GOV_TYPE: &str = "ccf.gov.msg.type";
const GOV_CREATED_AT: &str = "ccf.gov.msg.created_at";
const GOV_PROPOSAL_ID: &str = "ccf.gov.msg.proposal_id";
const USER_TYPE: &str = "ccf.msg.type";
const USER_CREATED_AT: &str = "ccf.msg.created_at";

/// What a member asks for: the `ccf.gov.msg.type` of each governance message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A new proposal.
    Proposal,
    /// A vote.
    Ballot,
    /// The proposer takes a proposal back.
    Withdrawal,
    /// The member has seen the state of the service.
    Ack,
    /// A fresh digest of the state to acknowledge.
    StateDigest,
    /// A share for recovery.
    RecoveryShare,
    /// Known to client tools only.
    EncryptedRecoveryShare,
}

impl MessageType {
    /// All types.
    pub const ALL: [MessageType; 7] = [
        MessageType::Proposal,
        MessageType::Ballot,
        MessageType::Withdrawal,
        MessageType::Ack,
        MessageType::StateDigest,
        MessageType::RecoveryShare,
        MessageType::EncryptedRecoveryShare,
    ];

    /// The text in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MessageType::Proposal => "proposal",
            MessageType::Ballot => "ballot",
            MessageType::Withdrawal => "withdrawal",
            MessageType::Ack => "ack",
            MessageType::StateDigest => "state_digest",
            MessageType::RecoveryShare => "recovery_share",
            MessageType::EncryptedRecoveryShare => "encrypted_recovery_share",
        }
    }
}

/// A governance message, read but not verified: look up the certificate of [`MemberRequest::key_id`], then call
/// [`MemberRequest::verify`].
#[derive(Clone, Debug)]
pub struct MemberRequest<'a> {
    /// The member id, as text.
    pub key_id: &'a str,
    /// `ccf.gov.msg.type`, if there.
    pub message_type: Option<&'a str>,
    /// `ccf.gov.msg.created_at`, seconds since 1970.
    pub created_at: u64,
    /// `ccf.gov.msg.proposal_id`, for ballots and withdrawals.
    pub proposal_id: Option<&'a str>,
    /// The signed payload.
    pub content: &'a [u8],
    /// The message.
    pub message: Sign1<'a>,
}

impl<'a> MemberRequest<'a> {
    /// Reads a governance message; `created_at` is always required.
    ///
    /// # Errors
    /// [`CoseError`], malformed or not accepted.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let message = decode_request(bytes, &[GOV_TYPE, GOV_CREATED_AT, GOV_PROPOSAL_ID])?;
        let header = message.header();
        let created_at = header.get_text(GOV_CREATED_AT).ok_or(CoseError::MissingHeader(GOV_CREATED_AT))?;
        let message_type = optional_text(header.get_text(GOV_TYPE), GOV_TYPE)?;
        let created_at = seconds(&created_at, GOV_CREATED_AT)?;
        let proposal_id = optional_text(header.get_text(GOV_PROPOSAL_ID), GOV_PROPOSAL_ID)?;
        let content = message.attached_payload()?;
        let key_id = key_id(&message)?;
        Ok(MemberRequest { key_id, message_type, created_at, proposal_id, content, message })
    }

    /// Refuses a message of another type.
    ///
    /// # Errors
    /// [`CoseError::WrongType`].
    pub fn expect_type(&self, expected: MessageType) -> Result<(), CoseError> {
        if self.message_type == Some(expected.as_str()) { Ok(()) } else { Err(CoseError::WrongType) }
    }

    /// Verifies with the key of the member's certificate. RSA keys are refused.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), CoseError> {
        verify_request(&self.message, key)
    }

    /// Verifies a record of an older release, whose algorithm did not have to be that of the curve.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify_recorded(&self, key: &PublicKey) -> Result<(), CoseError> {
        self.message.verify(key, WhichAlgorithm::AsRecorded)
    }

    /// Makes a governance message.
    ///
    /// # Errors
    /// [`CoseError::Signature`].
    pub fn sign(
        key: &EcKeyPair,
        member_id: &str,
        message_type: MessageType,
        created_at: u64,
        proposal_id: Option<&str>,
        content: &[u8],
    ) -> Result<Vec<u8>, CoseError> {
        // Deterministic order: integers, then texts by length.
        let mut header = Writer::new();
        header.map(4 + u64::from(proposal_id.is_some()));
        header.integer(label::ALG).integer(algorithm_of(key.curve()));
        header.integer(label::KID).bytes(member_id.as_bytes());
        header.text(GOV_TYPE).text(message_type.as_str());
        header.text(GOV_CREATED_AT).unsigned(created_at);
        if let Some(proposal_id) = proposal_id {
            header.text(GOV_PROPOSAL_ID).text(proposal_id);
        }
        sign1(key, &header.finish(), Payload::Attached(content))
    }
}

/// A user's signed request, read but not verified.
#[derive(Clone, Debug)]
pub struct UserRequest<'a> {
    /// The user id, as text.
    pub key_id: &'a str,
    /// `ccf.msg.type`, if there.
    pub message_type: Option<&'a str>,
    /// `ccf.msg.created_at`, seconds since 1970, if there.
    pub created_at: Option<u64>,
    /// The signed payload.
    pub content: &'a [u8],
    /// The message.
    pub message: Sign1<'a>,
}

impl<'a> UserRequest<'a> {
    /// Reads a user's request.
    ///
    /// # Errors
    /// [`CoseError`], malformed or not accepted.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let message = decode_request(bytes, &[USER_TYPE, USER_CREATED_AT])?;
        let header = message.header();
        let created_at = header.get_text(USER_CREATED_AT).map(|item| seconds(&item, USER_CREATED_AT));
        let (created_at, content) = (created_at.transpose()?, message.attached_payload()?);
        let message_type = optional_text(header.get_text(USER_TYPE), USER_TYPE)?;
        Ok(UserRequest { key_id: key_id(&message)?, message_type, created_at, content, message })
    }

    /// Verifies with the key of the user's certificate. RSA keys are refused.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), CoseError> {
        verify_request(&self.message, key)
    }

    /// Makes a user's request.
    ///
    /// # Errors
    /// [`CoseError::Signature`].
    pub fn sign(
        key: &EcKeyPair,
        user_id: &str,
        message_type: Option<&str>,
        created_at: Option<u64>,
        content: &[u8],
    ) -> Result<Vec<u8>, CoseError> {
        let mut header = Writer::new();
        header.map(2 + u64::from(message_type.is_some()) + u64::from(created_at.is_some()));
        header.integer(label::ALG).integer(algorithm_of(key.curve()));
        header.integer(label::KID).bytes(user_id.as_bytes());
        if let Some(message_type) = message_type {
            header.text(USER_TYPE).text(message_type);
        }
        if let Some(created_at) = created_at {
            header.text(USER_CREATED_AT).unsigned(created_at);
        }
        sign1(key, &header.finish(), Payload::Attached(content))
    }
}

/// Reads the message; critical labels must be among those that requests may have.
fn decode_request<'a>(bytes: &'a [u8], texts: &[&str]) -> Result<Sign1<'a>, CoseError> {
    let message = Sign1::decode(bytes)?;
    message.algorithm()?;
    message.key_id()?;
    message.check_critical(|item| match (item.integer(), item.text()) {
        (Ok(number), _) => [label::ALG, label::CRIT, label::KID].contains(&number),
        (_, Ok(text)) => texts.contains(&text),
        _ => false,
    })?;
    Ok(message)
}

fn verify_request(message: &Sign1<'_>, key: &PublicKey) -> Result<(), CoseError> {
    if key.curve().is_none() {
        return Err(CoseError::AlgorithmMismatch(message.algorithm()?));
    }
    message.verify(key, WhichAlgorithm::OfTheKey)
}

/// Who signs. Called last: what comes before it is whether the message can be read at all (governance 5.2, check 2).
fn key_id<'a>(message: &Sign1<'a>) -> Result<&'a str, CoseError> {
    std::str::from_utf8(message.key_id()?).map_err(|_| CoseError::UnknownKeyId)
}

/// A time in seconds since 1970: 0 to 2^63 - 1.
fn seconds(item: &Item<'_>, name: &'static str) -> Result<u64, CoseError> {
    let seconds = item.unsigned().ok().filter(|seconds| i64::try_from(*seconds).is_ok());
    seconds.ok_or(CoseError::InvalidHeader(name))
}

fn optional_text<'a>(item: Option<Item<'a>>, name: &'static str) -> Result<Option<&'a str>, CoseError> {
    item.map(|_| text(item, name)).transpose()
}
