//! The transactions of a run: genesis, clients, and what governance would do.

use crate::{
    identities::{Keys, keys_of},
    node::Machine,
};
use ccf_governance::{
    genesis::{self, Genesis, InitialConfiguration, OwnPlatform},
    recovery::{RecoveredService, create_recovered_service},
    retirement::set_retired_committed,
    tables::{
        self,
        base64::Base64,
        node::{NetInterface, NodeInfo, NodeStatus, QuoteFormat, QuoteInfo},
        secrets::EncryptedSecret,
    },
};
use ccf_kv::{KvError, Tx};
use ccf_ledger::{entry::Flags, secrets::LedgerSecret};
use ccf_types::{MapName, NodeId, TxId};
use std::collections::BTreeMap;

/// Maps that clients write to.
pub(crate) const MAPS: [&str; 2] = ["simulated", "public:simulated"];

/// Keys of each.
pub(crate) const KEYS: u64 = 6;

/// What clients write.
pub(crate) fn client(tx: &Tx, map: &str, key: u64, value: Option<u64>) -> Result<(), String> {
    let name = MapName::parse(map).map_err(|e| e.to_string())?;
    let handle = tx.raw(&name);
    let key = vec![u8::try_from(key).map_err(|e| e.to_string())?];
    match value {
        Some(value) => handle.put(key, value.to_le_bytes().to_vec()),
        None => handle.remove(key),
    }
    Ok(())
}

/// The first transaction of a service.
pub(crate) fn create_service(machine: &mut Machine) -> Option<TxId> {
    let keys = machine.keys;
    let genesis = Genesis {
        create_tx_id: TxId::new(2, 1),
        service_cert: keys.service.certificate.to_pem(),
        service_data: None,
        configuration: InitialConfiguration::default(),
        constitution: "export function validate() {}".to_owned(),
        members: Vec::new(),
        node_id: keys.id.clone(),
        node: row(keys, NodeStatus::Trusted),
        node_endorsed_cert: keys.certificate.to_pem(),
        sealing: None,
        join_policy: platform(),
    };
    machine.execute(|tx| genesis::create_service(tx, &genesis))
}

/// The first transaction of a recovered one.
pub(crate) fn recover_service(machine: &mut Machine, at: TxId) -> Option<TxId> {
    let keys = machine.keys;
    let recovered = RecoveredService {
        create_tx_id: at,
        service_cert: keys.service.certificate.to_pem(),
        service_data: None,
        node_id: keys.id.clone(),
        node: row(keys, NodeStatus::Trusted),
        node_endorsed_cert: keys.certificate.to_pem(),
        sealing: None,
        join_policy: platform(),
    };
    machine.execute_with(Flags::CHUNK_BEFORE, |tx| create_recovered_service(tx, &recovered).map(drop))
}

/// Trusts new nodes and retires others, in one transaction.
pub(crate) fn reconfigure(tx: &Tx, trusted: &[&Keys], retired: &[NodeId]) -> Result<(), KvError> {
    let nodes = tx.rw(&tables::NODES);
    for keys in trusted {
        nodes.put(&keys.id, &row(keys, NodeStatus::Trusted))?;
        tx.rw(&tables::NODE_ENDORSED_CERTIFICATES).put(&keys.id, &keys.certificate.to_pem())?;
    }
    for id in retired {
        if let Some(mut row) = nodes.get(id)? {
            row.status = NodeStatus::Retired;
            nodes.put(id, &row)?;
        }
    }
    Ok(())
}

/// What the primary does for retired nodes.
pub(crate) fn clean_up(tx: &Tx) -> Result<(), KvError> {
    set_retired_committed(tx).map(drop)
}

/// Sends everybody a new ledger secret.
pub(crate) fn rekey(tx: &Tx, secret: &LedgerSecret) -> Result<(), String> {
    let mut sent = BTreeMap::new();
    for (id, row) in tx.ro(&tables::NODES).entries().map_err(|e| e.to_string())? {
        let committed = tx.ro(&tables::NODES).get_globally_committed(&id).map_err(|e| e.to_string())?;
        let gone = match row.status {
            NodeStatus::Trusted => false,
            NodeStatus::Pending => true,
            NodeStatus::Retired => committed.is_some_and(|row| row.retired_committed),
        };
        let Some(keys) = keys_of(&id).filter(|_| !gone) else { continue };
        let encrypted = keys.encryption.public_key().oaep_encrypt(&[], secret.danger_raw());
        let encrypted_secret = Base64(encrypted.map_err(|e| e.to_string())?);
        let one = EncryptedSecret { encrypted_secret, previous_secret_stored_version: None, version: None };
        sent.insert(id, vec![one]);
    }
    tx.rw(&tables::ENCRYPTED_LEDGER_SECRETS).put(&sent).map_err(|e| e.to_string())
}

fn platform() -> OwnPlatform {
    OwnPlatform::Virtual { measurement: "measurement".to_owned(), host_data: "00".repeat(32) }
}

fn row(keys: &Keys, status: NodeStatus) -> NodeInfo {
    NodeInfo {
        cert: None,
        certificate_signing_request: Some(keys.request.to_pem()),
        code_digest: None,
        encryption_pub_key: keys.encryption.public_key().to_pem(),
        ledger_secret_seqno: None,
        node_data: None,
        node_to_node_interface: NetInterface {
            bind_address: "127.0.0.1:1".to_owned(),
            ..NetInterface::default()
        },
        pending_last_seen: None,
        public_key: Some(keys.key.public_key().to_pem()),
        quote_info: QuoteInfo {
            endorsed_tcb: None,
            endorsements: Base64(Vec::new()),
            format: QuoteFormat::InsecureVirtual,
            quote: Base64(Vec::new()),
            uvm_endorsements: None,
        },
        retired_committed: false,
        rpc_interfaces: BTreeMap::new(),
        status,
    }
}
