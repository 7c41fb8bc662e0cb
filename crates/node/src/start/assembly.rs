//! What every node has before it is part of a service: addresses, keys, an empty store, a server that answers `/node`.

use super::{INDEX_DIRECTORY, StartError, TRANSACTION_BYTES_MAX, make_directories, running::RunningService};
use crate::{
    application::{Application, ApplicationContext, script_console},
    backpressure::Backpressure,
    config::{Config, TimeText},
    files_cleanup::FilesCleanup,
    forwarding::{ForwardedWork, Forwarder},
    governance_host::GovernanceHost,
    historical::{FetchParts, Fetcher, Historical, RecentEntries},
    housekeeping::Housekeeping,
    http::Authority,
    identity::NodeIdentity,
    indexing::Indexes,
    interfaces::{self, BoundInterfaces, ServerHandle},
    node_endpoints,
    node_facts::NodeFacts,
    node_view::{OpenFrontends, RunningNode},
    output_files,
    peers::{PeerNetwork, PeerSettings},
    platform,
    private_recovery::PrivateRecovery,
    recovery_decision::DecisionSlot,
    redirections::Redirections,
    replication::{
        Beginning, DiskProgress, Inbox, LogParts, Moment, NodeSigner, Replicator, ReplicatorParts,
        disk::Disk,
        policy::SignaturePolicy,
        status::{ReplicationStatus, Term},
    },
    request_handler::Requests,
    sealing::Sealing,
    service_hooks::{self, Hooked, KnownService},
    snapshots::{SnapshotHost, SnapshotSettings, Snapshots, StartupSnapshot, backup_fetch},
};
use ccf_consensus::Settings;
use ccf_crypto::{
    cert::{Certificate, SigningRequest, Validity},
    key::EcKeyPair,
    random,
};
use ccf_endpoints::{Dispatcher, Frontend, Registry, openapi::ApiInfo};
use ccf_governance::{
    Governance,
    join::NodeMembership,
    recovery::SecretLinks,
    tables::node::{NodeInfo, NodeStatus, QuoteInfo},
};
use ccf_js::GovernanceScripts;
use ccf_kv::Store;
use ccf_ledger::{
    files::{LedgerWriter, Notice},
    merkle::MerkleTree,
    secrets::LedgerSecrets,
    signature::SigningMode,
};
use ccf_types::{NodeId, SeqNo};
use parking_lot::{Mutex, RwLock};
use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::running::{Chores, DiskReports, Links, PeerInbox, Reports};

/// A node that listens and waits for its service.
pub(crate) struct Assembly<'a> {
    pub(super) config: &'a Config,
    pub(super) started_at: OffsetDateTime,
    pub(super) node_id: NodeId,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) node: Arc<RunningNode>,
    pub(super) store: Store,
    pub(super) secrets: Arc<RwLock<LedgerSecrets>>,
    /// Judges ledger secrets before they are applied.
    hooked: Arc<Hooked>,
    pub(super) public_only: Arc<AtomicBool>,
    pub(super) node_key: Arc<EcKeyPair>,
    pub(super) signing_request: SigningRequest,
    pub(super) validity: Validity,
    /// This node's row as it asks for it.
    pub(super) row: NodeInfo,
    pub(super) app_name: &'static str,
    pub(super) server: ServerHandle,
    pub(super) peers: PeerNetwork,
    pub(super) writer: LedgerWriter,
    pub(super) notices: Vec<Notice>,
    service: Arc<OnceLock<KnownService>>,
    endorsed_certificate: Arc<RwLock<String>>,
    pub(super) links: Arc<Mutex<SecretLinks>>,
    private_recovery: Arc<OnceLock<Arc<PrivateRecovery>>>,
    pub(super) host: Arc<GovernanceHost>,
    forwarder: Arc<Forwarder>,
    pub(super) sealing: Option<Arc<Sealing>>,
    retired: Arc<Mutex<Vec<NodeId>>>,
    snapshots: Arc<OnceLock<Arc<Snapshots>>>,
    /// Where the endpoints look for a recovery decision.
    pub(super) decision: DecisionSlot,
    failed: mpsc::UnboundedSender<String>,
    failures: mpsc::UnboundedReceiver<String>,
}

impl<'a> Assembly<'a> {
    /// Binds addresses, makes keys, and serves `/node`.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) fn new(
        config: &'a Config,
        application: &Application,
        node_data: Option<serde_json::Value>,
    ) -> Result<Assembly<'a>, StartError> {
        let started_at = OffsetDateTime::now_utc();
        let (failed, failures) = mpsc::unbounded_channel();
        let mut notices: Vec<Notice> = Vec::new();
        let writer =
            LedgerWriter::open(&config.ledger.directory, &config.ledger.read_only_directories, &mut notices)?;
        make_directories(config)?;
        let mut bound = interfaces::bind(config)?;
        output_files::write_node_address(
            &config.output_files.node_to_node_address_file,
            &bound.node_address(),
        )?;
        output_files::write_rpc_addresses(&config.output_files.rpc_addresses_file, &bound.rpc_addresses())?;

        let published = bound.published_addresses();
        let published: Vec<&str> = published.iter().map(String::as_str).collect();
        let identity = NodeIdentity::create(&config.node_certificate, &published, started_at)?;
        let executable = platform::executable_digest()?;
        let quote = platform::virtual_evidence(Path::new("."), &executable, identity.key.public_key().id())?;
        let node_id = identity.node_id();
        let row = node_row(&identity, &bound, &quote, node_data.clone());
        let facts = Arc::new(NodeFacts::new(
            node_id.clone(),
            quote,
            row.code_digest.clone().unwrap_or_default(),
            bound.rpc_interfaces().clone(),
            node_data,
            identity.certificate.to_pem(),
        ));

        let store = Store::new();
        let inbox = Arc::new(Inbox::default());
        let status = Arc::new(ReplicationStatus::new(Term::unstarted()));
        let uncommitted_max = config.consensus.max_uncommitted_tx_count;
        let backpressure = Backpressure::new(uncommitted_max, store.clone(), Arc::clone(&status));
        let node = Arc::new(RunningNode {
            store: store.clone(),
            status,
            inbox: Arc::clone(&inbox),
            frontends: OpenFrontends::default(),
            backpressure: Arc::new(backpressure),
            transaction_bytes_max: config.ledger.max_transaction_size.len().min(TRANSACTION_BYTES_MAX),
            redirections: Redirections::new(config, node_id.clone()),
            historical: OnceLock::new(),
            indexes: Indexes::new(Path::new(INDEX_DIRECTORY))?,
        });
        node.frontends.open(Frontend::Node);
        let forwarder = Arc::new(Forwarder::default());
        let work = ForwardedWork::new();
        let events =
            PeerInbox { inbox: Arc::clone(&inbox), work: work.clone(), forwarder: Arc::clone(&forwarder) };
        let peers = PeerNetwork::start(
            peer_settings(config),
            bound.node_listener()?,
            node_id.clone(),
            Arc::new(events),
        )?;
        forwarder.connect(peers.clone());
        // Set once, here.
        let _ = facts.peers.set(peers.clone());

        let node_key = Arc::new(identity.key);
        let service = Arc::new(OnceLock::new());
        let endorsed_certificate = Arc::new(RwLock::new(String::new()));
        let secrets = Arc::new(RwLock::new(LedgerSecrets::default()));
        let retired = Arc::new(Mutex::new(Vec::new()));
        let snapshots = Arc::new(OnceLock::new());
        let links = Arc::new(Mutex::new(SecretLinks::default()));
        let private_recovery = Arc::new(OnceLock::new());
        let sealing = config.sealing_recovery.as_ref().map(Sealing::new).transpose()?.map(Arc::new);
        let host = Arc::new(GovernanceHost {
            facts: Arc::clone(&facts),
            node: Arc::clone(&node),
            service: Arc::clone(&service),
            secrets: Arc::clone(&secrets),
            links: Arc::clone(&links),
            snapshots: Arc::clone(&snapshots),
            sealing: sealing.clone(),
            pending_node_timeout_ms: millis(&config.pending_node_timeout),
        });
        let app_name = application.name;
        let app = (application.endpoints)(&ApplicationContext {
            node_id: &node_id,
            store: &store,
            indexing: &*node.indexes,
        })
        .map_err(|reason| StartError::Application { name: app_name, reason })?;
        let internal = |reason: String| StartError::Application { name: "node", reason };
        let mut gov = Registry::new(Frontend::Gov);
        gov.set_info(ApiInfo {
            title: "CCF Governance API".to_owned(),
            description: "Members, proposals, and the state they govern.".to_owned(),
            version: "4.6.1".to_owned(),
        });
        let membership = Arc::clone(&host) as Arc<dyn NodeMembership>;
        let governance =
            Arc::new(Governance::new(Arc::clone(&host) as _, GovernanceScripts::new(script_console())));
        governance.install(&mut gov).map_err(|e| internal(e.to_string()))?;
        let directories = node_endpoints::FileDirectories {
            ledger: config.ledger.directory.clone(),
            snapshots: config.snapshots.directory.clone(),
            reader: writer.reader(),
        };
        let mut node_api =
            node_endpoints::registry(&facts, &node, &directories).map_err(|e| internal(e.to_string()))?;
        node_endpoints::membership::install(&mut node_api, &membership)
            .map_err(|e| internal(e.to_string()))?;
        let decision = DecisionSlot::default();
        node_endpoints::recovery_decision::install(&mut node_api, &decision)
            .map_err(|e| internal(e.to_string()))?;
        let dispatcher = Dispatcher::new(store.clone(), Arc::clone(&node) as _, app, gov, node_api);
        let rules = bound.take_rules();
        let requests =
            Arc::new(Requests::new(dispatcher, Arc::clone(&node), rules, Arc::clone(&forwarder), config));
        work.start(config.worker_threads, &requests, &node, &peers)?;
        let server = bound.serve(config, &requests)?;
        // Set once, here.
        let _ = facts.server.set(server.clone());
        server.present(Authority::Node, &facts.self_signed_certificate.read(), &node_key)?;
        let hooked = Hooked {
            node: Arc::clone(&node),
            facts: Arc::clone(&facts),
            server: server.clone(),
            peers: peers.clone(),
            node_key: Arc::clone(&node_key),
            encryption_key: identity.encryption_key,
            service: Arc::clone(&service),
            endorsed_certificate: Arc::clone(&endorsed_certificate),
            secrets: Arc::clone(&secrets),
            links: Arc::clone(&links),
            private_recovery: Arc::clone(&private_recovery),
            retired: Arc::clone(&retired),
        };
        let hooked = Arc::new(hooked);
        service_hooks::install(&store, &hooked);

        Ok(Assembly {
            config,
            started_at,
            node_id,
            facts,
            node,
            store,
            secrets,
            hooked,
            public_only: Arc::new(AtomicBool::new(false)),
            node_key,
            signing_request: identity.signing_request,
            validity: identity.certificate.validity(),
            row,
            app_name,
            server,
            peers,
            writer,
            notices,
            service,
            endorsed_certificate,
            links,
            private_recovery,
            host,
            forwarder,
            sealing,
            retired,
            snapshots,
            decision,
            failed,
            failures,
        })
    }

    /// Writes the file by which operators learn that the node listens.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) fn announce(&self) -> Result<(), StartError> {
        let certificate_file = &self.config.output_files.node_certificate_file;
        output_files::write(certificate_file, self.facts.self_signed_certificate.read().as_bytes())?;
        tracing::info!("Output self-signed node certificate to {}", certificate_file.display());
        for notice in &self.notices {
            tracing::info!("Ledger directory: {notice}");
        }
        Ok(())
    }

    /// The node belongs to a service from now on: replication begins. `endorsed` is the node's certificate by the service.
    ///
    /// # Errors
    /// [`StartError`].
    #[expect(clippy::needless_pass_by_value, reason = "the certificate is given away")]
    pub(super) fn begin(
        self,
        service: KnownService,
        endorsed: String,
        tree: MerkleTree,
        beginning: Beginning,
        snapshot: Option<StartupSnapshot>,
    ) -> Result<(RunningService, Replicator), StartError> {
        *self.endorsed_certificate.write() = endorsed.clone();
        let (service_key, claims) = (Arc::clone(&service.key), service.claims.clone());
        self.peers
            .set_identity(
                &self.node_key,
                Certificate::from_pem(&endorsed).map_err(crate::identity::IdentityError::from)?,
                Certificate::from_pem(&service.certificate).map_err(crate::identity::IdentityError::from)?,
            )
            .map_err(|error| StartError::Peers(error.to_string()))?;
        // A node joins or starts once.
        let _ = self.service.set(service);
        let config = self.config;
        let startup_seqno = SeqNo(self.facts.startup_seqno.load(Ordering::Acquire));
        let settings = SnapshotSettings::new(&config.snapshots);
        let host = Arc::clone(&self.node) as Arc<dyn SnapshotHost>;
        let snapshots = Snapshots::start(settings, startup_seqno, &self.store, host)?;
        backup_fetch::start(&config.snapshots, &self.store, &self.node.status)?;
        // A node begins once.
        let _ = self.snapshots.set(Arc::clone(&snapshots));
        let inbox = Arc::clone(&self.node.inbox);
        let progress = Arc::new(DiskProgress::default());
        let reports = DiskReports {
            progress: Arc::clone(&progress),
            inbox: Arc::clone(&inbox),
            status: Arc::clone(&self.node.status),
            failures: self.failed.clone(),
        };
        let reader = self.writer.reader();
        let recent = Arc::new(RecentEntries::default());
        let past = FetchParts {
            reader: reader.clone(),
            secrets: Arc::clone(&self.secrets),
            status: Arc::clone(&self.node.status),
            store: self.store.clone(),
            service_key: {
                let service = Arc::clone(&self.service);
                Box::new(move || service.get().map(|service| Arc::clone(&service.key)))
            },
            threads: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().min(HISTORICAL_THREADS_MAX)),
        };
        let cache_limit = config.historical_cache_soft_limit.bytes();
        let fetcher = Arc::new(Fetcher::new(past));
        self.node.indexes.start(Arc::clone(&fetcher))?;
        let past = Historical::start(fetcher, Arc::clone(&recent), cache_limit)?;
        // A node begins once.
        let _ = self.node.historical.set(past);
        let disk = Disk::start(self.writer, Arc::new(reports))?;
        let signatures = &config.ledger_signatures;
        let (chores, chores_begin) = Chores::start()?;
        let recovery = Arc::new(PrivateRecovery {
            facts: Arc::clone(&self.facts),
            node: Arc::clone(&self.node),
            host: self.host,
            secrets: Arc::clone(&self.secrets),
            public_only: Arc::clone(&self.public_only),
            reader: reader.clone(),
            chunk_bytes: config.ledger.chunk_size.bytes(),
            snapshot,
            snapshots: Arc::clone(&snapshots),
            failed: self.failed.clone(),
        });
        snapshots.set_enabled(!self.public_only.load(Ordering::Acquire));
        // A node begins once.
        let _ = self.private_recovery.set(Arc::clone(&recovery));
        let parts = ReplicatorParts {
            node_id: self.node_id.clone(),
            settings: timers(config)?,
            tick: config.tick_interval.duration(),
            inbox: Arc::clone(&inbox),
            status: Arc::clone(&self.node.status),
            signer: NodeSigner {
                node_id: self.node_id,
                node_key: self.node_key,
                endorsed_certificate: self.endorsed_certificate,
                service_key,
                claims,
                mode: SigningMode::Dual,
            },
            policy: SignaturePolicy::new(
                signatures.tx_count,
                signatures.delay.duration(),
                signatures.max_per_second,
            ),
            log: LogParts {
                store: self.store,
                secrets: self.secrets,
                check_secrets: {
                    let hooked = self.hooked;
                    Box::new(move |seqno, writes| hooked.check_secrets(seqno, writes))
                },
                links: self.links,
                retired: self.retired,
                public_only: self.public_only,
                disk: Box::new(disk),
                reader,
                tree,
                chunk_bytes: config.ledger.chunk_size.bytes(),
                snapshots: Arc::clone(&snapshots),
                recent,
            },
            progress,
            links: Box::new(Links(self.peers.clone())),
            events: Box::new(Reports {
                node: Arc::clone(&self.node),
                recovery,
                chores,
                forwarder: self.forwarder,
            }),
        };
        let replicator = Replicator::begin(parts, beginning, Moment::now());
        let pending_timeout = millis(&config.pending_node_timeout);
        let housekeeping =
            Housekeeping::start(Arc::clone(&self.facts), Arc::clone(&self.node), pending_timeout)?;
        let service = RunningService {
            facts: self.facts,
            node: Arc::clone(&self.node),
            inbox,
            server: self.server,
            peers: self.peers,
            snapshots,
            _cleanup: FilesCleanup::start(config, &self.node)?,
            _housekeeping: housekeeping,
            chores_begin: Some(chores_begin),
            replication: None,
            decision: None,
            instead: None,
            failed: self.failed,
            failures: self.failures,
        };
        Ok((service, replicator))
    }
}

/// Threads that decode the entries of one historical query: requests should not starve beside it.
const HISTORICAL_THREADS_MAX: usize = 4;

fn millis(text: &TimeText) -> u64 {
    u64::try_from(text.duration().as_millis()).unwrap_or(u64::MAX)
}

/// Timers of consensus, with a random part that differs from node to node.
fn timers(config: &Config) -> Result<Settings, StartError> {
    Ok(Settings {
        message_timeout_ms: millis(&config.consensus.message_timeout),
        election_timeout_ms: millis(&config.consensus.election_timeout),
        wait_for_disk: true,
        seed: u64::from_le_bytes(random::bytes()?),
        ..Settings::default()
    })
}

fn peer_settings(config: &Config) -> PeerSettings {
    PeerSettings {
        message_limit: config.node_to_node_message_limit,
        election_timeout: config.consensus.election_timeout.duration(),
        connection_timeout: config.client_connection_timeout.duration(),
        client_interface: config.node_client_interface.clone(),
    }
}

fn node_row(
    identity: &NodeIdentity,
    bound: &BoundInterfaces,
    quote: &QuoteInfo,
    node_data: Option<serde_json::Value>,
) -> NodeInfo {
    NodeInfo {
        cert: None,
        certificate_signing_request: Some(identity.signing_request.to_pem()),
        code_digest: Some(hex::encode(ccf_attestation::VIRTUAL_MEASUREMENT)),
        encryption_pub_key: identity.encryption_key.public_key().to_pem(),
        ledger_secret_seqno: None,
        node_data,
        node_to_node_interface: bound.node_interface().clone(),
        pending_last_seen: None,
        public_key: Some(identity.key.public_key().to_pem()),
        quote_info: quote.clone(),
        retired_committed: false,
        rpc_interfaces: bound.rpc_interfaces().clone(),
        status: NodeStatus::Trusted,
    }
}
