//! One more node of a service (node specification, section 9).

use super::{StartError, assembly::Assembly, running::RunningService};
use crate::{
    application::Application,
    config::Config,
    join::{JoinParameters, Joined, join},
    node_facts::StartupState,
    replication::Beginning,
    service_hooks::KnownService,
};
use ccf_consensus::BackupStart;
use ccf_crypto::cose::SignatureClaims;
use ccf_governance::join::message::{JoinRequest, JoinerInterfaces, LedgerSignMode};
use ccf_ledger::merkle::MerkleTree;
use ccf_types::SeqNo;
use std::sync::{Arc, atomic::Ordering};

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
    application: Application,
) -> Result<RunningService, StartError> {
    let assembly = Assembly::new(config, application, prepared.node_data)?;
    assembly.announce()?;
    let settings = config.command.join.clone().unwrap_or_default();
    tracing::info!("Creating new node - join existing network at {}", settings.target_rpc_address);
    assembly.facts.enter(StartupState::Pending);
    let parameters = JoinParameters {
        target: settings.target_rpc_address,
        service_certificate: prepared.service_certificate,
        certificate: assembly.facts.self_signed_certificate.read().clone(),
        private_key: assembly.node_key.to_pkcs8_pem().map_err(crate::identity::IdentityError::from)?,
        http2: config
            .network
            .rpc_interfaces
            .values()
            .next()
            .is_some_and(|first| first.app_protocol() == "HTTP2"),
        request: request(&assembly),
        retry_timeout: settings.retry_timeout.duration(),
        follow_redirect: settings.follow_redirect,
    };
    let joined = join(parameters, None).await?;
    begin(assembly, joined)
}

fn request(assembly: &Assembly<'_>) -> JoinRequest {
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
        sealing_recovery_data: None,
        startup_seqno: Some(SeqNo::NONE),
    }
}

/// The service trusts this node: it takes part from now on.
fn begin(mut assembly: Assembly<'_>, joined: Joined) -> Result<RunningService, StartError> {
    let (store, app_name) = (assembly.store.clone(), assembly.app_name);
    if let Some(secret) = joined.ledger_secrets.latest() {
        store.set_context(Arc::clone(secret));
    }
    *assembly.secrets.write() = joined.ledger_secrets;
    assembly.public_only.store(joined.public_only, Ordering::Release);
    let recovery_start = joined.public_only.then_some(joined.last_recovered_signed_seqno);
    assembly.writer.init(SeqNo::NONE, recovery_start)?;
    let known = KnownService {
        key: Arc::new(joined.service_key),
        certificate: joined.service_certificate,
        claims: SignatureClaims {
            issuer: joined.cose_signatures.issuer,
            subject: joined.cose_signatures.subject,
        },
        last_recovered_signed: joined.last_recovered_signed_seqno,
    };
    let start = Beginning::Backup(BackupStart::default());
    let (mut running, replicator) =
        assembly.begin(known, joined.endorsed_certificate, MerkleTree::new(), start)?;
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
