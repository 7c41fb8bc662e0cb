//! Taking in a node: what the service answers to `POST /node/join` (node specification, section 9.3).
//!
//! A function of a transaction, of the request and of what the node knows. Secrets leave only in answers to nodes that
//! the transaction finds, or makes, trusted.

mod evidence;
#[doc(hidden)]
pub mod hostile;
pub mod message;

pub(crate) use self::evidence::check as check_evidence;

use self::message::{
    CoseSignaturesConfig, JoinRequest, JoinResponse, LedgerSecretMessage, LedgerSignMode, NetworkInfo,
    SecretText, ServiceIdentityMessage,
};
use crate::{
    identity::encryption_key,
    node::{NodeGovernance, NodePhase},
    sealing,
    service::{self, ServiceError},
    tables::{
        self,
        node::{NodeInfo, NodeStatus},
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_crypto::cert::{Certificate, CertificateKind, Issuer, SigningRequest};
use ccf_endpoints::{ErrorCode, ErrorResponse, parse_json};
use ccf_kv::Tx;
use ccf_ledger::secrets::LedgerSecrets;
use ccf_types::{NodeId, SeqNo};
use std::ops::ControlFlow;

/// The node as joining and retirement see it. Every method is called on worker threads while a request is executed.
pub trait NodeMembership: NodeGovernance {
    /// The seqno of the snapshot this node started from, 0 without one.
    fn startup_seqno(&self) -> SeqNo;

    /// All ledger secrets this node knows, as of the state that `tx` reads; `None` while it has none.
    fn ledger_secrets(&self, tx: &Tx) -> Option<LedgerSecrets>;

    /// While only the public state is known: the last signature of the recovered ledger (on a joiner of such a service
    /// what its own join answer said). Otherwise the startup seqno.
    fn last_recovered_signed_seqno(&self) -> SeqNo;

    /// Issuer and subject of ledger signatures.
    fn cose_signatures(&self) -> CoseSignaturesConfig;

    /// Which signatures this node writes.
    fn ledger_sign_mode(&self) -> LedgerSignMode {
        LedgerSignMode::Dual
    }

    /// The primary, if one is known; this node's own identifier if it is primary itself.
    fn primary(&self) -> Option<NodeId>;

    /// This node.
    fn node_id(&self) -> &NodeId;

    /// Milliseconds after which a pending node that does not poll any more is forgotten; 0 is never.
    fn pending_node_timeout_ms(&self) -> u64 {
        60 * 60 * 1000
    }
}

/// A request to join.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The certificate the joiner proved to possess: its self-signed one.
    pub certificate: &'a Certificate,
    /// The body, from [`parse_request`].
    pub request: JoinRequest,
    /// Whether this node orders transactions now.
    pub is_primary: bool,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What becomes of a request to join.
#[derive(Debug)]
pub enum JoinDecision {
    /// 200 with this body.
    Answer(Box<JoinResponse>),
    /// Only the primary can add the node.
    AskPrimary,
}

/// Reads the body of a request.
///
/// # Errors
/// 400 `InvalidInput`.
pub fn parse_request(body: &[u8]) -> Result<JoinRequest, ErrorResponse> {
    parse_json(body)
}

/// Decides on a request to join; the writes of an answer must be committed.
///
/// # Errors
/// The error answer; then the transaction must be dropped.
pub fn decide(
    tx: &Tx,
    node: &dyn NodeMembership,
    joining: Joining<'_>,
) -> Result<JoinDecision, ErrorResponse> {
    if node.phase() == NodePhase::Other {
        let text = "Target node should be part of network to accept new nodes.";
        return Err(ErrorResponse::internal(text));
    }
    let own = node.startup_seqno();
    if let Some(from) = joining.request.startup_seqno.filter(|from| *from < own) {
        let text = format!(
            "Node requested to join from seqno {from} which is older than this node startup seqno {own}. \
             A snapshot at least as recent as {own} must be used instead."
        );
        return Err(ErrorResponse::new(ErrorCode::StartupSeqnoIsOld, text));
    }
    let Some(service) = tx.ro(&tables::SERVICE_INFO).get()? else {
        return Err(ErrorResponse::internal("No service is available to accept new node."));
    };
    let id = joining.certificate.public_key().map_err(unreadable)?.node_id();
    let known = tx.ro(&tables::NODES).get(&id)?;
    let trusts_at_once = matches!(service.status, ServiceStatus::Opening | ServiceStatus::Recovering);
    match known {
        Some(info) if info.status == NodeStatus::Trusted => {
            let network = network_info(tx, node, &service, &id, &info)?;
            Ok(answer(id, NodeStatus::Trusted, Some(network)))
        }
        // Node identifiers are never taken up again (consensus specification, section 8).
        Some(info) if info.status == NodeStatus::Retired => {
            let text = "Joining node is not in expected state (Retired).";
            Err(ErrorResponse::new(ErrorCode::InvalidNodeState, text))
        }
        Some(info) if !trusts_at_once => {
            if joining.is_primary {
                refresh_last_seen(tx, node, &id, info, joining.now_ms)?;
            }
            Ok(answer(id, NodeStatus::Pending, None))
        }
        Some(_) | None if !joining.is_primary => Ok(JoinDecision::AskPrimary),
        Some(_) | None => {
            let status = if trusts_at_once { NodeStatus::Trusted } else { NodeStatus::Pending };
            let info = add(tx, node, &id, joining, status)?;
            let network = match status {
                NodeStatus::Trusted => Some(network_info(tx, node, &service, &id, &info)?),
                NodeStatus::Pending | NodeStatus::Retired => None,
            };
            Ok(answer(id, status, network))
        }
    }
}

fn answer(id: NodeId, node_status: NodeStatus, network_info: Option<NetworkInfo>) -> JoinDecision {
    JoinDecision::Answer(Box::new(JoinResponse { network_info, node_id: Some(id), node_status }))
}

fn unreadable(error: impl std::fmt::Display) -> ErrorResponse {
    ErrorResponse::invalid_input(format!("The caller's certificate cannot be used: {error}"))
}

fn internal(error: impl std::fmt::Display) -> ErrorResponse {
    ErrorResponse::internal(error.to_string())
}

/// A pending node that still polls is not forgotten.
fn refresh_last_seen(
    tx: &Tx,
    node: &dyn NodeMembership,
    id: &NodeId,
    mut info: NodeInfo,
    now_ms: u64,
) -> Result<(), ErrorResponse> {
    let timeout = node.pending_node_timeout_ms();
    let is_fresh = |seen: u64| seen <= now_ms && now_ms - seen <= timeout / 2;
    if timeout == 0 || info.pending_last_seen.is_some_and(is_fresh) {
        return Ok(());
    }
    info.pending_last_seen = Some(now_ms);
    Ok(tx.rw(&tables::NODES).put(id, &info)?)
}

/// Adds the row of a new node, after all checks.
fn add(
    tx: &Tx,
    node: &dyn NodeMembership,
    id: &NodeId,
    joining: Joining<'_>,
    status: NodeStatus,
) -> Result<NodeInfo, ErrorResponse> {
    let Joining { certificate, request, now_ms, .. } = joining;
    check_address(tx, id, &request)?;
    let key = certificate.public_key().map_err(unreadable)?;
    let code_digest = evidence::check(tx, &request.quote_info, key.id())?;
    if node.ledger_sign_mode() == LedgerSignMode::CoseOnly
        && request.ledger_sign_mode == Some(LedgerSignMode::Dual)
    {
        let text = "This network does not accept nodes running in Dual signing mode. The joining node must use \
                    COSE-only signing.";
        return Err(ErrorResponse::invalid_input(text));
    }
    let csr = request.certificate_signing_request.as_deref().map(SigningRequest::from_pem).transpose();
    let csr = csr.map_err(|error| {
        ErrorResponse::invalid_input(format!("The certificate signing request cannot be used: {error}"))
    })?;
    if csr.as_ref().is_some_and(|csr| csr.public_key() != key) {
        let text = "Public key in CSR does not match TLS client identity.";
        return Err(ErrorResponse::new(ErrorCode::CSRPublicKeyInvalid, text));
    }
    // A key that cannot encrypt would stop every later rekey.
    let usable = encryption_key(&request.public_encryption_key).map_err(|e| e.to_string());
    usable.and_then(|key| key.oaep_encrypt(&[], &[0; 32]).map_err(|e| e.to_string())).map_err(|error| {
        ErrorResponse::invalid_input(format!("The public encryption key cannot be used: {error}"))
    })?;

    if let Some(sealing) = &request.sealing_recovery_data {
        sealing::check(sealing).map_err(ErrorResponse::invalid_input)?;
    }

    let is_trusted = status == NodeStatus::Trusted;
    let ledger_secret_seqno = match is_trusted {
        true => Some(service::latest_secret(node, tx).map_err(internal)?.from()),
        false => None,
    };
    let info = NodeInfo {
        cert: None,
        certificate_signing_request: request.certificate_signing_request,
        code_digest: Some(code_digest),
        encryption_pub_key: request.public_encryption_key,
        ledger_secret_seqno,
        node_data: request.node_data,
        node_to_node_interface: request.node_info_network.node_to_node_interface,
        pending_last_seen: (!is_trusted).then_some(now_ms),
        public_key: Some(key.to_pem()),
        quote_info: request.quote_info,
        retired_committed: false,
        rpc_interfaces: request.node_info_network.rpc_interfaces,
        status,
    };
    tx.rw(&tables::NODES).put(id, &info)?;
    if let Some(sealing) = &request.sealing_recovery_data {
        sealing::record(tx, id, sealing)?;
    }
    if is_trusted {
        if let Some(csr) = &csr {
            let endorsed = endorse(tx, node, csr, certificate).map_err(internal)?;
            tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).put(id, &endorsed)?;
        }
        service::shuffle_sealed_shares(node, tx).map_err(internal)?;
    }
    Ok(info)
}

/// No two nodes that may take part have one address; and the address is one that nodes can connect to.
fn check_address(tx: &Tx, id: &NodeId, request: &JoinRequest) -> Result<(), ErrorResponse> {
    let wanted = request.node_info_network.node_to_node_interface.published();
    let conflict = tx.ro(&tables::NODES).for_each(|other, info| {
        let taken = other != *id
            && info.status != NodeStatus::Retired
            && info.node_to_node_interface.published() == wanted;
        if taken { ControlFlow::Break(other) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(other) = conflict {
        let text = format!(
            "A node with the same published node address {wanted} already exists (node id: {other})."
        );
        return Err(ErrorResponse::new(ErrorCode::NodeAlreadyExists, text));
    }
    let is_address = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !is_address(wanted) {
        let text = format!("The published node address {wanted} is not of the form host:port.");
        return Err(ErrorResponse::invalid_input(text));
    }
    Ok(())
}

/// The joiner's endorsed certificate, with the dates of its self-signed one.
fn endorse(
    tx: &Tx,
    node: &dyn NodeMembership,
    csr: &SigningRequest,
    self_signed: &Certificate,
) -> Result<String, ServiceError> {
    let key = service::service_key(node)?;
    let certificate = service::certificate(tx)?;
    let issuer = Issuer::new(&certificate, &key)?;
    Ok(issuer.endorse(csr, CertificateKind::Leaf, &self_signed.validity())?.to_pem())
}

/// What a node that is trusted needs to take part.
fn network_info(
    tx: &Tx,
    node: &dyn NodeMembership,
    service: &ServiceInfo,
    id: &NodeId,
    info: &NodeInfo,
) -> Result<NetworkInfo, ErrorResponse> {
    let _ = tx.ro(&tables::ENCRYPTED_LEDGER_SECRETS).has();
    let secrets = node.ledger_secrets(tx).ok_or_else(|| internal(ServiceError::NoSecrets))?;
    let known = |from: SeqNo| info.ledger_secret_seqno.is_none_or(|last| from <= last);
    let ledger_secrets =
        secrets.iter().filter(|secret| known(secret.from())).map(|secret| LedgerSecretMessage::of(secret));
    let key = service::service_key(node).map_err(internal)?;
    Ok(NetworkInfo {
        cose_signatures_config: Some(node.cose_signatures()),
        endorsed_certificate: tx.ro(&tables::NODE_ENDORSED_CERTIFICATES).get(id)?,
        identity: ServiceIdentityMessage {
            cert: service.cert.clone(),
            priv_key: SecretText(key.to_pkcs8_pem().map_err(internal)?),
        },
        last_recovered_signed_idx: node.last_recovered_signed_seqno(),
        ledger_secrets: ledger_secrets.collect(),
        public_only: node.phase() == NodePhase::PartOfPublicNetwork,
        service_status: Some(service.status),
    })
}
