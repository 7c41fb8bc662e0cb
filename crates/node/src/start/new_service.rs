//! Starting a new service on this node (node specification, section 8).

use super::{StartError, assembly::Assembly, running::RunningService};
use crate::{
    application::Application, config::Config, identity::ServiceIdentity, node_facts::StartupState,
    output_files, platform, replication::Beginning, service_hooks::KnownService,
};
use ccf_crypto::cose::SignatureClaims;
use ccf_governance::genesis::{self, Genesis, InitialConfiguration, NewMember, OwnPlatform};
use ccf_ledger::{merkle::MerkleTree, secrets::LedgerSecret};
use ccf_types::{Digest, SeqNo, TxId, View};
use std::sync::Arc;

/// What was read and checked before anything is written or bound.
pub(crate) struct PreparedStart {
    pub(super) members: Vec<NewMember>,
    pub(super) constitution: String,
    pub(super) node_data: Option<serde_json::Value>,
    pub(super) service_data: Option<serde_json::Value>,
}

/// Starts a new service.
///
/// # Errors
/// [`StartError`]; the process should end with its exit code.
pub(super) fn start(
    config: &Config,
    prepared: PreparedStart,
    application: &Application,
) -> Result<RunningService, StartError> {
    let assembly = Assembly::new(config, application, prepared.node_data)?;
    let service = ServiceIdentity::create(config, assembly.started_at)?;
    let secret = Arc::new(LedgerSecret::random(SeqNo(1), None)?);
    // The first secret of an empty list contradicts nothing.
    let _ = assembly.secrets.write().add(secret);
    let endorsed = service.endorse(&assembly.signing_request, &assembly.validity)?.to_pem();
    let member_count = prepared.members.len();
    let genesis = Genesis {
        create_tx_id: TxId { view: View::FIRST, seqno: SeqNo(1) },
        service_cert: service.certificate.to_pem(),
        service_data: prepared.service_data,
        configuration: initial_configuration(config),
        constitution: prepared.constitution,
        members: prepared.members,
        node_id: assembly.node_id.clone(),
        node: assembly.row.clone(),
        node_endorsed_cert: endorsed.clone(),
        join_policy: OwnPlatform::Virtual {
            measurement: ccf_attestation::VIRTUAL_MEASUREMENT.to_owned(),
            host_data: platform::executable_digest()?.to_string(),
        },
        sealing: assembly.sealing.as_ref().map(|sealing| sealing.data()),
    };
    let threshold = genesis::recovery_threshold(genesis.configuration.recovery_threshold, &genesis.members)?;
    tracing::info!(
        "Creating new node: new network (with {member_count} initial member(s) and {threshold} member(s) required for recovery)"
    );

    let cose = config.command.start.clone().unwrap_or_default().cose_signatures;
    let known = KnownService {
        key: Arc::new(service.key),
        certificate: genesis.service_cert.clone(),
        claims: SignatureClaims { issuer: cose.issuer, subject: cose.subject },
        last_recovered_signed: SeqNo::NONE,
    };
    let (node, store, app_name) = (Arc::clone(&assembly.node), assembly.store.clone(), assembly.app_name);
    assembly.announce()?;
    let (mut running, replicator) =
        assembly.begin(known, endorsed, MerkleTree::new(), Beginning::NewService, None)?;

    let tx = store.begin();
    genesis::create_service(&tx, &genesis)?;
    if let Some(written) = tx.commit()?.into_written() {
        node.enqueue(*written, Digest::ZERO);
    }
    running.facts.enter(StartupState::PartOfNetwork);
    running.replicate(replicator)?;

    let service_file = &config.command.service_certificate_file;
    output_files::write(service_file, &genesis.service_cert)?;
    tracing::info!("Output service certificate to {}", service_file.display());
    tracing::info!("Created new node {} running the application {app_name}", running.facts.node_id);
    Ok(running)
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
