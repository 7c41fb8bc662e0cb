//! One more node of a service (node specification, section 9).

use super::{StartError, assembly::Assembly, running::RunningService};
use crate::{
    application::Application,
    config::Config,
    join::{JoinParameters, Joined, SnapshotSource, join},
    node_facts::StartupState,
    replication::Beginning,
    service_hooks::KnownService,
    snapshots::{FetchSettings, OtherSigner, SnapshotFetcher, StartupSnapshot, choose_startup_snapshot},
};
use ccf_consensus::{BackupStart, Configuration, Nodes, ViewHistory};
use ccf_crypto::{cert::Certificate, cose::SignatureClaims};
use ccf_governance::{
    join::message::{JoinRequest, JoinerInterfaces, LedgerSignMode},
    tables::{self, node::NodeStatus},
};
use ccf_kv::Store;
use ccf_ledger::{
    files::{SnapshotPath, ignore_snapshot},
    merkle::MerkleTree,
    secrets::LedgerSecrets,
    snapshot::SnapshotTrust,
};
use ccf_types::SeqNo;
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// What was read before the node touches anything.
pub(crate) struct PreparedJoin {
    pub(super) node_data: Option<serde_json::Value>,
    /// PEM.
    pub(super) service_certificate: String,
}

/// Joins, however long the members take to trust this node.
///
/// # Errors
/// [`StartError`]; the process should end with its exit code.
pub(super) async fn start(
    config: &Config,
    prepared: PreparedJoin,
    application: &Application,
) -> Result<RunningService, StartError> {
    let assembly = Assembly::new(config, application, prepared.node_data)?;
    let (snapshot, set_aside) = choose_snapshot(config, &prepared.service_certificate)?;
    let startup_seqno = snapshot.as_ref().map_or(SeqNo::NONE, StartupSnapshot::seqno);
    assembly.facts.startup_seqno.store(startup_seqno.0, Ordering::Release);
    assembly.announce()?;
    let settings = config.command.join.clone().unwrap_or_default();
    tracing::info!("Creating new node - join existing network at {}", settings.target_rpc_address);
    assembly.facts.enter(StartupState::Pending);
    let parameters = JoinParameters {
        target: settings.target_rpc_address,
        service_certificate: prepared.service_certificate.clone(),
        certificate: assembly.facts.self_signed_certificate.read().clone(),
        private_key: assembly.node_key.to_pkcs8_pem().map_err(crate::identity::IdentityError::from)?,
        http2: config.network.first_is_http2(),
        request: request(&assembly, startup_seqno),
        retry_timeout: settings.retry_timeout.duration(),
        follow_redirect: settings.follow_redirect,
    };
    let mut fetcher = settings.fetch_recent_snapshot.then(|| {
        let settings = FetchSettings {
            directory: config.snapshots.directory.clone(),
            service_certificate: prepared.service_certificate,
            attempts: settings.fetch_snapshot_max_attempts,
            retry_interval: settings.fetch_snapshot_retry_interval.duration(),
            bytes_max: settings.fetch_snapshot_max_size.bytes(),
        };
        SnapshotFetcher::new(settings, set_aside.clone())
    });
    let source = fetcher.as_mut().map(|fetcher| fetcher as &mut dyn SnapshotSource);
    let joined = join(parameters, source).await?;
    // What the service asked this node to begin with instead of its own.
    let fetched = fetcher.and_then(SnapshotFetcher::into_fetched);
    if let Some(fetched) = &fetched {
        assembly.facts.startup_seqno.store(fetched.seqno().0, Ordering::Release);
    }
    let snapshot = fetched.or(snapshot);
    let used = snapshot.as_ref().map(StartupSnapshot::path);
    ignore_unused(&config.snapshots.directory, &set_aside, used);
    begin(assembly, joined, snapshot)
}

/// Renames snapshots of this node's own directory that the service has not signed and the node did not begin with: it is not
/// to offer them to others, or to count them.
fn ignore_unused(directory: &Path, set_aside: &[SnapshotPath], used: Option<&Path>) {
    let own = set_aside.iter().filter(|it| it.path.parent() == Some(directory));
    for snapshot in own.filter(|it| Some(it.path.as_path()) != used) {
        let shown = snapshot.path.display();
        match ignore_snapshot(snapshot) {
            Ok(aside) => tracing::warn!(
                "Snapshot {shown} was not signed by this service: it was set aside as {}",
                aside.display()
            ),
            Err(error) => {
                tracing::error!("Snapshot {shown}, which this service has not signed, stays: {error}");
            }
        }
    }
}

fn request(assembly: &Assembly<'_>, startup_seqno: SeqNo) -> JoinRequest {
    let row = &assembly.row;
    JoinRequest {
        certificate_signing_request: row.certificate_signing_request.clone(),
        code_transparent_statement: None,
        ledger_sign_mode: Some(LedgerSignMode::Dual),
        node_data: row.node_data.clone(),
        node_info_network: JoinerInterfaces {
            node_to_node_interface: row.node_to_node_interface.clone(),
            rpc_interfaces: row.rpc_interfaces.clone(),
        },
        public_encryption_key: row.encryption_pub_key.clone(),
        quote_info: row.quote_info.clone(),
        sealing_recovery_data: assembly.sealing.as_ref().map(|sealing| sealing.data()),
        startup_seqno: Some(startup_seqno),
    }
}

/// The service trusts this node: it takes part from now on.
fn begin(
    mut assembly: Assembly<'_>,
    joined: Joined,
    snapshot: Option<StartupSnapshot>,
) -> Result<RunningService, StartError> {
    let (store, app_name) = (assembly.store.clone(), assembly.app_name);
    if let Some(secret) = joined.ledger_secrets.latest() {
        store.set_context(Arc::clone(secret));
    }
    *assembly.secrets.write() = joined.ledger_secrets;
    assembly.public_only.store(joined.public_only, Ordering::Release);
    let recovery_start = joined.public_only.then_some(joined.last_recovered_signed_seqno);
    let (start, tree) = match &snapshot {
        None => (BackupStart::default(), MerkleTree::new()),
        Some(snapshot) => {
            let secrets = (!joined.public_only).then(|| assembly.secrets.read().clone());
            install(&store, snapshot, secrets.as_ref())?
        }
    };
    assembly.writer.init(start.seqno, recovery_start)?;
    for notice in assembly.writer.take_notices() {
        tracing::warn!("Ledger directory: {notice}");
    }
    let known = KnownService {
        key: Arc::new(joined.service_key),
        certificate: joined.service_certificate,
        claims: SignatureClaims {
            issuer: joined.cose_signatures.issuer,
            subject: joined.cose_signatures.subject,
        },
        last_recovered_signed: joined.last_recovered_signed_seqno,
    };
    let (mut running, replicator) =
        assembly.begin(known, joined.endorsed_certificate, tree, Beginning::Backup(start), snapshot)?;
    let (state, domains) = match joined.public_only {
        true => (StartupState::PartOfPublicNetwork, "public only"),
        false => (StartupState::PartOfNetwork, "all domains"),
    };
    running.facts.enter(state);
    running.replicate(replicator)?;
    tracing::info!("Node has now joined the network as node {}: {domains}", running.facts.node_id);
    tracing::info!("Created new node {} running the application {app_name}", running.facts.node_id);
    Ok(running)
}

/// The newest snapshot on this machine that the service vouches for, and those newer ones that the service it continues
/// may have signed, newest first.
fn choose_snapshot(
    config: &Config,
    service_certificate: &str,
) -> Result<(Option<StartupSnapshot>, Vec<SnapshotPath>), StartError> {
    let service = Certificate::from_pem(service_certificate).map_err(crate::identity::IdentityError::from)?;
    let read_only = config.snapshots.read_only_directory.as_deref();
    let mut set_aside = Vec::new();
    let mut other = |path: &SnapshotPath| {
        set_aside.push(path.clone());
        OtherSigner::NotYetKnown
    };
    let trust = SnapshotTrust::Service(&service);
    let chosen = choose_startup_snapshot(&config.snapshots.directory, read_only, trust, &mut other)?;
    Ok((chosen, set_aside))
}

/// Makes the snapshot this node's state, and answers where replication goes on.
fn install(
    store: &Store,
    snapshot: &StartupSnapshot,
    secrets: Option<&LedgerSecrets>,
) -> Result<(BackupStart, MerkleTree), StartError> {
    let installed = snapshot.install(store, secrets)?;
    let starts = crate::snapshots::view_history(&installed.view_history, installed.last);
    let start = BackupStart {
        seqno: installed.last.seqno,
        view: installed.last.view,
        history: ViewHistory::from_starts(starts),
        configuration: configuration(store)?,
    };
    tracing::info!(
        "The state of transaction {} was installed from {}",
        installed.last,
        snapshot.path().display()
    );
    Ok((start, installed.tree))
}

/// The trusted nodes of a state, as of the last write to their table.
fn configuration(store: &Store) -> Result<Option<Configuration>, StartError> {
    let Some(seqno) = store.state().map(tables::NODES.name()).map(ccf_kv::MapState::version) else {
        return Ok(None);
    };
    let mut nodes = Nodes::new();
    for (id, row) in store.begin().ro(&tables::NODES).entries()? {
        if row.status == NodeStatus::Trusted {
            nodes.insert(id, row.node_to_node_interface.published().into());
        }
    }
    Ok(Some(Configuration { seqno, nodes }))
}
