//! What receipts are made of: a signature transaction with the tree it signs, and the entries before it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::{
    cert::{Certificate, verify_chain},
    key::PublicKey,
};
use ccf_types::{Digest, SeqNo, TxId};
use std::sync::{Arc, OnceLock};

use super::{LeafComponents, Receipt, ReceiptLeaf, cose_receipt};
use crate::{
    entry::Entry,
    evidence::{CommitEvidence, leaf},
    merkle::{BlobError, MerkleTree, Proof, TreeBlob},
    secrets::LedgerSecret,
    signature::{NodeSignature, ServiceSignature, SignatureError, SignatureValues},
};

/// A signature transaction, and the tree over everything before it.
#[derive(Debug)]
pub struct SignedRoot {
    tx_id: TxId,
    node: Option<NodeSignature>,
    service: Option<ServiceSignature>,
    blob: Vec<u8>,
    tree: OnceLock<MerkleTree>,
}

/// Why an entry is no signature transaction that proves something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedRootError {
    /// Its signatures.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Its tree.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is an ordinary transaction.
    #[error("transaction {0} is no signature transaction")]
    Ordinary(TxId),
    /// The tree in it has another size or root than what is signed.
    #[error("the tree in the signature transaction {0} is not what was signed")]
    OtherTree(TxId),
    /// The node is not one of the service.
    #[error("the node that signed at {0} is not endorsed by the service")]
    NotEndorsed(TxId),
}

/// The digests of an entry from which its leaf is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryDigests {
    /// Of the whole entry.
    pub write_set: Digest,
    /// The application's claims; none in entries of a type without.
    pub claims: Option<Digest>,
    /// Of the commit evidence; none in entries of a type without.
    pub evidence: Option<Digest>,
}

impl EntryDigests {
    /// Those of an entry. Hashes it.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> EntryDigests {
        EntryDigests {
            write_set: entry.write_set_digest(),
            claims: entry.claims_digest().copied(),
            evidence: entry.evidence_digest().copied(),
        }
    }

    /// The leaf in the tree.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        leaf(&self.write_set, self.evidence.as_ref(), self.claims.as_ref())
    }
}

impl SignedRoot {
    /// Reads a signature transaction. Its tree is as long as its place demands; nothing is verified yet.
    ///
    /// # Errors
    /// [`SignedRootError`].
    pub fn read(entry: &Entry<'_>) -> Result<SignedRoot, SignedRootError> {
        let tx_id = entry.tx_id();
        let values = SignatureValues::of(entry)?.ok_or(SignedRootError::Ordinary(tx_id))?;
        let node = values.signatures.map(NodeSignature::from_json).transpose()?;
        let service = values.cose_signatures.map(ServiceSignature::from_json).transpose()?;
        if let Some(other) = node.as_ref().map(|node| node.tx_id).filter(|other| *other != tx_id) {
            return Err(SignatureError::OtherTransaction(other).into());
        }
        if TreeBlob::parse(values.tree)?.len() != tx_id.seqno.0 {
            return Err(SignedRootError::OtherTree(tx_id));
        }
        Ok(SignedRoot { tx_id, node, service, blob: values.tree.to_vec(), tree: OnceLock::new() })
    }

    /// The signature transaction.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// The root over everything before it, from the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree().root()
    }

    /// The node's signature; none in ledgers with signatures of the service only.
    #[must_use]
    pub fn node(&self) -> Option<&NodeSignature> {
        self.node.as_ref()
    }

    /// The service's signature in COSE; none in old ledgers.
    #[must_use]
    pub fn cose(&self) -> Option<&[u8]> {
        self.service.as_ref().map(|service| service.cose.as_slice())
    }

    /// Bytes it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        3 * self.blob.len() + 4096
    }

    /// The leaf of an entry as the transaction has it, without hashing; none if it is not in the part that is there.
    #[must_use]
    pub fn leaf(&self, seqno: SeqNo) -> Option<Digest> {
        TreeBlob::parse(&self.blob).ok()?.leaf(seqno.0)
    }

    /// The path from an entry before it to its root; none if the entry is not in the part of the tree that is there.
    #[must_use]
    pub fn proof(&self, seqno: SeqNo) -> Option<Proof> {
        self.tree().proof(seqno.0).ok()
    }

    /// Verifies its signatures: over the root of its tree, by the service with the key `service` if it has signed, and
    /// by a node whose certificate `endorser` issued if there is one. Dates are not looked at.
    ///
    /// # Errors
    /// [`SignedRootError`].
    pub fn verify(
        &self,
        service: Option<&PublicKey>,
        endorsers: &[Certificate],
    ) -> Result<(), SignedRootError> {
        let root = self.root();
        if let Some(node) = &self.node {
            if node.root != root {
                return Err(SignedRootError::OtherTree(self.tx_id));
            }
            if let Some(pem) = &node.cert {
                let refused = |_| SignedRootError::NotEndorsed(self.tx_id);
                let certificate = Certificate::from_pem(pem).map_err(refused)?;
                let key = certificate.public_key().map_err(|_| SignedRootError::NotEndorsed(self.tx_id))?;
                if key.node_id() != node.node {
                    return Err(SignedRootError::NotEndorsed(self.tx_id));
                }
                node.verify(key, &root)?;
                if !endorsers.is_empty() {
                    verify_chain(&certificate, &[], endorsers, None)
                        .map_err(|_| SignedRootError::NotEndorsed(self.tx_id))?;
                }
            }
        }
        if let (Some(signature), Some(key)) = (&self.service, service) {
            signature.verify(key, self.tx_id, &root)?;
        }
        Ok(())
    }

    fn tree(&self) -> &MerkleTree {
        self.tree.get_or_init(|| {
            TreeBlob::parse(&self.blob).map_or_else(|_| MerkleTree::new(), |blob| blob.to_tree())
        })
    }
}

/// Proof that one transaction is in the ledger, in the forms it can be given.
#[derive(Clone, Debug)]
pub struct TransactionReceipt {
    /// The transaction.
    pub tx_id: TxId,
    /// What the path begins with; of a signature transaction its signed root.
    pub leaf: ReceiptLeaf,
    /// From the leaf to the signed root; empty for a signature transaction.
    pub proof: Proof,
    /// The signature over the root.
    pub signed: Arc<SignedRoot>,
    /// PEM certificates that lead from the node's to that of the service of today, when needed.
    pub service_endorsements: Arc<[String]>,
    /// COSE endorsements that lead from the key of today to that of the time, newest first, when needed.
    pub cose_endorsements: Arc<[Vec<u8>]>,
}

impl TransactionReceipt {
    /// The receipt of the signature transaction itself.
    #[must_use]
    pub fn of_signature(signed: Arc<SignedRoot>) -> TransactionReceipt {
        TransactionReceipt {
            tx_id: signed.tx_id(),
            leaf: ReceiptLeaf::Leaf(signed.root()),
            proof: Proof::default(),
            signed,
            service_endorsements: Arc::default(),
            cose_endorsements: Arc::default(),
        }
    }

    /// The receipt of an entry before a signature transaction, with the secret that applied to it. None if the
    /// signature's tree does not have this entry.
    #[must_use]
    pub fn of_entry(
        tx_id: TxId,
        digests: &EntryDigests,
        secret: Option<&LedgerSecret>,
        signed: Arc<SignedRoot>,
    ) -> Option<TransactionReceipt> {
        let leaf_digest = digests.leaf();
        if signed.leaf(tx_id.seqno)? != leaf_digest {
            return None;
        }
        let leaf = match (digests.evidence, secret) {
            (Some(_), Some(secret)) => ReceiptLeaf::LeafComponents(LeafComponents {
                claims_digest: digests.claims,
                commit_evidence: CommitEvidence::new(secret, tx_id).as_str().to_owned(),
                write_set_digest: digests.write_set,
            }),
            // What has no evidence to disclose is proved by its leaf (quirk A5 of the receipt specification).
            _ => ReceiptLeaf::Leaf(leaf_digest),
        };
        let proof = signed.proof(tx_id.seqno)?;
        let (service_endorsements, cose_endorsements) = (Arc::default(), Arc::default());
        Some(TransactionReceipt { tx_id, leaf, proof, signed, service_endorsements, cose_endorsements })
    }

    /// Whether it is of a signature transaction.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        self.signed.tx_id() == self.tx_id
    }

    /// The receipt in JSON; none if the node has not signed (ledgers with signatures of the service only).
    #[must_use]
    pub fn json(&self) -> Option<Receipt> {
        let node = self.signed.node()?;
        Some(Receipt {
            cert: node.cert.clone().unwrap_or_default(),
            leaf: self.leaf.clone(),
            node_id: node.node.clone(),
            proof: self.proof.clone(),
            service_endorsements: self.service_endorsements.to_vec(),
            signature: STANDARD.encode(&node.sig),
        })
    }

    /// The receipt in COSE; none if there is nothing to prove with: of signature transactions, entries without commit
    /// evidence, or where the service has not signed.
    #[must_use]
    pub fn cose(&self) -> Option<Vec<u8>> {
        let ReceiptLeaf::LeafComponents(components) = &self.leaf else { return None };
        cose_receipt(self.signed.cose()?, components, &self.proof).ok()
    }
}
