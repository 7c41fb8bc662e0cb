//! What the transaction that creates a service writes (governance 2.5; node specification, section 8).
//!
//! A pure function of its inputs: the node makes keys, certificates and evidence, and commits the transaction.

use crate::{
    identity::{self, InvalidIdentity},
    sealing::{self, SealingData},
    tables::{
        self,
        member::{Ack, MemberInfo, MemberStatus, RecoveryRole, effective_role},
        node::{NodeInfo, NodeStatus},
        policy::{CodeStatus, TcbPolicy, UvmFeed, UvmFeeds},
        service::{ServiceConfig, ServiceInfo, ServiceStatus},
    },
};
use ccf_kv::{KvError, Tx};
use ccf_types::{NodeId, TxId};
use serde_json::Value;

/// The inputs of the creating transaction.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// The transaction's own ID: 2.1.
    pub create_tx_id: TxId,
    /// The service certificate, PEM.
    pub service_cert: String,
    /// Anything the operator wants to say about the service.
    pub service_data: Option<Value>,
    /// What the consortium may configure.
    pub configuration: InitialConfiguration,
    /// The constitution: one JavaScript module.
    pub constitution: String,
    /// The consortium.
    pub members: Vec<NewMember>,
    /// The first node.
    pub node_id: NodeId,
    /// Its row; the status is set to trusted here.
    pub node: NodeInfo,
    /// The first node's certificate issued by the service, PEM.
    pub node_endorsed_cert: String,
    /// What the platform of the first node says of itself: nodes like it may join.
    pub join_policy: OwnPlatform,
    /// The first node's sealed recovery key, if it has one.
    pub sealing: Option<SealingData>,
}

/// A member of the start configuration.
#[derive(Clone, Debug, Default)]
pub struct NewMember {
    /// PEM.
    pub certificate: String,
    /// PEM of an RSA key; only then the member takes part in recovery.
    pub encryption_public_key: Option<String>,
    /// Anything the consortium wants to say about the member.
    pub data: Option<Value>,
    /// Ignored without encryption key.
    pub recovery_role: Option<RecoveryRole>,
}

/// `service_configuration` of the start configuration: what is given is written.
#[derive(Clone, Debug, Default)]
pub struct InitialConfiguration {
    /// How many shares open the ledger; 0 chooses.
    pub recovery_threshold: u64,
    /// See [`ServiceConfig`].
    pub maximum_node_certificate_validity_days: Option<u64>,
    /// See [`ServiceConfig`].
    pub maximum_service_certificate_validity_days: Option<u64>,
    /// See [`ServiceConfig`].
    pub recent_cose_proposals_window_size: Option<u64>,
}

/// What the first node's platform says of itself.
#[derive(Clone, Debug)]
pub enum OwnPlatform {
    /// The virtual platform: proves nothing.
    Virtual {
        /// As in the evidence.
        measurement: String,
        /// Hex.
        host_data: String,
    },
    /// AMD SEV-SNP.
    Snp {
        /// Hex; written only when there is no endorsement of the utility VM.
        measurement: String,
        /// Hex.
        host_data: String,
        /// The policy whose digest the host data is, or an empty text.
        security_policy: String,
        /// DID, feed and security version number.
        uvm_endorsement: Option<(String, String, String)>,
        /// CPUID (hex) and the TCB of the processor.
        tcb: Option<(String, TcbPolicy)>,
    },
}

/// The service cannot be created from these inputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The store already holds a service.
    #[error("the service is already created")]
    ServiceExists,
    /// A member's certificate is no certificate, or has a key that cannot sign governance messages.
    #[error("certificate of member {index} in the configuration: {reason}")]
    Member {
        /// Position in the configuration, from 0.
        index: usize,
        /// What is wrong.
        reason: InvalidIdentity,
    },
    /// A member's encryption key is no RSA public key.
    #[error("encryption key of member {index} in the configuration: {reason}")]
    EncryptionKey {
        /// Position in the configuration, from 0.
        index: usize,
        /// What is wrong.
        reason: InvalidIdentity,
    },
    /// Two members have one certificate.
    #[error("member {index} in the configuration has the certificate of an earlier one")]
    DuplicateMember {
        /// Position in the configuration, from 0.
        index: usize,
    },
    /// More shares would be needed than there are.
    #[error("recovery threshold {configured} is above the number of recovery members, {available}")]
    Threshold {
        /// As configured.
        configured: u64,
        /// How many shares there would be.
        available: u64,
    },
    /// The store refused a value.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// The threshold in force: as configured if the members allow it, and if not configured all participants, or one when
/// there are only owners (node specification, section 8.1).
///
/// # Errors
/// [`GenesisError::Threshold`].
pub fn recovery_threshold(configured: u64, members: &[NewMember]) -> Result<u64, GenesisError> {
    let with_role = |wanted: RecoveryRole| {
        let role = |m: &&NewMember| {
            m.encryption_public_key.is_some() && effective_role(m.recovery_role, true) == wanted
        };
        members.iter().filter(role).count() as u64
    };
    let (participants, owners) = (with_role(RecoveryRole::Participant), with_role(RecoveryRole::Owner));
    let available = if participants == 0 && owners > 0 { 1 } else { participants };
    match configured {
        0 => Ok(available),
        _ if configured <= available => Ok(configured),
        _ => Err(GenesisError::Threshold { configured, available }),
    }
}

/// Writes everything a new service consists of.
///
/// # Errors
/// [`GenesisError`]; then the transaction must be dropped.
pub fn create_service(tx: &Tx, genesis: &Genesis) -> Result<(), GenesisError> {
    if tx.ro(&tables::SERVICE_INFO).has() {
        return Err(GenesisError::ServiceExists);
    }
    for (index, member) in genesis.members.iter().enumerate() {
        add_member(tx, index, member)?;
    }
    tx.rw(&tables::CONSTITUTION).put(&genesis.constitution)?;
    let given = &genesis.configuration;
    tx.rw(&tables::SERVICE_CONFIG).put(&ServiceConfig {
        consensus: None,
        maximum_node_certificate_validity_days: given.maximum_node_certificate_validity_days,
        maximum_service_certificate_validity_days: given.maximum_service_certificate_validity_days,
        recent_cose_proposals_window_size: given.recent_cose_proposals_window_size,
        reconfiguration_type: None,
        recovery_threshold: recovery_threshold(given.recovery_threshold, &genesis.members)?,
    })?;
    tx.rw(&tables::SERVICE_INFO).put(&ServiceInfo {
        cert: genesis.service_cert.clone(),
        current_service_create_txid: Some(genesis.create_tx_id),
        previous_service_identity_version: None,
        recovery_count: Some(0),
        service_data: genesis.service_data.clone(),
        status: ServiceStatus::Opening,
    })?;
    let node = NodeInfo { status: NodeStatus::Trusted, ..genesis.node.clone() };
    tx.rw(&tables::NODES).put(&genesis.node_id, &node)?;
    tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).put(&genesis.node_id, &genesis.node_endorsed_cert)?;
    if let Some(sealing) = &genesis.sealing {
        sealing::record(tx, &genesis.node_id, sealing)?;
    }
    trust_own_platform(tx, &genesis.join_policy, StoredFeeds::Replace)?;
    Ok(())
}

fn add_member(tx: &Tx, index: usize, member: &NewMember) -> Result<(), GenesisError> {
    let id =
        identity::member_id(&member.certificate).map_err(|reason| GenesisError::Member { index, reason })?;
    if tx.ro(&tables::MEMBER_INFO).has(&id)? {
        return Err(GenesisError::DuplicateMember { index });
    }
    tx.rw(&tables::MEMBER_CERTS).put(&id, &member.certificate)?;
    if let Some(key) = &member.encryption_public_key {
        identity::encryption_key(key).map_err(|reason| GenesisError::EncryptionKey { index, reason })?;
        tx.rw(&tables::MEMBER_ENCRYPTION_KEYS).put(&id, key)?;
    }
    let info = MemberInfo {
        member_data: member.data.clone().unwrap_or_default(),
        recovery_role: member.recovery_role.filter(|_| member.encryption_public_key.is_some()),
        status: MemberStatus::Accepted,
    };
    tx.rw(&tables::MEMBER_INFO).put(&id, &info)?;
    tx.rw(&tables::MEMBER_ACKS).put(&id, &Ack::default())?;
    Ok(())
}

/// What happens to an accepted version of the utility VM that is stored already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredFeeds {
    /// The node's own replaces all of its issuer.
    Replace,
    /// The lower of the two versions is accepted, and other feeds stay (crypto specification, section 17.6).
    KeepLower,
}

/// Nodes like this one may join.
pub(crate) fn trust_own_platform(
    tx: &Tx,
    platform: &OwnPlatform,
    stored: StoredFeeds,
) -> Result<(), KvError> {
    match platform {
        OwnPlatform::Virtual { measurement, host_data } => {
            tx.rw(&tables::VIRTUAL_MEASUREMENTS).put(measurement, &CodeStatus::AllowedToJoin)?;
            tx.rw(&tables::VIRTUAL_HOST_DATA).insert(host_data)?;
        }
        OwnPlatform::Snp { measurement, host_data, security_policy, uvm_endorsement, tcb } => {
            tx.rw(&tables::SNP_HOST_DATA).put(host_data, security_policy)?;
            match uvm_endorsement {
                Some((did, feed, svn)) => {
                    let table = tx.rw(&tables::SNP_UVM_ENDORSEMENTS);
                    let before = if stored == StoredFeeds::KeepLower { table.get(did)? } else { None };
                    let feeds = with_feed(before.as_ref(), feed, svn);
                    if before.as_ref() != Some(&feeds) {
                        table.put(did, &feeds)?;
                    }
                }
                None => tx.rw(&tables::SNP_MEASUREMENTS).put(measurement, &CodeStatus::AllowedToJoin)?,
            }
            if let Some((cpuid, policy)) = tcb {
                tx.rw(&tables::SNP_TCB_VERSIONS).put(cpuid, policy)?;
            }
        }
    }
    Ok(())
}

/// The accepted feeds with one more, at the lower of the stored and the given version.
fn with_feed(before: Option<&UvmFeeds>, feed: &str, svn: &str) -> UvmFeeds {
    let mut feeds = before.cloned().unwrap_or_default();
    let own = UvmFeed { svn: svn.to_owned() };
    let number = |feed: &UvmFeed| feed.svn.parse::<u64>().ok();
    match feeds.get(feed) {
        Some(accepted) if number(accepted) <= number(&own) => {}
        Some(_) | None => {
            feeds.insert(feed.to_owned(), own);
        }
    }
    feeds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: Option<RecoveryRole>) -> NewMember {
        NewMember { encryption_public_key: Some(String::new()), recovery_role: role, ..NewMember::default() }
    }

    #[test]
    fn thresholds() {
        use RecoveryRole::{NonParticipant, Owner, Participant};
        let none = NewMember::default();
        let keyless_owner = NewMember { recovery_role: Some(Owner), ..NewMember::default() };
        for (configured, members, expected) in [
            (0, vec![], Some(0)),
            (0, vec![none.clone()], Some(0)),
            (0, vec![member(None), member(Some(Participant)), none.clone()], Some(2)),
            (1, vec![member(None), member(None)], Some(1)),
            (3, vec![member(None), member(None)], None),
            (0, vec![member(Some(Owner))], Some(1)),
            (1, vec![member(Some(Owner)), member(Some(Owner))], Some(1)),
            (2, vec![member(Some(Owner)), member(Some(Owner))], None),
            (1, vec![member(Some(NonParticipant))], None),
            (1, vec![keyless_owner], None),
            (1, vec![none], None),
        ] {
            assert_eq!(recovery_threshold(configured, &members).ok(), expected, "{configured} {members:?}");
        }
    }
}
