//! What this node does when governance tables change for good (governance specification, section 8.4).

use crate::{
    http::Authority, interfaces::ServerHandle, node_facts::NodeFacts, node_view::RunningNode,
    peers::PeerNetwork,
};
use ccf_consensus::{NodeChange, Reconfiguration};
use ccf_crypto::{
    Zeroizing,
    cert::{Certificate, renew_self_signed},
    cose::SignatureClaims,
    key::{EcKeyPair, RsaKeyPair},
};
use ccf_endpoints::{Frontend, NodeView};
use ccf_governance::tables::{
    self,
    node::{NodeInfo, NodeStatus},
    secrets::EncryptedSecrets,
    service::{ServiceInfo, ServiceStatus},
};
use ccf_kv::{HookContext, MapWrites, Store, UNIT};
use ccf_ledger::secrets::{LedgerSecret, LedgerSecrets};
use ccf_types::{NodeId, SeqNo};
use parking_lot::{Mutex, RwLock};
use std::sync::{Arc, OnceLock};

/// The service that this node belongs to.
pub(crate) struct KnownService {
    /// Its key.
    pub key: Arc<EcKeyPair>,
    /// PEM of its certificate when this node met it; renewals keep key and subject.
    pub certificate: String,
    /// Issuer and subject of ledger signatures.
    pub claims: SignatureClaims,
    /// On a node that knows the public state only, the last signature of the recovered ledger; else the seqno with which
    /// the node began.
    pub last_recovered_signed: SeqNo,
}

/// What the hooks work with.
pub(crate) struct Hooked {
    /// Store, frontends.
    pub node: Arc<RunningNode>,
    /// This node.
    pub facts: Arc<NodeFacts>,
    /// The server whose certificates change.
    pub server: ServerHandle,
    /// This node's key.
    pub node_key: Arc<EcKeyPair>,
    /// Ledger secrets are sent to it.
    pub encryption_key: RsaKeyPair,
    /// The other nodes, who want to see a renewed certificate.
    pub peers: PeerNetwork,
    /// The service, once known.
    pub service: Arc<OnceLock<KnownService>>,
    /// The certificate that signatures carry.
    pub endorsed_certificate: Arc<RwLock<String>>,
    /// All ledger secrets of this node.
    pub secrets: Arc<RwLock<LedgerSecrets>>,
    /// Nodes whose `retired_committed` was committed, for consensus to forget.
    pub retired: Arc<Mutex<Vec<NodeId>>>,
}

/// Installs the hooks; before the first transaction.
pub(crate) fn install(store: &Store, hooked: &Arc<Hooked>) {
    let certificates = tables::NODE_ENDORSED_CERTIFICATES;
    let local = Arc::clone(hooked);
    store.on_local(
        certificates.name(),
        Arc::new(move |_, writes| {
            if let Some(pem) = local.own_certificate(writes) {
                *local.endorsed_certificate.write() = pem;
            }
        }),
    );
    let global = Arc::clone(hooked);
    store.on_global(
        certificates.name(),
        Arc::new(move |_, writes| {
            if let Some(pem) = global.own_certificate(writes) {
                global.endorsed(&pem);
            }
        }),
    );
    let rekey = Arc::clone(hooked);
    store.on_local(
        tables::ENCRYPTED_LEDGER_SECRETS.name(),
        Arc::new(move |context, writes| rekey.install_secret(context, writes)),
    );
    store.on_local(tables::NODES.name(), Arc::new(reconfigure));
    let retirement = Arc::clone(hooked);
    store.on_global(tables::NODES.name(), Arc::new(move |_, writes| retirement.note_retired(writes)));
    let service = Arc::clone(hooked);
    store.on_global(tables::SERVICE_INFO.name(), Arc::new(move |_, writes| service.service_changed(writes)));
}

/// Tells consensus what a transaction does to the set of nodes (consensus specification, section 8).
fn reconfigure(context: &mut HookContext<'_>, writes: &MapWrites) {
    let mut changes = Vec::new();
    for (key, value) in writes {
        let id = NodeId::from_text(&String::from_utf8_lossy(key));
        match value.map(|row| serde_json::from_slice::<NodeInfo>(row)) {
            Some(Ok(row)) => match row.status {
                NodeStatus::Trusted => {
                    let address = row.node_to_node_interface.published().into();
                    changes.push(NodeChange::Trusted { id, address });
                }
                NodeStatus::Retired => changes.push(NodeChange::Removed(id)),
                NodeStatus::Pending => {}
            },
            Some(Err(error)) => {
                // All nodes see the same row, so none counts the node as a member.
                tracing::error!(
                    "The row of node {id} written at {} cannot be read: {error}",
                    context.tx_id()
                );
            }
            None => changes.push(NodeChange::Removed(id)),
        }
    }
    if !changes.is_empty() {
        context.act(Box::new(Reconfiguration::Changes(changes)));
    }
}

impl Hooked {
    fn note_retired(&self, writes: &MapWrites) {
        for (key, value) in writes {
            let row = value.and_then(|row| serde_json::from_slice::<NodeInfo>(row).ok());
            if row.is_some_and(|row| row.retired_committed) {
                self.retired.lock().push(NodeId::from_text(&String::from_utf8_lossy(key)));
            }
        }
    }

    /// The new certificate of this node in the writes on the table of endorsed certificates.
    fn own_certificate(&self, writes: &MapWrites) -> Option<String> {
        let pem = writes.get(self.facts.node_id.as_str().as_bytes())??;
        String::from_utf8(pem.to_vec()).ok()
    }

    /// A rekey sends every node the new ledger secret: it applies from the next transaction on.
    fn install_secret(&self, context: &mut HookContext<'_>, writes: &MapWrites) {
        let Some(Some(value)) = writes.get(&UNIT) else {
            return;
        };
        let seqno = context.tx_id().seqno;
        match self.own_secret(value) {
            Ok(Some(raw)) => {
                let secret = Arc::new(LedgerSecret::new(&raw, seqno.next(), Some(seqno)));
                if let Err(error) = self.secrets.write().add(Arc::clone(&secret)) {
                    tracing::error!(
                        "The ledger secret written at {seqno} contradicts a known one: {error}. Exiting."
                    );
                    std::process::abort();
                }
                context.set_context(secret);
            }
            Ok(None) => {}
            Err(reason) => {
                // Going on would encrypt with a secret that nobody else uses.
                tracing::error!(
                    "The ledger secret sent to this node at {seqno} cannot be used: {reason}. Exiting."
                );
                std::process::abort();
            }
        }
    }

    /// The new secret for this node in a value of the table; none if it has only secrets of the past.
    fn own_secret(&self, value: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, String> {
        let secrets: EncryptedSecrets = serde_json::from_slice(value).map_err(|e| e.to_string())?;
        let newest = secrets.get(&self.facts.node_id).and_then(|own| own.last());
        let Some(newest) = newest.filter(|secret| secret.version.is_none()) else {
            return Ok(None);
        };
        let raw =
            self.encryption_key.oaep_decrypt(&[], &newest.encrypted_secret.0).map_err(|e| e.to_string())?;
        let raw: [u8; 32] = raw.as_slice().try_into().map_err(|_| "not 32 bytes".to_owned())?;
        Ok(Some(Zeroizing::new(raw)))
    }

    /// The service has endorsed this node for good.
    fn endorsed(&self, pem: &str) {
        if let Err(error) = self.server.present(Authority::Service, pem, &self.node_key) {
            tracing::warn!("The endorsed certificate cannot be used for TLS: {error}");
            return;
        }
        if self.node.is_open(Frontend::Gov) {
            self.renew_self_signed(pem);
            self.show_peers(pem);
        }
        self.node.frontends.open(Frontend::Gov);
    }

    fn show_peers(&self, pem: &str) {
        let Some(service) = self.service.get() else { return };
        let shown = Certificate::from_pem(pem)
            .and_then(|own| Ok((own, Certificate::from_pem(&service.certificate)?)))
            .map_err(|error| error.to_string())
            .and_then(|(own, service)| {
                self.peers.set_identity(&self.node_key, own, service).map_err(|error| error.to_string())
            });
        if let Err(reason) = shown {
            tracing::warn!("The renewed certificate cannot be used towards other nodes: {reason}");
        }
    }

    /// A renewal of the endorsement renews the self-signed certificate too, with the same dates.
    fn renew_self_signed(&self, endorsed: &str) {
        let own = self.facts.self_signed_certificate.read().clone();
        let renewed = Certificate::from_pem(endorsed).and_then(|endorsed| {
            renew_self_signed(&Certificate::from_pem(&own)?, &self.node_key, &endorsed.validity())
        });
        match renewed.map(|certificate| certificate.to_pem()) {
            Ok(pem) => {
                if let Err(error) = self.server.present(Authority::Node, &pem, &self.node_key) {
                    tracing::warn!("The renewed self-signed certificate cannot be used for TLS: {error}");
                }
                *self.facts.self_signed_certificate.write() = pem;
            }
            Err(error) => tracing::warn!("The self-signed certificate cannot be renewed: {error}"),
        }
    }

    fn service_changed(&self, writes: &MapWrites) {
        let Some(Some(value)) = writes.get(&UNIT) else {
            return;
        };
        let Ok(info) = serde_json::from_slice::<ServiceInfo>(value) else {
            tracing::error!("The service's row in the store cannot be read");
            return;
        };
        let ours = Certificate::from_pem(&info.cert).is_ok_and(|certificate| {
            self.service.get().is_some_and(|own| certificate.spki_der() == own.key.public_key().spki_der())
        });
        if ours && info.status == ServiceStatus::Open && !self.node.is_open(Frontend::App) {
            tracing::info!("The service is open: the application serves its users");
            self.node.frontends.open(Frontend::App);
        }
    }
}
