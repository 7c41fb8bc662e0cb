//! A recovering node's way into the recovery decision protocol (node specification, section 11.7).

use super::{StartError, assembly::Assembly, running::RunningService};
use crate::{
    config::{Config, DecisionProtocol, Location},
    identity::IdentityError,
    join::client::{Client, Trust},
    recovery_decision::{Decision, DecisionSlot, DecisionThread},
};
use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_governance::{
    decision::{
        Deciding, JoinInstead,
        message::{Place, Sender},
    },
    tables::{self, base64::Base64},
};
use ccf_types::TxId;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A decision that begins when the node does.
pub(super) struct PreparedDecision {
    decision: Arc<Decision>,
    slot: DecisionSlot,
    client: Client,
    public_key: PublicKey,
    protocol: DecisionProtocol,
    instead: mpsc::UnboundedReceiver<JoinInstead>,
}

/// What the node says of itself and of the ledger it has recovered up to `last`; nothing if it is not configured to decide
/// with others. `service` is the new service's certificate, PEM; the store still holds the service before.
///
/// # Errors
/// [`StartError`].
pub(super) fn prepare(
    config: &Config,
    assembly: &Assembly<'_>,
    service: &str,
    last: TxId,
) -> Result<Option<PreparedDecision>, StartError> {
    let Some(section) = &config.sealing_recovery else { return Ok(None) };
    let Some(protocol) = &section.recovery_decision_protocol else { return Ok(None) };
    let before = assembly.store.begin().ro(&tables::SERVICE_INFO).get()?;
    let before = before.ok_or_else(|| StartError::Unrecoverable("it holds no service".to_owned()))?;
    let before = Certificate::from_pem(&before.cert).map_err(IdentityError::from)?;
    let fingerprint = before.public_key().map_err(IdentityError::from)?.id().to_string();
    let service = Certificate::from_pem(service).map_err(IdentityError::from)?;
    let place =
        |location: &Location| Place { address: location.address.clone(), name: location.name.clone() };
    let own = Sender {
        location: place(&section.location),
        quote_info: assembly.row.quote_info.clone(),
        service_cert_der: Base64(service.der().to_vec()),
    };
    let expected: Vec<Place> = protocol.expected_locations.iter().map(place).collect();
    let names = expected.iter().map(|place| place.name.clone()).collect();
    let deciding = Deciding { own, expected, names, last_signed: last, fingerprint };
    let key = assembly.node_key.to_pkcs8_pem().map_err(IdentityError::from)?;
    let certificate = assembly.facts.self_signed_certificate.read().clone();
    let http2 = config.network.first_is_http2();
    let client = Client::new(&Trust::Anybody, &certificate, &key, http2).map_err(StartError::Peers)?;
    let (sender, instead) = mpsc::unbounded_channel();
    let (host, node) = (Arc::clone(&assembly.host), Arc::clone(&assembly.node));
    Ok(Some(PreparedDecision {
        decision: Arc::new(Decision::new(deciding, host, node, sender)),
        slot: Arc::clone(&assembly.decision),
        client,
        public_key: assembly.node_key.public_key().clone(),
        protocol: protocol.clone(),
        instead,
    }))
}

impl PreparedDecision {
    /// The node is primary of its own service: the decision begins.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn begin(self, running: &mut RunningService) -> Result<(), StartError> {
        let thread =
            DecisionThread::start(Arc::clone(&self.decision), self.client, self.public_key, &self.protocol)?;
        // A node recovers once.
        let _ = self.slot.set(self.decision);
        (running.decision, running.instead) = (Some(thread), Some(self.instead));
        Ok(())
    }
}
