//! A service from the ledger of another: the public half of a recovery (node specification, section 11.1; ledger
//! specification, section 16.1).

use super::{StartError, assembly::Assembly, deciding, read_json, running::RunningService};
use crate::{
    application::Application,
    config::Config,
    identity::ServiceIdentity,
    node_facts::StartupState,
    output_files, platform,
    replay::{ReplayPlan, ReplayProgress, ReplayState, replay_into},
    replication::Beginning,
    service_hooks::KnownService,
    snapshots::{
        OtherSigner, StartupSnapshot, choose_startup_snapshot, key_of_earlier_service, view_history,
    },
};
use ccf_consensus::ViewHistory;
use ccf_crypto::{cert::Certificate, cose::SignatureClaims};
use ccf_governance::{
    genesis::OwnPlatform,
    recovery::{RecoveredService, create_recovered_service, last_signature},
    tables,
};
use ccf_kv::Store;
use ccf_ledger::{
    chunks::ChunkAccounting,
    entry::Flags,
    files::{FileError, LedgerReader, SnapshotPath},
    secrets::LedgerSecret,
    snapshot::SnapshotTrust,
};
use ccf_types::{Digest, TxId, View};
use std::{
    sync::{Arc, atomic::Ordering},
    thread,
};

/// What was read before the node touches anything.
pub(crate) struct PreparedRecovery {
    node_data: Option<serde_json::Value>,
    service_data: Option<serde_json::Value>,
    /// PEM of the certificate of the service to recover.
    previous_identity: String,
}

/// Reads what the configuration names.
///
/// # Errors
/// [`StartError`].
pub(super) fn prepare(
    config: &Config,
    node_data: Option<serde_json::Value>,
) -> Result<PreparedRecovery, StartError> {
    let path = config.command.recover.clone().unwrap_or_default().previous_service_identity_file;
    let previous_identity = std::fs::read_to_string(&path)
        .map_err(|_| StartError::NoPreviousIdentity(path.display().to_string()))?;
    let service_data = config.service_data_json_file.as_deref().map(read_json).transpose()?.flatten();
    Ok(PreparedRecovery { node_data, service_data, previous_identity })
}

/// Recovers the public state and begins the new service with it.
///
/// # Errors
/// [`StartError`]; the process should end with its exit code.
pub(super) fn start(
    config: &Config,
    prepared: PreparedRecovery,
    application: &Application,
) -> Result<RunningService, StartError> {
    let mut assembly = Assembly::new(config, application, prepared.node_data.clone())?;
    tracing::info!("Creating new node - recover");
    let previous =
        Certificate::from_pem(&prepared.previous_identity).map_err(crate::identity::IdentityError::from)?;
    let read_only = config.snapshots.read_only_directory.as_deref();
    let trust = SnapshotTrust::Service(&previous);
    let reader = assembly.writer.reader();
    let mut other = |path: &SnapshotPath| signer_before(&reader, &previous, path);
    let snapshot = choose_startup_snapshot(&config.snapshots.directory, read_only, trust, &mut other)?;
    let startup_seqno = snapshot.as_ref().map_or(0, |snapshot| snapshot.seqno().0);
    assembly.facts.startup_seqno.store(startup_seqno, Ordering::Release);
    assembly.announce()?;
    assembly.facts.enter(StartupState::ReadingPublicLedger);

    let recovered = replay_public(config, &mut assembly, snapshot.as_ref())?;
    let last = recovered.last;
    if let Some(sealing) = &assembly.sealing
        && !sealing.find_predecessor(&assembly.store.begin())?
    {
        return Err(StartError::NoSealedData { name: sealing.location().to_owned(), seqno: last.seqno });
    }
    if let Some(stored) = assembly.store.begin().ro(&tables::SERVICE_INFO).get()?
        && let Ok(stored) = Certificate::from_pem(&stored.cert)
    {
        warn_of_other_identity(&previous, &stored);
    }

    let days = config.command.recover.clone().unwrap_or_default().initial_service_certificate_validity_days;
    let service = ServiceIdentity::create_for(config, &previous.subject(), days, assembly.started_at)?;
    let endorsed = service.endorse(&assembly.signing_request, &assembly.validity)?.to_pem();
    let secret = Arc::new(LedgerSecret::random(last.seqno.next(), None)?);
    // The first secret of an empty list contradicts nothing.
    let _ = assembly.secrets.write().add(Arc::clone(&secret));
    assembly.store.set_context(secret);
    assembly.public_only.store(true, Ordering::Release);
    let genesis = RecoveredService {
        create_tx_id: TxId { view: View(last.view.0 + View::FIRST.0), seqno: last.seqno.next() },
        service_cert: service.certificate.to_pem(),
        service_data: prepared.service_data,
        node_id: assembly.node_id.clone(),
        node: assembly.row.clone(),
        node_endorsed_cert: endorsed.clone(),
        join_policy: OwnPlatform::Virtual {
            measurement: ccf_attestation::VIRTUAL_MEASUREMENT.to_owned(),
            host_data: platform::executable_digest()?.to_string(),
        },
        sealing: assembly.sealing.as_ref().map(|sealing| sealing.data()),
    };
    let known = KnownService {
        key: Arc::new(service.key),
        certificate: genesis.service_cert.clone(),
        claims: signature_claims(&assembly.store)?,
        last_recovered_signed: last.seqno,
    };
    let history = ViewHistory::from_starts(view_history(&recovered.view_history, last));
    let (node, store, app_name) = (Arc::clone(&assembly.node), assembly.store.clone(), assembly.app_name);
    let decision = deciding::prepare(config, &assembly, &known.certificate, last)?;
    let beginning = Beginning::Recovery { last, history };
    let (mut running, replicator) = assembly.begin(known, endorsed, recovered.tree, beginning, snapshot)?;

    let tx = store.begin();
    create_recovered_service(&tx, &genesis)?;
    if let Some(written) = tx.commit()?.into_written() {
        // The service of before ends with its last signature, and so does its last chunk.
        node.enqueue_with(*written, Digest::ZERO, Flags::CHUNK_BEFORE);
    }
    running.facts.enter(StartupState::PartOfPublicNetwork);
    running.replicate(replicator)?;
    if let Some(decision) = decision {
        decision.begin(&mut running)?;
    }

    let service_file = &config.command.service_certificate_file;
    output_files::write(service_file, &genesis.service_cert)?;
    tracing::info!("Output service certificate to {}", service_file.display());
    tracing::info!("Created new node {} running the application {app_name}", running.facts.node_id);
    Ok(running)
}

/// Says ahead of time that the members will not be able to open the service with the certificate given.
fn warn_of_other_identity(given: &Certificate, stored: &Certificate) {
    if stored.spki_der() != given.spki_der() {
        tracing::warn!(
            "The previous service identity given is not the one of the ledger: the service cannot be opened with it"
        );
    } else if stored.der() != given.der() {
        tracing::warn!(
            "The previous service certificate given was renewed since: transition_service_to_open must name the renewed one, \
             which GET /node/service/previous_identity answers"
        );
    }
}

/// Who may have signed a snapshot if not the service to recover: one that this service says it continues.
fn signer_before(reader: &LedgerReader, previous: &Certificate, path: &SnapshotPath) -> OtherSigner {
    let Ok(key) = previous.public_key() else { return OtherSigner::Stranger };
    match key_of_earlier_service(reader, key, path.name.seqno) {
        Ok(key) => {
            tracing::info!("The service of transaction {} was an earlier one", path.name.seqno);
            OtherSigner::Earlier(key)
        }
        Err(error) => {
            tracing::info!("The ledger names no earlier service that could have signed it: {error}");
            OtherSigner::Stranger
        }
    }
}

/// Reads the public ledger up to its last signature, and drops what follows.
fn replay_public(
    config: &Config,
    assembly: &mut Assembly<'_>,
    snapshot: Option<&StartupSnapshot>,
) -> Result<ReplayState, StartError> {
    let unrecoverable = |reason: String| StartError::Unrecoverable(reason);
    let chunk_bytes = config.ledger.chunk_size.bytes();
    let state = match snapshot {
        None => ReplayState::new(chunk_bytes),
        Some(snapshot) => {
            let installed = snapshot.install(&assembly.store, None)?;
            tracing::info!("Setting startup snapshot seqno to {}", installed.last.seqno);
            ReplayState {
                chunks: ChunkAccounting::new(chunk_bytes, installed.last.seqno),
                tree: installed.tree,
                last: installed.last,
                view_history: installed.view_history,
            }
        }
    };
    let reader = assembly.writer.reader();
    let files_end = assembly.writer.last();
    if snapshot.is_some() && files_end < state.last.seqno {
        tracing::warn!(
            "The snapshot is of transaction {}, but the ledger files end with {files_end}: what is between is missing. To have it in \
             historical queries, put those files into a read-only ledger directory",
            state.last.seqno
        );
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let plan = ReplayPlan { reader: &reader, secrets: None, to: None, threads };
    let mut progress = |progress: ReplayProgress| {
        tracing::info!("Public ledger read up to {}, verified up to {}", progress.seqno, progress.verified);
    };
    let outcome = replay_into(&assembly.store, state, &plan, &mut progress);
    if let Some(stopped) = &outcome.stopped {
        tracing::warn!("The public ledger can be read up to here only: {stopped}");
    }
    let last = outcome.state.last;
    if last == TxId::default() {
        let reason = outcome.stopped.map(|stopped| format!(" ({stopped})")).unwrap_or_default();
        return Err(unrecoverable(format!("it holds no signature that verifies{reason}")));
    }
    // A rekey after the last signature is no part of the chain of secrets: its entry goes.
    assembly.links.lock().rollback(last.seqno);
    tracing::info!("End of public ledger recovery - Truncating ledger to last signed TxID: {last}");
    match assembly.writer.recover(last.seqno) {
        Ok(()) => {}
        Err(FileError::CommittedAfter { path, .. }) => {
            // The last signature may be the altered entry: only the next one tells.
            let (next, path) = match &outcome.stopped {
                Some(stopped) if stopped.seqno <= last.seqno => {
                    (stopped.seqno, reader.committed_file_of(stopped.seqno))
                }
                _ => (last.seqno.next(), path),
            };
            let reason = outcome.stopped.map(|stopped| format!(" ({stopped})")).unwrap_or_default();
            return Err(unrecoverable(match path {
                Some(path) => format!(
                    "{} is committed, but what it holds from transaction {next} on cannot be used{reason}: replace it by an intact copy",
                    path.display()
                ),
                None => format!(
                    "no file in {} holds transaction {next}, but later ones are committed{reason}: the file in between is missing",
                    config.ledger.directory.display()
                ),
            }));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(outcome.state)
}

/// Issuer and subject of the last service signature of the ledger. A service that signs without its nodes cannot go on
/// with a node that does (ledger specification, section 10.1).
fn signature_claims(store: &Store) -> Result<SignatureClaims, StartError> {
    let unrecoverable = |reason: String| StartError::Unrecoverable(reason);
    let last = last_signature(&store.begin()).map_err(|error| unrecoverable(error.to_string()))?;
    match last {
        Some(last) if last.is_cose_only => Err(unrecoverable(
            "its last signature is by the service only, but this node signs itself too (Dual): a COSE-only node is needed"
                .to_owned(),
        )),
        last => Ok(last.and_then(|last| last.claims).unwrap_or_default()),
    }
}
