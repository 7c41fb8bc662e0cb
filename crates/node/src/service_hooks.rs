//! What this node does when governance tables change for good (governance specification, section 8.4).

use crate::{http::Authority, interfaces::ServerHandle, node_facts::NodeFacts, node_view::RunningNode};
use ccf_crypto::{
    cert::{Certificate, renew_self_signed},
    key::EcKeyPair,
};
use ccf_endpoints::{Frontend, NodeView};
use ccf_governance::tables::{
    self,
    service::{ServiceInfo, ServiceStatus},
};
use ccf_kv::{MapWrites, Store, UNIT};
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
    let service = Arc::clone(hooked);
    store.on_global(tables::SERVICE_INFO.name(), Arc::new(move |_, writes| service.service_changed(writes)));
}

impl Hooked {
    /// The new certificate of this node in the writes on the table of endorsed certificates.
    fn own_certificate(&self, writes: &MapWrites) -> Option<String> {
        let pem = writes.get(self.facts.node_id.as_str().as_bytes())??;
        String::from_utf8(pem.to_vec()).ok()
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
