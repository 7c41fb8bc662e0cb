//! What this node does when governance tables change for good (governance specification, section 8.4).

use crate::{http::Authority, interfaces::ServerHandle, node_facts::NodeFacts, node_view::RunningNode};
use ccf_crypto::{
    Zeroizing,
    cert::{Certificate, renew_self_signed},
    key::{EcKeyPair, RsaKeyPair},
};
use ccf_endpoints::{Frontend, NodeView};
use ccf_governance::tables::{
    self,
    secrets::EncryptedSecrets,
    service::{ServiceInfo, ServiceStatus},
};
use ccf_kv::{HookContext, MapWrites, Store, UNIT};
use ccf_ledger::secrets::LedgerSecret;
use parking_lot::RwLock;
use std::sync::Arc;

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
    /// The service's key.
    pub service_key: Arc<EcKeyPair>,
    /// The certificate that signatures carry.
    pub endorsed_certificate: Arc<RwLock<String>>,
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
    let service = Arc::clone(hooked);
    store.on_global(tables::SERVICE_INFO.name(), Arc::new(move |_, writes| service.service_changed(writes)));
}

impl Hooked {
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
                context.set_context(Arc::new(LedgerSecret::new(&raw, seqno.next(), Some(seqno))));
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
        }
        self.node.frontends.open(Frontend::Gov);
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
        let ours = Certificate::from_pem(&info.cert)
            .is_ok_and(|certificate| certificate.spki_der() == self.service_key.public_key().spki_der());
        if ours && info.status == ServiceStatus::Open && !self.node.is_open(Frontend::App) {
            tracing::info!("The service is open: the application serves its users");
            self.node.frontends.open(Frontend::App);
        }
    }
}
