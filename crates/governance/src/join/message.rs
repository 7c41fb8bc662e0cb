//! The bodies of `POST /node/join` and of its answer (node specification, sections 9.1 and 9.2). Both sides use them.

use crate::{
    sealing::SealingData,
    tables::{
        base64::Base64,
        node::{NetInterface, NodeStatus, QuoteInfo},
        service::ServiceStatus,
    },
};
use ccf_crypto::Zeroizing;
use ccf_ledger::secrets::LedgerSecret;
use ccf_types::{NodeId, SeqNo};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// What a joining node sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// PEM; absent from old releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_signing_request: Option<String>,
    /// A COSE Sign1 statement on the joiner's host data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_transparent_statement: Option<Base64>,
    /// How the joiner would sign the ledger; absent from old releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_sign_mode: Option<LedgerSignMode>,
    /// The operator's data about the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_data: Option<Value>,
    /// Where the joiner is reached.
    pub node_info_network: JoinerInterfaces,
    /// PEM of an RSA key.
    pub public_encryption_key: String,
    /// Evidence of the joiner.
    pub quote_info: QuoteInfo,
    /// A sealed recovery key and the name of its location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_recovery_data: Option<SealingData>,
    /// The seqno of the joiner's snapshot, 0 without one; the key must be there, its value may be null.
    #[serde(deserialize_with = "present")]
    pub startup_seqno: Option<SeqNo>,
}

/// An optional value whose key must be there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SeqNo>, D::Error> {
    Option::deserialize(deserializer)
}

/// Interfaces of a joining node. Other members, of old releases, are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinerInterfaces {
    /// For other nodes.
    pub node_to_node_interface: NetInterface,
    /// For clients, by name.
    pub rpc_interfaces: BTreeMap<String, NetInterface>,
}

/// Which signatures a node writes into the ledger (ledger specification, section 10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerSignMode {
    /// The node's signature and the service's.
    #[default]
    Dual,
    /// The service's only; nodes that write both may join.
    CoseAllowDualJoin,
    /// The service's only, on every node.
    CoseOnly,
}

/// The answer to a joining node.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinResponse {
    /// What a trusted node needs to take part; absent while the node is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_info: Option<NetworkInfo>,
    /// The joiner's own identifier; informational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Pending or trusted.
    pub node_status: NodeStatus,
}

/// What a trusted node needs to take part. Holds the secrets of the service: it is made only for nodes that the ledger
/// calls trusted (node specification, section 9.4).
#[derive(Debug, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Issuer and subject of ledger signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cose_signatures_config: Option<CoseSignaturesConfig>,
    /// PEM, issued by the service for this node; joiners of release 7 need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed_certificate: Option<String>,
    /// The service identity.
    pub identity: ServiceIdentityMessage,
    /// The last signature of the ledger that a recovery began with; used only with `public_only`.
    pub last_recovered_signed_idx: SeqNo,
    /// Ascending by the seqno from which each applies.
    pub ledger_secrets: Vec<(SeqNo, LedgerSecretMessage)>,
    /// The answering node knows the public state only.
    pub public_only: bool,
    /// Absent means opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_status: Option<ServiceStatus>,
}

/// Issuer and subject of COSE ledger signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoseSignaturesConfig {
    /// CWT issuer.
    #[serde(default)]
    pub issuer: String,
    /// CWT subject.
    #[serde(default)]
    pub subject: String,
}

/// The service certificate with its private key.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceIdentityMessage {
    /// PEM.
    pub cert: String,
    /// PEM.
    pub priv_key: SecretText,
}

/// A ledger secret on its way to a trusted node.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerSecretMessage {
    /// Where the secret before it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<SeqNo>,
    /// The secret.
    pub raw_key: RawSecret,
}

impl LedgerSecretMessage {
    /// A secret and the seqno from which it applies.
    #[must_use]
    pub fn of(secret: &LedgerSecret) -> (SeqNo, LedgerSecretMessage) {
        let message = LedgerSecretMessage {
            previous_secret_stored_version: secret.previous_stored_at(),
            raw_key: RawSecret(Zeroizing::new(*secret.danger_raw())),
        };
        (secret.from(), message)
    }

    /// The secret, which applies from `from` on.
    #[must_use]
    pub fn to_secret(&self, from: SeqNo) -> LedgerSecret {
        LedgerSecret::new(&self.raw_key.0, from, self.previous_secret_stored_version)
    }
}

/// A private key as text; wiped on drop, never shown.
pub struct SecretText(pub Zeroizing<String>);

/// 32 secret bytes, base64 in JSON; wiped on drop, never shown.
pub struct RawSecret(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawSecret(..)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| SecretText(Zeroizing::new(text)))
    }
}

impl Serialize for RawSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(Base64::encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Zeroizing::new(Base64::deserialize(deserializer)?.0);
        let raw =
            bytes.as_slice().try_into().map_err(|_| de::Error::custom("a ledger secret has 32 bytes"))?;
        Ok(RawSecret(Zeroizing::new(raw)))
    }
}
