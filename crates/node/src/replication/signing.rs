//! Building signature transactions: the node's signature and the service's over one root (ledger
//! specification, section 10).

use super::FinishedEntry;
use ccf_crypto::{cose::SignatureClaims, key::EcKeyPair};
use ccf_kv::{CommitError, Reserved, State, Store};
use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, SealError, seal},
    merkle::{MerkleError, MerkleTree},
    secrets::LedgerSecret,
    signature::{SignatureError, SignatureTransaction, Signer, SigningMode},
    tables::UNIT_KEY,
};
use ccf_types::{Digest, NodeId, SeqNo};
use parking_lot::RwLock;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Signs for the node and for the service.
pub struct NodeSigner {
    /// The node.
    pub node_id: NodeId,
    /// The node's key.
    pub node_key: Arc<EcKeyPair>,
    /// PEM of the node's certificate endorsed by the service, as of its local commit.
    pub endorsed_certificate: Arc<RwLock<String>>,
    /// The service's key.
    pub service_key: Arc<EcKeyPair>,
    /// Issuer and subject of COSE signatures.
    pub claims: SignatureClaims,
    /// Which signatures are written.
    pub mode: SigningMode,
}

/// A signature transaction could not be built: the node must stop.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// Signing failed.
    #[error("signing the ledger failed: {0}")]
    Signature(#[from] SignatureError),
    /// The store refused the transaction.
    #[error("the signature transaction was refused: {0}")]
    Commit(#[from] CommitError),
    /// The entry could not be built.
    #[error("the signature entry cannot be built: {0}")]
    Seal(#[from] SealError),
    /// The tree does not reach back to the commit.
    #[error("the Merkle tree cannot be written: {0}")]
    Tree(#[from] MerkleError),
}

impl NodeSigner {
    /// Fills the reserved position, whose predecessors are all in `tree`, with signatures over its root. Answers also the
    /// state after it, if it was reserved with that.
    ///
    /// # Errors
    /// [`SigningError`].
    pub(super) fn signature_entry(
        &self,
        store: &Store,
        reserved: Reserved,
        tree: &MerkleTree,
        committed: SeqNo,
        flags: Flags,
        now: SystemTime,
    ) -> Result<(FinishedEntry, Option<State>), SigningError> {
        let tx_id = reserved.tx_id;
        assert_eq!(tree.len(), tx_id.seqno.0, "a signature covers exactly the entries before it");
        let root = tree.root();
        let certificate = self.endorsed_certificate.read().clone();
        let signer = Signer {
            node_id: &self.node_id,
            node_certificate: &certificate,
            node_key: &self.node_key,
            service_key: &self.service_key,
            claims: &self.claims,
        };
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        let blob = tree.to_blob_from(committed.0)?;
        let values = SignatureTransaction::sign(&signer, self.mode, tx_id, &root, blob, now)?;
        let tx = store.begin();
        for (map, value) in values.writes() {
            tx.raw(&map).put(UNIT_KEY.as_slice(), value);
        }
        let (written, state) = store.fill(reserved, tx)?;
        let mut encoder = DomainEncoder::new();
        written.write_set.encode(&mut encoder);
        let secret: &LedgerSecret = written.context().expect("the store's context is the ledger secret");
        let context = EntryContext { tx_id, flags, claims_digest: Digest::ZERO, secret };
        let sealed = seal(&mut encoder, &context)?;
        let entry = FinishedEntry {
            tx_id,
            bytes: sealed.bytes.into(),
            leaf: sealed.leaf,
            write_set_digest: sealed.write_set_digest,
            claims_digest: Digest::ZERO,
            reconfiguration: None,
            flags,
        };
        Ok((entry, state))
    }
}
