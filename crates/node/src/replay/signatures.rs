//! Who must have signed, and the thread that verifies it.

use super::ReplayError;
use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_governance::tables as governance;
use ccf_kv::Store;
use ccf_ledger::{
    signature::{NodeSignature, ServiceSignature, SignatureError, SignatureValues},
    verify::SignatureCheck,
};
use ccf_types::{Digest, NodeId, TxId};
use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread::Scope,
};

/// Keys of signers, parsed once as long as their certificates stay the same.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    nodes: HashMap<NodeId, (String, PublicKey)>,
    service: Option<(String, PublicKey)>,
}

/// Keys remembered; a ledger with more signers has them parsed again.
const NODES_MAX: usize = 1000;

impl Signers {
    /// What must hold of a signature transaction over `root`, given the tables in `store` (section 10.5).
    pub(crate) fn check(
        &mut self,
        store: &Store,
        tx_id: TxId,
        values: &SignatureValues<'_>,
        root: &Digest,
    ) -> Result<SignatureCheck, ReplayError> {
        let node = match values.signatures {
            None => None,
            Some(value) => {
                let signature = NodeSignature::from_json(value)?;
                if signature.tx_id != tx_id {
                    return Err(SignatureError::OtherTransaction(signature.tx_id).into());
                }
                Some((self.node(store, &signature.node)?, signature))
            }
        };
        let service = match values.cose_signatures {
            None => None,
            Some(value) => Some((self.service(store)?, ServiceSignature::from_json(value)?)),
        };
        Ok(SignatureCheck::new(tx_id, *root, node, service))
    }

    fn node(&mut self, store: &Store, id: &NodeId) -> Result<PublicKey, ReplayError> {
        let unknown = || ReplayError::Signer(id.to_string());
        let tx = store.begin();
        let pem = match tx.ro(&governance::NODE_ENDORSED_CERTIFICATES).get(id).map_err(|_| unknown())? {
            Some(pem) => pem,
            // As 1.x had it.
            None => {
                let row = tx.ro(&governance::NODES).get(id).map_err(|_| unknown())?;
                row.and_then(|row| row.cert).ok_or_else(unknown)?
            }
        };
        if let Some((known, key)) = self.nodes.get(id)
            && *known == pem
        {
            return Ok(key.clone());
        }
        let key = key_of(&pem).filter(|key| key.node_id() == *id).ok_or_else(unknown)?;
        if self.nodes.len() >= NODES_MAX {
            self.nodes.clear();
        }
        self.nodes.insert(id.clone(), (pem, key.clone()));
        Ok(key)
    }

    fn service(&mut self, store: &Store) -> Result<PublicKey, ReplayError> {
        let row = store.begin().ro(&governance::SERVICE_INFO).get();
        let pem = row.ok().flatten().ok_or(ReplayError::Service)?.cert;
        if let Some((known, key)) = &self.service
            && *known == pem
        {
            return Ok(key.clone());
        }
        let key = key_of(&pem).ok_or(ReplayError::Service)?;
        self.service = Some((pem, key.clone()));
        Ok(key)
    }
}

fn key_of(pem: &str) -> Option<PublicKey> {
    Certificate::from_pem(pem).ok()?.public_key().ok().cloned()
}

/// A check and its result.
pub(crate) type Verdict = (TxId, Result<(), SignatureError>);

/// Verifies signatures on a thread of its own, in order.
#[derive(Debug)]
pub(crate) struct Checks {
    submitted: Option<SyncSender<(TxId, SignatureCheck)>>,
    verdicts: Receiver<Verdict>,
    /// Checks without a verdict yet.
    pending: usize,
    pending_max: usize,
}

impl Checks {
    /// Starts the thread; it ends when this is dropped.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, pending_max: usize) -> Self {
        let (submitted, checks) = sync_channel::<(TxId, SignatureCheck)>(pending_max);
        let (done, verdicts) = sync_channel(pending_max);
        scope.spawn(move || {
            for (tx_id, check) in checks {
                if done.send((tx_id, check.run())).is_err() {
                    return;
                }
            }
        });
        Self { submitted: Some(submitted), verdicts, pending: 0, pending_max }
    }

    /// Hands over a check. Waits for the oldest verdict if too many are pending, and answers it.
    pub(crate) fn submit(&mut self, tx_id: TxId, check: SignatureCheck) -> Option<Verdict> {
        let oldest = if self.pending >= self.pending_max { self.receive() } else { None };
        if let Some(submitted) = &self.submitted {
            // The thread lives as long as this.
            if submitted.send((tx_id, check)).is_ok() {
                self.pending += 1;
            }
        }
        oldest
    }

    /// The next verdict, if it is there.
    pub(crate) fn poll(&mut self) -> Option<Verdict> {
        if self.pending == 0 {
            return None;
        }
        match self.verdicts.try_recv() {
            Ok(verdict) => {
                self.pending -= 1;
                Some(verdict)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// The next verdict; none if nothing is pending.
    pub(crate) fn wait(&mut self) -> Option<Verdict> {
        if self.pending == 0 {
            self.submitted = None;
            return None;
        }
        self.receive()
    }

    fn receive(&mut self) -> Option<Verdict> {
        let verdict = self.verdicts.recv().ok()?;
        self.pending -= 1;
        Some(verdict)
    }
}
