//! Joining a service: the node asks until the service trusts it (node specification, section 9).
//!
//! One function, [`join`]: everything it learns comes back in [`Joined`]; it writes no file and changes nothing in the
//! node. Dropping its future stops it.

pub(crate) mod client;
mod report;

use self::{
    client::{Client, Failure, Trust},
    report::Report,
};
use ccf_crypto::{
    cert::Certificate,
    key::{EcKeyPair, KeyError},
};
use ccf_governance::{
    join::message::{CoseSignaturesConfig, JoinRequest, JoinResponse, NetworkInfo},
    tables::{node::NodeStatus, service::ServiceStatus},
};
use ccf_ledger::secrets::{DuplicateSecret, LedgerSecrets};
use ccf_types::SeqNo;
use hyper::Method;
use std::{future::Future, pin::Pin, time::Duration};

/// What a node needs to ask a service to let it join.
pub struct JoinParameters {
    /// `host:port` of a node of the service.
    pub target: String,
    /// PEM of the service certificate, against which the target's certificate is verified; its host name is not.
    pub service_certificate: String,
    /// PEM of this node's self-signed certificate.
    pub certificate: String,
    /// PEM of this node's private key.
    pub private_key: ccf_crypto::Zeroizing<String>,
    /// Whether to speak HTTP/2: as this node's first interface by name does.
    pub http2: bool,
    /// What is asked. Its `startup_seqno` is replaced when a fresher snapshot was fetched.
    pub request: JoinRequest,
    /// Time between two requests.
    pub retry_timeout: Duration,
    /// Whether to ask the node that the target names.
    pub follow_redirect: bool,
}

/// Fetches a snapshot when the target says that this node starts from too old a state.
pub trait SnapshotSource: Send {
    /// Fetches the latest snapshot of `target` (`host:port`), verifies it and keeps it as the one to start from.
    /// `None` if that failed: joining goes on as before.
    fn fetch<'a>(&'a mut self, target: &'a str) -> Pin<Box<dyn Future<Output = Option<SeqNo>> + Send + 'a>>;
}

/// What a node that the service trusts knows.
#[derive(Debug)]
pub struct Joined {
    /// The service certificate as the service has it now, PEM.
    pub service_certificate: String,
    /// The key of the service identity.
    pub service_key: EcKeyPair,
    /// Where the service is in its life.
    pub service_status: ServiceStatus,
    /// All secrets up to the one this node was trusted with.
    pub ledger_secrets: LedgerSecrets,
    /// This node's certificate, issued by the service, PEM.
    pub endorsed_certificate: String,
    /// Issuer and subject of ledger signatures.
    pub cose_signatures: CoseSignaturesConfig,
    /// The service knows its public state only: take part in that.
    pub public_only: bool,
    /// With `public_only`: the last signature of the ledger that the service was recovered from.
    pub last_recovered_signed_seqno: SeqNo,
    /// What this node said about its snapshot: the seqno to start at, 0 without one.
    pub startup_seqno: SeqNo,
}

/// Joining is over without success. The text is what goes into the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// This node's own certificate, key or request, or the service certificate, cannot be used.
    #[error("Cannot ask to join: {0}")]
    Unusable(String),
    /// The target is not a node of the service, or the handshake failed otherwise.
    #[error(
        "Early error when joining existing network at {target}: {reason}. Shutting down node gracefully..."
    )]
    Handshake {
        /// `host:port`.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The service does not want this node.
    #[error("Join request to {target} returned {status} Bad Request: {body}. Shutting down node gracefully.")]
    Refused {
        /// `host:port`.
        target: String,
        /// HTTP status, 4xx.
        status: u16,
        /// The answer's body.
        body: String,
    },
    /// The service trusts this node but its answer does not serve.
    #[error("The answer of {target} to the join request cannot be used: {reason}")]
    Answer {
        /// `host:port`.
        target: String,
        /// What is wrong.
        reason: String,
    },
}

/// Asks until the service trusts this node.
///
/// # Errors
/// [`JoinError`]; whatever may pass is retried instead, without end.
pub async fn join(
    parameters: JoinParameters,
    mut snapshots: Option<&mut dyn SnapshotSource>,
) -> Result<Joined, JoinError> {
    let JoinParameters { mut target, mut request, retry_timeout, follow_redirect, .. } = parameters;
    let own = Certificate::from_pem(&parameters.certificate).and_then(|own| Ok(own.public_key()?.clone()));
    let own = own.map_err(|error| JoinError::Unusable(error.to_string()))?;
    let client = Client::new(
        &Trust::Service(&parameters.service_certificate),
        &parameters.certificate,
        &parameters.private_key,
        parameters.http2,
    )
    .map_err(JoinError::Unusable)?;
    let mut report = Report::default();
    loop {
        let body = serde_json::to_vec(&request).map_err(|error| JoinError::Unusable(error.to_string()))?;
        match client.send(Method::POST, &target, "/node/join", body).await {
            Ok(answer) => match reaction(&answer, &target, follow_redirect, snapshots.is_some()) {
                Reaction::Joined(response) => {
                    let startup_seqno = request.startup_seqno.unwrap_or(SeqNo::NONE);
                    return joined(*response, own.spki_der(), startup_seqno)
                        .map_err(|reason| JoinError::Answer { target, reason });
                }
                Reaction::Wait => {
                    report.progress(&format!(
                        "Node {} is waiting for votes of members to be trusted",
                        own.node_id()
                    ));
                }
                Reaction::Redirect(to) => {
                    tracing::info!("Target node redirected to {}", answer.location.unwrap_or_default());
                    target = to;
                }
                Reaction::FetchSnapshot => {
                    tracing::info!(
                        "Join request to {target} returned {} Bad Request: {}. Attempting to fetch fresher snapshot",
                        answer.status,
                        answer.text()
                    );
                    if let Some(source) = &mut snapshots
                        && let Some(seqno) = source.fetch(&target).await
                    {
                        request.startup_seqno = Some(seqno);
                    }
                }
                Reaction::Refused => {
                    let (status, body) = (answer.status, answer.text());
                    return Err(JoinError::Refused { target, status, body });
                }
                Reaction::Retry => {
                    report.trouble(&format!(
                        "An error occurred while joining the network: {}",
                        answer.summary()
                    ));
                }
            },
            Err(Failure::Handshake(reason)) => return Err(JoinError::Handshake { target, reason }),
            Err(Failure::Connection(reason)) => {
                report.progress(&format!(
                    "Join request to {target} could not be made and will be repeated: {reason}"
                ));
            }
        }
        tokio::time::sleep(retry_timeout).await;
    }
}

/// What to do about an answer (node specification, section 9.2).
enum Reaction {
    Joined(Box<NetworkInfo>),
    Wait,
    Redirect(String),
    FetchSnapshot,
    Refused,
    Retry,
}

fn reaction(answer: &client::Answer, target: &str, follow_redirect: bool, can_fetch: bool) -> Reaction {
    match answer.status {
        200 => match serde_json::from_slice::<JoinResponse>(&answer.body) {
            Ok(JoinResponse { node_status: NodeStatus::Pending, .. }) => Reaction::Wait,
            Ok(JoinResponse { node_status: NodeStatus::Trusted, network_info: Some(info), .. }) => {
                Reaction::Joined(Box::new(info))
            }
            Ok(_) => {
                tracing::warn!("The answer of {target} holds nothing that a trusted node needs");
                Reaction::Retry
            }
            Err(error) => {
                tracing::warn!("The answer of {target} cannot be read: {error}");
                Reaction::Retry
            }
        },
        307 | 308 if follow_redirect => answer.location_address().map_or(Reaction::Retry, Reaction::Redirect),
        400 if can_fetch && answer.error_code().as_deref() == Some("StartupSeqnoIsOld") => {
            Reaction::FetchSnapshot
        }
        400..500 => Reaction::Refused,
        _ => Reaction::Retry,
    }
}

/// Checks what the service sent: the parts must belong together.
fn joined(info: NetworkInfo, own_key: &[u8], startup_seqno: SeqNo) -> Result<Joined, String> {
    let certificate = |name: &str, pem: &str| {
        Certificate::from_pem(pem).map_err(|error| format!("the {name} certificate: {error}"))
    };
    let service_key = EcKeyPair::from_pem(&info.identity.priv_key.0)
        .map_err(|error: KeyError| format!("the service key: {error}"))?;
    let service = certificate("service", &info.identity.cert)?;
    if service.spki_der() != service_key.public_key().spki_der() {
        return Err("the service certificate is not one of the service key".to_owned());
    }
    let endorsed = info.endorsed_certificate.ok_or("the endorsed certificate is missing")?;
    if certificate("endorsed", &endorsed)?.spki_der() != own_key {
        return Err("the endorsed certificate is not one of this node's key".to_owned());
    }
    let secrets = info.ledger_secrets.iter().map(|(from, secret)| secret.to_secret(*from));
    let ledger_secrets = LedgerSecrets::new(secrets).map_err(|error: DuplicateSecret| error.to_string())?;
    if ledger_secrets.latest().is_none() {
        return Err("there is no ledger secret".to_owned());
    }
    Ok(Joined {
        service_certificate: info.identity.cert,
        service_key,
        service_status: info.service_status.unwrap_or(ServiceStatus::Opening),
        ledger_secrets,
        endorsed_certificate: endorsed,
        cose_signatures: info.cose_signatures_config.unwrap_or_default(),
        public_only: info.public_only,
        last_recovered_signed_seqno: info.last_recovered_signed_idx,
        startup_seqno,
    })
}
