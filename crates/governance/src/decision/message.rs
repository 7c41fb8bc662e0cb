//! The bodies of the protocol's messages (node specification, section 11.7). Both sides use them.

use crate::tables::{base64::Base64, node::QuoteInfo};
use ccf_types::TxId;
use serde::{Deserialize, Serialize};

/// Where the endpoints are.
pub const PATH: &str = "/recovery_decision_protocol";

/// Who sends a message. The certificate that goes with it is that of the connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sender {
    /// Where it runs.
    pub location: Place,
    /// Evidence of the sender.
    pub quote_info: QuoteInfo,
    /// The certificate of the service that the sender recovers.
    pub service_cert_der: Base64,
}

/// A location: its name, and where its node serves clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `host:port`.
    pub address: String,
    /// The same before and after a recovery.
    pub name: String,
}

/// `PUT /gossip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gossip {
    /// Who.
    pub info: Sender,
    /// The last signature of the sender's ledger.
    pub txid: TxId,
}

/// `PUT /vote`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub info: Sender,
}

/// `PUT /iamopen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IAmOpen {
    /// Who.
    pub info: Sender,
    /// Hex SHA-256 of the public key (DER) of the service that was recovered.
    pub prev_service_fingerprint: String,
    /// The last signature of the sender's ledger.
    pub txid: TxId,
}

/// Any of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// How long the sender's ledger is.
    Gossip(Gossip),
    /// The sender chose the receiver.
    Vote(Vote),
    /// The sender opens its service.
    IAmOpen(IAmOpen),
}

impl Message {
    /// The sender.
    #[must_use]
    pub fn info(&self) -> &Sender {
        match self {
            Message::Gossip(Gossip { info, .. })
            | Message::Vote(Vote { info })
            | Message::IAmOpen(IAmOpen { info, .. }) => info,
        }
    }

    /// Where it is sent to, below `/node`.
    #[must_use]
    pub fn path(&self) -> String {
        let kind = match self {
            Message::Gossip(_) => "gossip",
            Message::Vote(_) => "vote",
            Message::IAmOpen(_) => "iamopen",
        };
        format!("{PATH}/{kind}")
    }

    /// The body.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which does not happen.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Message::Gossip(message) => serde_json::to_vec(message),
            Message::Vote(message) => serde_json::to_vec(message),
            Message::IAmOpen(message) => serde_json::to_vec(message),
        }
    }
}
