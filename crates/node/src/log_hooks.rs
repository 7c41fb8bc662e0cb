//! What writes to the tables of nodes and of secrets mean for the log itself: who takes part in consensus, and with which
//! secret the next entry is encrypted. The same on every node, whatever else it is.

use ccf_consensus::{NodeChange, Reconfiguration};
use ccf_crypto::key::RsaKeyPair;
use ccf_governance::{
    recovery::{SecretsForNode, secrets_for_node},
    tables::{
        self,
        node::{NodeInfo, NodeStatus},
    },
};
use ccf_kv::{HookContext, MapWrites, Store, UNIT};
use ccf_ledger::secrets::LedgerSecrets;
use ccf_types::{NodeId, SeqNo};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

/// Installs the hooks of this module in `store`, before its first transaction: for a node that is nothing but a log, as in
/// the simulation. A real node has them among its others.
pub fn install(
    store: &Store,
    node: NodeId,
    encryption_key: Arc<RsaKeyPair>,
    secrets: Arc<RwLock<LedgerSecrets>>,
    retired: Arc<Mutex<Vec<NodeId>>>,
) {
    store.on_local(tables::NODES.name(), Arc::new(reconfigure));
    store.on_global(
        tables::NODES.name(),
        Arc::new(move |_, writes| retired.lock().extend(retired_rows(writes))),
    );
    store.on_local(
        tables::ENCRYPTED_LEDGER_SECRETS.name(),
        Arc::new(move |context, writes| {
            let sent = secrets_sent(context.tx_id().seqno, writes, &node, &encryption_key);
            install_secret(context, sent, &secrets);
        }),
    );
}

/// Tells consensus what a transaction does to the set of nodes (consensus specification, section 8).
pub(crate) fn reconfigure(context: &mut HookContext<'_>, writes: &MapWrites) {
    let mut changes = Vec::new();
    for (key, value) in writes {
        let id = NodeId::from_text(&String::from_utf8_lossy(key));
        match value.map(|row| serde_json::from_slice::<NodeInfo>(row)) {
            Some(Ok(row)) => match row.status {
                NodeStatus::Trusted => {
                    let address = row.node_to_node_interface.published().into();
                    changes.push(NodeChange::Trusted { id, address });
                }
                NodeStatus::Retired => changes.push(NodeChange::Removed(id)),
                NodeStatus::Pending => {}
            },
            Some(Err(error)) => {
                // All nodes see the same row, so none counts the node as a member.
                tracing::error!(
                    "The row of node {id} written at {} cannot be read: {error}",
                    context.tx_id()
                );
            }
            None => changes.push(NodeChange::Removed(id)),
        }
    }
    if !changes.is_empty() {
        context.act(Box::new(Reconfiguration::Changes(changes)));
    }
}

/// The nodes whose rows say that their retirement is known for good.
pub(crate) fn retired_rows(writes: &MapWrites) -> impl Iterator<Item = NodeId> + '_ {
    writes.iter().filter_map(|(key, value)| {
        let row = serde_json::from_slice::<NodeInfo>(value?).ok()?;
        row.retired_committed.then(|| NodeId::from_text(&String::from_utf8_lossy(key)))
    })
}

/// What writes to the table of secrets at `seqno` hold for `node`.
pub(crate) fn secrets_sent(
    seqno: SeqNo,
    writes: &MapWrites,
    node: &NodeId,
    encryption_key: &RsaKeyPair,
) -> SecretsForNode {
    let Some(Some(value)) = writes.get(&UNIT) else {
        return SecretsForNode::Nothing;
    };
    match secrets_for_node(value, seqno, node, encryption_key) {
        Ok(secrets) => secrets,
        // Going on would encrypt with a secret that nobody else uses.
        Err(error) => stop_on_secret(seqno, &error),
    }
}

/// What is wrong with a write to the table of secrets at `seqno` in an entry of the primary, before it is applied: what the hooks
/// would have to stop the node for.
///
/// # Errors
/// Why the secrets for `node` cannot be used.
pub fn check_secrets(
    seqno: SeqNo,
    writes: &MapWrites,
    node: &NodeId,
    encryption_key: &RsaKeyPair,
    known: &RwLock<LedgerSecrets>,
) -> Result<(), String> {
    let Some(Some(value)) = writes.get(&UNIT) else { return Ok(()) };
    match secrets_for_node(value, seqno, node, encryption_key) {
        Ok(SecretsForNode::Rekeyed(secret)) => {
            known.read().clone().add(secret).map_err(|error| error.to_string())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A rekey sends every node the new ledger secret: it applies from the next transaction on.
pub(crate) fn install_secret(
    context: &mut HookContext<'_>,
    sent: SecretsForNode,
    secrets: &RwLock<LedgerSecrets>,
) {
    if let SecretsForNode::Rekeyed(secret) = sent {
        if let Err(error) = secrets.write().add(Arc::clone(&secret)) {
            stop_on_secret(context.tx_id().seqno, &error);
        }
        context.set_context(secret);
    }
}

/// A secret of the ledger is not what it must be: going on would write what nobody can read.
fn stop_on_secret(seqno: SeqNo, error: &dyn std::fmt::Display) -> ! {
    tracing::error!("The ledger secret written at {seqno} cannot be used: {error}. Exiting.");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_governance::tables::secrets::{EncryptedSecret, EncryptedSecrets};

    #[test]
    fn secrets_that_would_stop_the_node_are_told_before() {
        let key = RsaKeyPair::generate(2048).unwrap();
        let (node, other) = (NodeId::from_text("a"), NodeId::from_text("b"));
        let secrets = RwLock::new(LedgerSecrets::default());
        let check = |value: &[u8]| {
            let mut writes = MapWrites::new(tables::ENCRYPTED_LEDGER_SECRETS.name().clone());
            writes.put(UNIT[..].into(), value.into());
            check_secrets(SeqNo(7), &writes, &node, &key, &secrets)
        };
        let row = |node: &NodeId, ciphertext: Vec<u8>| {
            let secret = EncryptedSecret {
                encrypted_secret: ciphertext.into(),
                previous_secret_stored_version: None,
                version: None,
            };
            serde_json::to_vec(&EncryptedSecrets::from([(node.clone(), vec![secret])])).unwrap()
        };
        let sealed = |secret: &[u8]| key.public_key().oaep_encrypt(&[], secret).unwrap();
        assert_eq!(check(&row(&node, sealed(&[1; 32]))), Ok(()));
        assert_eq!(check(&row(&other, vec![0; 256])), Ok(()), "it is not for this node");
        for bad in [b"rubbish".to_vec(), row(&node, vec![0; 256]), row(&node, sealed(&[1; 31]))] {
            check(&bad).unwrap_err();
        }
        let known = secrets_for_node(&row(&node, sealed(&[1; 32])), SeqNo(7), &node, &key).unwrap();
        let SecretsForNode::Rekeyed(known) = known else { panic!("a rekey") };
        secrets.write().add(known).unwrap();
        assert_eq!(check(&row(&node, sealed(&[1; 32]))), Ok(()), "the same once more");
        check(&row(&node, sealed(&[2; 32]))).unwrap_err();
    }
}
