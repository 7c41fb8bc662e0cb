//! From configured interfaces to listening ones: addresses, rules, certificates.

use crate::{
    config::{self, Config, OperatorFeature, RpcInterface},
    http::{
        AppProtocol, Authority, BindError, Interface, InterfaceSettings, RequestHandler, Server,
        ServerSettings, SessionMetrics, SizeLimit, StartError, TlsIdentity, TlsIdentityError,
    },
    output_files,
};
use ccf_crypto::key::{EcKeyPair, KeyError};
use ccf_endpoints::{AcceptedEndpoints, InterfaceRules, InvalidPattern, OperatorFeature as RuleFeature};
use ccf_governance::tables::node::NetInterface;
use parking_lot::RwLock;
use std::{collections::BTreeMap, net::TcpListener, sync::Arc, time::Duration};

/// How long sessions may take to end when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Why the interfaces cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The threads.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A pattern of accepted endpoints, with the name of the interface.
    #[error("network.rpc_interfaces.{0}.accepted_endpoints: {1}")]
    Pattern(String, InvalidPattern),
    /// A certificate.
    #[error("TLS certificate: {0}")]
    Certificate(#[from] TlsIdentityError),
    /// A key.
    #[error("TLS key: {0}")]
    Key(#[from] KeyError),
    /// An interface as the nodes table stores it.
    #[error("interface {0} cannot be stored: {1}")]
    Row(String, serde_json::Error),
}

/// Interfaces that listen, with the addresses they got.
pub(crate) struct BoundInterfaces {
    listening: Vec<Interface>,
    node_listener: TcpListener,
    node_row: NetInterface,
    rpc_rows: BTreeMap<String, NetInterface>,
    rules: Vec<InterfaceRules>,
}

/// Listens on every configured address.
///
/// # Errors
/// [`InterfaceError`] names the interface that cannot.
pub(crate) fn bind(config: &Config) -> Result<BoundInterfaces, InterfaceError> {
    let node = &config.network.node_to_node_interface;
    let bind_error = |error| BindError {
        interface: "node_to_node_interface".into(),
        address: node.bind_address.clone(),
        error,
    };
    let node_listener = TcpListener::bind(&node.bind_address).map_err(bind_error)?;
    let node_address = node_listener.local_addr().map_err(bind_error)?;
    let bound = output_files::resolved(&node.bind_address, node_address);
    let published = published(node.published_address.as_deref(), &bound);
    let node_row = NetInterface::at(&bound, &published);

    let mut all = BoundInterfaces {
        listening: Vec::new(),
        node_listener,
        node_row,
        rpc_rows: BTreeMap::new(),
        rules: Vec::new(),
    };
    for (name, interface) in &config.network.rpc_interfaces {
        let listening = Interface::bind(settings(name, interface), &interface.bind_address)?;
        let bound = output_files::resolved(&interface.bind_address, listening.address());
        tracing::info!("Registered RPC interface {name}, on tcp {bound}");
        if interface.authority() == config::Authority::Acme {
            tracing::warn!(
                "RPC interface {name} has the authority ACME, for which no certificate is ever got: no client can \
                 connect to it"
            );
        }
        let row = |value: Result<serde_json::Value, serde_json::Error>| {
            value
                .and_then(serde_json::from_value::<NetInterface>)
                .map_err(|e| InterfaceError::Row(name.clone(), e))
        };
        let mut row = row(serde_json::to_value(interface))?;
        row.published_address = Some(self::published(interface.published_address.as_deref(), &bound));
        row.bind_address = bound;
        all.rpc_rows.insert(name.clone(), row);
        all.rules.push(rules(name, interface)?);
        all.listening.push(listening);
    }
    Ok(all)
}

/// As configured, with the bound port in the place of port 0; the bound address if nothing is configured.
fn published(configured: Option<&str>, bound: &str) -> String {
    match configured {
        None | Some("") => bound.to_owned(),
        Some(address) => match (address.strip_suffix(":0"), bound.rsplit_once(':')) {
            (Some(host), Some((_, port))) => format!("{host}:{port}"),
            _ => address.to_owned(),
        },
    }
}

fn settings(name: &str, interface: &RpcInterface) -> InterfaceSettings {
    let default = InterfaceSettings::new(name);
    let http = interface.http_configuration.clone().unwrap_or_default();
    let limit = |given: Option<config::SizeText>, default: SizeLimit| {
        given.map_or(default, |size| SizeLimit::new(size.len(), size.as_str()))
    };
    let bytes = |given: Option<config::SizeText>, default: u32| {
        given.map_or(default, |size| u32::try_from(size.bytes()).unwrap_or(u32::MAX))
    };
    InterfaceSettings {
        protocol: if interface.app_protocol() == "HTTP2" { AppProtocol::Http2 } else { AppProtocol::Http1 },
        authority: match interface.authority() {
            config::Authority::Node => Authority::Node,
            config::Authority::Service => Authority::Service,
            config::Authority::Acme => Authority::Acme,
            config::Authority::Unsecured => Authority::Unsecured,
        },
        max_open_sessions_soft: interface.max_open_sessions_soft.unwrap_or(default.max_open_sessions_soft),
        max_open_sessions_hard: interface.max_open_sessions_hard.unwrap_or(default.max_open_sessions_hard),
        max_body_size: limit(http.max_body_size, default.max_body_size),
        max_header_size: limit(http.max_header_size, default.max_header_size),
        max_headers_count: http.max_headers_count.map_or(default.max_headers_count, |n| n as usize),
        max_concurrent_streams_count: http
            .max_concurrent_streams_count
            .unwrap_or(default.max_concurrent_streams_count),
        initial_window_size: bytes(http.initial_window_size, default.initial_window_size),
        max_frame_size: bytes(http.max_frame_size, default.max_frame_size),
        name: default.name,
    }
}

fn rules(name: &str, interface: &RpcInterface) -> Result<InterfaceRules, InterfaceError> {
    let unsecured = interface.authority() == config::Authority::Unsecured;
    let patterns = match &interface.accepted_endpoints {
        Some(patterns) => Some(patterns.as_slice()),
        // Without TLS only what is named is served.
        None if unsecured => Some(&[][..]),
        None => None,
    };
    let compiled = patterns.map(AcceptedEndpoints::new).transpose();
    let accepted_endpoints = compiled.map_err(|error| InterfaceError::Pattern(name.to_owned(), error))?;
    let features = interface.enabled_operator_features.iter().map(|feature| match feature {
        OperatorFeature::SnapshotRead => RuleFeature::SnapshotRead,
        OperatorFeature::LedgerChunkRead => RuleFeature::LedgerChunkRead,
        OperatorFeature::SnapshotCreate => RuleFeature::SnapshotCreate,
    });
    Ok(InterfaceRules {
        name: name.to_owned(),
        accepted_endpoints,
        redirects: interface.redirections.is_some(),
        operator_features: features.collect(),
    })
}

impl BoundInterfaces {
    /// The bound node-to-node address.
    #[must_use]
    pub(crate) fn node_address(&self) -> String {
        self.node_row.bind_address.clone()
    }

    /// The bound address of each RPC interface.
    #[must_use]
    pub(crate) fn rpc_addresses(&self) -> BTreeMap<String, String> {
        self.rpc_rows.iter().map(|(name, row)| (name.clone(), row.bind_address.clone())).collect()
    }

    /// Published addresses of the RPC interfaces, by name.
    #[must_use]
    pub(crate) fn published_addresses(&self) -> Vec<String> {
        self.rpc_rows.values().map(|row| row.published().to_owned()).collect()
    }

    /// The node-to-node interface as the nodes table stores it.
    #[must_use]
    pub(crate) fn node_interface(&self) -> &NetInterface {
        &self.node_row
    }

    /// The RPC interfaces as the nodes table stores them.
    #[must_use]
    pub(crate) fn rpc_interfaces(&self) -> &BTreeMap<String, NetInterface> {
        &self.rpc_rows
    }

    /// The listening end of the node-to-node interface.
    ///
    /// # Errors
    /// If the system refuses a second handle.
    pub(crate) fn node_listener(&self) -> std::io::Result<TcpListener> {
        self.node_listener.try_clone()
    }

    /// Takes the rules of the interfaces, for the request handler.
    pub(crate) fn take_rules(&mut self) -> Vec<InterfaceRules> {
        std::mem::take(&mut self.rules)
    }

    /// Starts serving.
    ///
    /// # Errors
    /// [`InterfaceError`] if threads cannot be started.
    pub(crate) fn serve<H: RequestHandler>(
        self,
        config: &Config,
        handler: &Arc<H>,
    ) -> Result<ServerHandle, InterfaceError> {
        let default = ServerSettings::default();
        let settings = ServerSettings {
            workers: if config.worker_threads == 0 { default.workers } else { config.worker_threads },
            idle_timeout: config.idle_connection_timeout.as_ref().map(config::TimeText::duration),
        };
        let server = Server::start(&settings, self.listening, handler)?;
        Ok(ServerHandle(Arc::new(Inner { server: RwLock::new(Some(server)) })))
    }
}

/// The running server, shared with hooks and endpoints until the node stops.
#[derive(Clone)]
pub(crate) struct ServerHandle(Arc<Inner>);

struct Inner {
    server: RwLock<Option<Server>>,
}

impl ServerHandle {
    /// Session counters; `None` once stopped.
    #[must_use]
    pub(crate) fn metrics(&self) -> Option<SessionMetrics> {
        self.0.server.read().as_ref().map(Server::metrics)
    }

    /// Presents a certificate, whose key is `key`, on all interfaces of an authority.
    ///
    /// # Errors
    /// [`InterfaceError`] if it cannot be used.
    pub(crate) fn present(
        &self,
        authority: Authority,
        certificate_pem: &str,
        key: &EcKeyPair,
    ) -> Result<(), InterfaceError> {
        let identity = TlsIdentity::from_pem(certificate_pem, &key.to_pkcs8_pem()?)?;
        if let Some(server) = &*self.0.server.read() {
            server.set_certificate(authority, &identity)?;
        }
        Ok(())
    }

    /// Stops serving: complete requests are answered, sessions closed, threads ended.
    pub(crate) fn stop(&self) {
        let server = self.0.server.write().take();
        if let Some(server) = server {
            server.stop(STOP_GRACE);
        }
    }
}
