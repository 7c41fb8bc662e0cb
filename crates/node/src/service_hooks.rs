//! What this node does when governance tables change for good (governance specification, section 8.4).

use crate::{
    http::Authority,
    interfaces::ServerHandle,
    log_hooks,
    node_facts::{NodeFacts, StartupState},
    node_view::RunningNode,
    peers::PeerNetwork,
    private_recovery::PrivateRecovery,
};
use ccf_crypto::{
    cert::{Certificate, renew_self_signed},
    cose::SignatureClaims,
    key::{EcKeyPair, RsaKeyPair},
};
use ccf_endpoints::{Frontend, NodeView};
use ccf_governance::{
    recovery::{SecretLinks, SecretsForNode},
    tables::{
        self,
        secrets::HistoricalSecret,
        service::{ServiceInfo, ServiceStatus},
    },
};
use ccf_kv::{HookContext, MapWrites, Store, UNIT};
use ccf_ledger::secrets::LedgerSecrets;
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
    /// The links between ledger secrets seen in the ledger.
    pub links: Arc<Mutex<SecretLinks>>,
    /// Reads the private ledger once the secrets of the time before a recovery are known.
    pub private_recovery: Arc<OnceLock<Arc<PrivateRecovery>>>,
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
    let restored = Arc::clone(hooked);
    store.on_global(
        tables::ENCRYPTED_LEDGER_SECRETS.name(),
        Arc::new(move |seqno, writes| restored.secrets_restored(seqno, writes)),
    );
    let chain = Arc::clone(hooked);
    store.on_local(
        tables::HISTORICAL_LEDGER_SECRET.name(),
        Arc::new(move |context, writes| chain.note_link(context, writes)),
    );
    store.on_local(tables::NODES.name(), Arc::new(log_hooks::reconfigure));
    let retirement = Arc::clone(hooked);
    store.on_global(tables::NODES.name(), Arc::new(move |_, writes| retirement.note_retired(writes)));
    let service = Arc::clone(hooked);
    store.on_global(tables::SERVICE_INFO.name(), Arc::new(move |_, writes| service.service_changed(writes)));
}

impl Hooked {
    fn note_retired(&self, writes: &MapWrites) {
        self.retired.lock().extend(log_hooks::retired_rows(writes));
    }

    /// The new certificate of this node in the writes on the table of endorsed certificates.
    fn own_certificate(&self, writes: &MapWrites) -> Option<String> {
        let pem = writes.get(self.facts.node_id.as_str().as_bytes())??;
        String::from_utf8(pem.to_vec()).ok()
    }

    /// A rekey sends every node the new ledger secret: it applies from the next transaction on.
    fn install_secret(&self, context: &mut HookContext<'_>, writes: &MapWrites) {
        let sent = self.own_secrets(context.tx_id().seqno, writes);
        log_hooks::install_secret(context, sent, &self.secrets);
    }

    /// The members have restored the secrets of the time before a recovery.
    fn secrets_restored(&self, seqno: SeqNo, writes: &MapWrites) {
        if self.facts.state() != StartupState::PartOfPublicNetwork {
            return;
        }
        if let SecretsForNode::Restored(restored) = self.own_secrets(seqno, writes)
            && let Some(recovery) = self.private_recovery.get()
        {
            PrivateRecovery::begin(recovery, restored, seqno);
        }
    }

    /// Whether secrets in an entry of the primary are such that the hooks can take them.
    pub(crate) fn check_secrets(&self, seqno: SeqNo, writes: &MapWrites) -> Result<(), String> {
        log_hooks::check_secrets(seqno, writes, &self.facts.node_id, &self.encryption_key, &self.secrets)
    }

    /// What the writes on the table of secrets hold for this node.
    fn own_secrets(&self, seqno: SeqNo, writes: &MapWrites) -> SecretsForNode {
        log_hooks::secrets_sent(seqno, writes, &self.facts.node_id, &self.encryption_key)
    }

    /// A ledger secret was stored under its successor.
    fn note_link(&self, context: &mut HookContext<'_>, writes: &MapWrites) {
        let Some(Some(value)) = writes.get(&UNIT) else { return };
        let seqno = context.tx_id().seqno;
        let link: HistoricalSecret = match serde_json::from_slice(value) {
            Ok(link) => link,
            Err(error) => {
                tracing::error!("The stored ledger secret written at {seqno} cannot be read: {error}");
                return;
            }
        };
        // The end of a recovery stores the last secret of the time before.
        if let (Some(from), Some(_)) = (link.next_version, &link.previous_ledger_secret)
            && let Some(linked) = self.secrets.write().link(from, seqno)
        {
            context.set_context(linked);
        }
        self.links.lock().observe(seqno, link);
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
            // Chunks that were marked as those of a recovery become ordinary ones.
            self.node.inbox.finish_recovery();
            tracing::info!("The service is open: the application serves its users");
            self.node.frontends.open(Frontend::App);
        }
    }
}
