//! Starting a new service on this node (node specification, sections 1.3 and 8) and stopping it again.

use crate::{
    application::{Application, ApplicationContext, script_console},
    config::{Config, ConfigError, RecoveryRole, StartMember},
    disk::{Disk, DiskEvents},
    governance_host::GovernanceHost,
    http::Authority,
    identity::{IdentityError, NodeIdentity, ServiceIdentity},
    interfaces::{self, BoundInterfaces, InterfaceError, ServerHandle},
    node_endpoints,
    node_facts::NodeFacts,
    node_view::{OpenFrontends, RunningNode},
    output_files::{self, FileProblem},
    platform,
    replication_status::{ReplicationStatus, Term},
    request_handler::Requests,
    sequencer::{DiskProgress, Inbox, NodeSigner, Sequencer, SequencerParts, policy::SignaturePolicy},
    service_hooks::{self, Hooked},
};
use ccf_crypto::{cose::SignatureClaims, random::RandomError};
use ccf_endpoints::{Dispatcher, Frontend, Registry, Role, openapi::ApiInfo};
use ccf_governance::{
    Governance,
    genesis::{self, Genesis, GenesisError, InitialConfiguration, NewMember, OwnPlatform},
    tables::{
        member::RecoveryRole as TableRole,
        node::{NodeInfo, NodeStatus, QuoteInfo},
    },
};
use ccf_js::GovernanceScripts;
use ccf_kv::{CommitError, Store};
use ccf_ledger::{
    files::{FileError, LedgerWriter, Notice, require_fresh},
    secrets::LedgerSecret,
};
use ccf_types::{Digest, SeqNo, TxId, View};
use parking_lot::RwLock;
use std::{io, path::Path, sync::Arc, thread::JoinHandle};
use time::OffsetDateTime;
use tokio::sync::mpsc;

/// The most one transaction may write whatever the configuration says: what is committed must fit an entry.
const TRANSACTION_BYTES_MAX: usize = ccf_ledger::limits::SEALED_ENTRY_BYTES_MAX - 1024;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration cannot work.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A file named by the configuration.
    #[error("{0}")]
    File(#[from] FileProblem),
    /// The ledger directory.
    #[error("{0}")]
    Ledger(#[from] FileError),
    /// The ledger directories are not as a new service needs them.
    #[error("{0}")]
    NotFresh(String),
    /// Keys and certificates.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The contents of the first transaction.
    #[error("{0}")]
    Genesis(#[from] GenesisError),
    /// An interface.
    #[error("{0}")]
    Interface(#[from] InterfaceError),
    /// No random bytes.
    #[error("{0}")]
    Random(#[from] RandomError),
    /// The constitution.
    #[error("the constitution cannot be used: {0}")]
    Constitution(String),
    /// Nobody could govern the service.
    #[error("command.start.members names no member: nobody could open or govern the service")]
    NoMembers,
    /// The first transaction.
    #[error("the first transaction was refused: {0}")]
    Commit(#[from] CommitError),
    /// Data files of the operator.
    #[error("{path} is no JSON: {reason}")]
    Data {
        /// The file.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// The application.
    #[error("the application {name} cannot be installed: {reason}")]
    Application {
        /// Its name.
        name: &'static str,
        /// Its words.
        reason: String,
    },
    /// The operating system.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code of the process.
    #[must_use]
    pub(crate) fn exit_code(&self) -> i32 {
        use crate::command_line::exit;
        match self {
            StartError::Genesis(GenesisError::Threshold { .. }) | StartError::NotFresh(_) => exit::INVALID,
            StartError::File(FileProblem::Unreadable { .. }) => exit::MISSING_FILE,
            _ => exit::FAILED,
        }
    }
}

/// What was read and checked before anything is written or bound.
pub(crate) struct Prepared {
    members: Vec<NewMember>,
    constitution: String,
    node_data: Option<serde_json::Value>,
    service_data: Option<serde_json::Value>,
}

/// Reads the files the configuration names and checks what must hold before the node touches anything.
///
/// # Errors
/// [`StartError`].
pub(crate) fn prepare(config: &Config) -> Result<Prepared, StartError> {
    let start = config.command.start.clone().unwrap_or_default();
    let members = start.members.iter().map(read_member).collect::<Result<Vec<_>, _>>()?;
    genesis::recovery_threshold(start.service_configuration.recovery_threshold, &members)?;
    let texts = start
        .constitution_files
        .iter()
        .map(|path| output_files::read_text(path))
        .collect::<Result<Vec<_>, _>>()?;
    let constitution = texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    ccf_js::check_constitution(&constitution).map_err(StartError::Constitution)?;
    if members.is_empty() {
        return Err(StartError::NoMembers);
    }
    let node_data = config.node_data_json_file.as_deref().map(read_json).transpose()?.flatten();
    let service_data = config.service_data_json_file.as_deref().map(read_json).transpose()?.flatten();
    require_fresh(&config.ledger.directory, &config.ledger.read_only_directories)
        .map_err(|error| not_fresh(config, &error))?;
    Ok(Prepared { members, constitution, node_data, service_data })
}

/// The refusal in the words that operators' tools look for (node specification, section 4).
fn not_fresh(config: &Config, error: &FileError) -> StartError {
    let FileError::NotEmpty(directory) = error else {
        return StartError::NotFresh(error.to_string());
    };
    let shown = directory.display();
    StartError::NotFresh(if *directory == config.ledger.directory {
        format!("On start, ledger directory should not exist or be empty ({shown})")
    } else {
        format!("On start, read-only ledger directories should not exist or be empty ({shown})")
    })
}

/// Directories that exist while a node runs, used or not (node specification, section 1.3).
fn make_directories(config: &Config) -> Result<(), StartError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |reason| FileProblem::Unwritable { path, reason }
    };
    let snapshots = &config.snapshots.directory;
    std::fs::create_dir_all(snapshots).map_err(unwritable(snapshots))?;
    let index = Path::new(".index");
    if index.exists() {
        std::fs::remove_dir_all(index).map_err(unwritable(index))?;
    }
    std::fs::create_dir(index).map_err(unwritable(index))?;
    Ok(())
}

fn read_member(member: &StartMember) -> Result<NewMember, StartError> {
    let given = |path: &Option<std::path::PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let encryption_public_key =
        given(&member.encryption_public_key_file).map(|path| output_files::read_text(&path)).transpose()?;
    Ok(NewMember {
        certificate: output_files::read_text(&member.certificate_file)?,
        encryption_public_key,
        data: given(&member.data_json_file).map(|path| read_json(&path)).transpose()?.flatten(),
        recovery_role: member.recovery_role.map(|role| match role {
            RecoveryRole::NonParticipant => TableRole::NonParticipant,
            RecoveryRole::Participant => TableRole::Participant,
            RecoveryRole::Owner => TableRole::Owner,
        }),
    })
}

fn read_json(path: &Path) -> Result<Option<serde_json::Value>, StartError> {
    let text = output_files::read_text(path)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| StartError::Data { path: path.display().to_string(), reason: e.to_string() })
}

/// A running node.
pub(crate) struct RunningService {
    facts: Arc<NodeFacts>,
    inbox: Arc<Inbox>,
    server: ServerHandle,
    sequencer: Option<JoinHandle<()>>,
    failures: mpsc::UnboundedReceiver<String>,
}

/// Tells the sequencer how far the disk is, and the main thread if it fails.
struct DiskReports {
    progress: Arc<DiskProgress>,
    inbox: Arc<Inbox>,
    failures: mpsc::UnboundedSender<String>,
}

impl DiskEvents for DiskReports {
    fn written(&self, seqno: SeqNo, committable: bool) {
        self.progress.advance(seqno);
        if committable {
            self.inbox.wake();
        }
    }

    fn failed(&self, error: FileError) {
        // If the main thread is gone the process is ending anyway.
        let _ = self.failures.send(format!("Writing the ledger failed: {error}"));
    }
}

/// Starts a new service.
///
/// # Errors
/// [`StartError`]; the process should end with its exit code.
pub(crate) fn start(
    config: &Config,
    prepared: Prepared,
    application: Application,
) -> Result<RunningService, StartError> {
    let started_at = OffsetDateTime::now_utc();
    let (failed, failures) = mpsc::unbounded_channel();

    let mut notices: Vec<Notice> = Vec::new();
    let writer =
        LedgerWriter::open(&config.ledger.directory, &config.ledger.read_only_directories, &mut notices)?;
    make_directories(config)?;
    let mut bound = interfaces::bind(config)?;
    output_files::write_node_address(&config.output_files.node_to_node_address_file, &bound.node_address())?;
    output_files::write_rpc_addresses(&config.output_files.rpc_addresses_file, &bound.rpc_addresses())?;

    let member_count = prepared.members.len();
    let published = bound.published_addresses();
    let published: Vec<&str> = published.iter().map(String::as_str).collect();
    let identity = NodeIdentity::create(&config.node_certificate, &published, started_at)?;
    let service = ServiceIdentity::create(config, started_at)?;
    let executable = platform::executable_digest()?;
    let quote = platform::virtual_evidence(Path::new("."), &executable, identity.key.public_key().id())?;
    let node_id = identity.node_id();

    let store = Store::new();
    let secret = Arc::new(LedgerSecret::random(SeqNo(1), None)?);
    store.set_context(Arc::clone(&secret));
    let endorsed = service.endorse(&identity.signing_request, &identity.certificate.validity())?;
    let create_tx_id = TxId { view: View::FIRST, seqno: SeqNo(1) };
    let node_row = node_row(&identity, &bound, &quote, prepared.node_data.clone());
    let facts = Arc::new(NodeFacts::new(
        node_id.clone(),
        quote,
        node_row.code_digest.clone().unwrap_or_default(),
        bound.node_interface().clone(),
        bound.rpc_interfaces().clone(),
        prepared.node_data.clone(),
        identity.certificate.to_pem(),
    ));
    let genesis = Genesis {
        create_tx_id,
        service_cert: service.certificate.to_pem(),
        service_data: prepared.service_data.clone(),
        configuration: initial_configuration(config),
        constitution: prepared.constitution.clone(),
        members: prepared.members,
        node_id: node_id.clone(),
        node: node_row,
        node_endorsed_cert: endorsed.to_pem(),
        join_policy: OwnPlatform::Virtual {
            measurement: ccf_attestation::VIRTUAL_MEASUREMENT.to_owned(),
            host_data: executable.to_string(),
        },
    };
    let threshold = genesis::recovery_threshold(genesis.configuration.recovery_threshold, &genesis.members)?;
    tracing::info!(
        "Creating new node: new network (with {member_count} initial member(s) and {threshold} member(s) required for recovery)"
    );

    let history = vec![create_tx_id];
    let term = Term { view: View::FIRST, role: Role::Primary, primary: Some(node_id.clone()), history };
    let status = Arc::new(ReplicationStatus::new(term));
    let inbox = Arc::new(Inbox::default());
    let node = Arc::new(RunningNode {
        store: store.clone(),
        status: Arc::clone(&status),
        inbox: Arc::clone(&inbox),
        frontends: OpenFrontends::default(),
        max_uncommitted: config.consensus.max_uncommitted_tx_count,
        transaction_bytes_max: config.ledger.max_transaction_size.len().min(TRANSACTION_BYTES_MAX),
    });
    node.frontends.open(Frontend::Node);

    let node_key = Arc::new(identity.key);
    let service_key = Arc::new(service.key);
    let endorsed_certificate = Arc::new(RwLock::new(endorsed.to_pem()));
    let host = Arc::new(GovernanceHost {
        facts: Arc::clone(&facts),
        node: Arc::clone(&node),
        service_key: Arc::clone(&service_key),
    });
    let app_name = application.name;
    let app = (application.endpoints)(&ApplicationContext { node_id: &node_id, store: &store })
        .map_err(|reason| StartError::Application { name: app_name, reason })?;
    let internal = |reason: String| StartError::Application { name: "node", reason };
    let mut gov = Registry::new(Frontend::Gov);
    gov.set_info(ApiInfo {
        title: "CCF Governance API".to_owned(),
        description: "Members, proposals, and the state they govern.".to_owned(),
        version: "4.6.1".to_owned(),
    });
    let governance = Arc::new(Governance::new(host, GovernanceScripts::new(script_console())));
    governance.install(&mut gov).map_err(|e| internal(e.to_string()))?;
    let node_api = node_endpoints::registry(&facts, &node).map_err(|e| internal(e.to_string()))?;
    let dispatcher = Dispatcher::new(store.clone(), Arc::clone(&node) as _, app, gov, node_api);
    let rules = bound.take_rules();
    let server = bound.serve(config, Requests::new(dispatcher, Arc::clone(&node), rules))?;
    // Set once, here.
    let _ = facts.server.set(server.clone());
    server.present(Authority::Node, &facts.self_signed_certificate.read(), &node_key)?;
    let hooked = Hooked {
        node: Arc::clone(&node),
        facts: Arc::clone(&facts),
        server: server.clone(),
        node_key: Arc::clone(&node_key),
        encryption_key: identity.encryption_key,
        service_key: Arc::clone(&service_key),
        endorsed_certificate: Arc::clone(&endorsed_certificate),
    };
    service_hooks::install(&store, &Arc::new(hooked));

    store.set_primary(View::FIRST);
    let tx = store.begin();
    genesis::create_service(&tx, &genesis)?;
    let created = tx.commit()?.into_written();
    if let Some(written) = &created {
        node.enqueue(written, Digest::ZERO);
    }
    facts.become_part_of_network();

    let progress = Arc::new(DiskProgress::default());
    let reports =
        DiskReports { progress: Arc::clone(&progress), inbox: Arc::clone(&inbox), failures: failed.clone() };
    let disk = Disk::start(writer, Arc::new(reports))?;
    let signatures = &config.ledger_signatures;
    let cose = config.command.start.clone().unwrap_or_default().cose_signatures;
    let sequencer = Sequencer::new(SequencerParts {
        store,
        inbox: Arc::clone(&inbox),
        status,
        signer: NodeSigner {
            node_id,
            node_key,
            endorsed_certificate,
            service_key,
            claims: SignatureClaims { issuer: cose.issuer, subject: cose.subject },
        },
        policy: SignaturePolicy::new(
            signatures.tx_count,
            signatures.delay.duration(),
            signatures.max_per_second,
        ),
        disk,
        progress,
        chunk_bytes: config.ledger.chunk_size.bytes(),
    });
    let sequencer = std::thread::Builder::new().name("sequencer".into()).spawn(move || {
        if let Err(error) = sequencer.run() {
            // If the main thread is gone the process is ending anyway.
            let _ = failed.send(error.to_string());
        }
    })?;
    inbox.wake();

    let certificate_file = &config.output_files.node_certificate_file;
    output_files::write(certificate_file, facts.self_signed_certificate.read().as_bytes())?;
    tracing::info!("Output self-signed node certificate to {}", certificate_file.display());
    let service_file = &config.command.service_certificate_file;
    output_files::write(service_file, &genesis.service_cert)?;
    tracing::info!("Output service certificate to {}", service_file.display());
    tracing::info!("Created new node {} running the application {app_name}", facts.node_id);
    for notice in notices {
        tracing::info!("Ledger directory: {notice:?}");
    }
    Ok(RunningService { facts, inbox, server, sequencer: Some(sequencer), failures })
}

fn initial_configuration(config: &Config) -> InitialConfiguration {
    let given = config.command.start.clone().unwrap_or_default().service_configuration;
    InitialConfiguration {
        recovery_threshold: given.recovery_threshold,
        maximum_node_certificate_validity_days: given.maximum_node_certificate_validity_days,
        maximum_service_certificate_validity_days: given.maximum_service_certificate_validity_days,
        recent_cose_proposals_window_size: given.recent_cose_proposals_window_size,
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

impl RunningService {
    /// Announces that the node will stop.
    pub(crate) fn give_stop_notice(&self) {
        self.facts.give_stop_notice();
    }

    /// Waits until something fails that the node cannot survive; answers its message.
    pub(crate) async fn failure(&mut self) -> String {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Stops: no new requests, answers flushed, the rest of the ledger signed and written.
    pub(crate) fn stop(mut self) {
        self.server.stop();
        self.inbox.stop();
        if let Some(sequencer) = self.sequencer.take() {
            // A panic there has been printed already; stopping goes on.
            let _ = sequencer.join();
        }
    }
}
