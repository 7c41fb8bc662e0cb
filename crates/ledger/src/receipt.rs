//! Receipts: proof that an entry stands under a signed root. Here those in JSON (crypto specification, section 9).

mod cose;
mod signed;
#[cfg(test)]
mod tests;

pub use cose::{CoseReceipt, CoseReceiptError, cose_receipt};
pub use signed::{EntryDigests, SignedRoot, SignedRootError, TransactionReceipt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::cert::{Certificate, verify_chain};
use ccf_types::{Digest, NodeId, TxId};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{leaf, sha256},
    merkle::Proof,
};

/// A receipt. Its JSON has the members in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Receipt {
    /// PEM certificate of the signing node; empty for signatures of 1.x.
    pub cert: String,
    /// What is proved.
    #[serde(flatten)]
    pub leaf: ReceiptLeaf,
    /// The signing node.
    pub node_id: NodeId,
    /// From the leaf to the root; empty for a signature transaction.
    pub proof: Proof,
    /// Certificates that lead from the node's certificate to the service certificate of today, if that is another
    /// than the one that endorsed the node: the first signed the node's, each next the one before it, and the service of
    /// today the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_endorsements: Vec<String>,
    /// Base64 of the DER signature over the root.
    pub signature: String,
}

/// What the path of a receipt begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptLeaf {
    /// The leaf itself: the signed root for a signature transaction, the write set digest for an entry without
    /// commit evidence.
    Leaf(Digest),
    /// The parts of the leaf.
    LeafComponents(LeafComponents),
}

/// The parts of a leaf. All of them together are a promise that the transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafComponents {
    /// The application's claims; absent if they are given in full elsewhere, or in old entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_digest: Option<Digest>,
    /// The text whose digest stands in the entry.
    pub commit_evidence: String,
    /// SHA-256 of the entry.
    pub write_set_digest: Digest,
}

impl LeafComponents {
    /// The leaf. `claims` stand in where the receipt has none.
    #[must_use]
    pub fn leaf(&self, claims: Option<&Digest>) -> Digest {
        let evidence = sha256(self.commit_evidence.as_bytes());
        leaf(&self.write_set_digest, Some(&evidence), self.claims_digest.as_ref().or(claims))
    }

    /// The transaction named by the commit evidence.
    #[must_use]
    pub fn tx_id(&self) -> Option<TxId> {
        self.commit_evidence.strip_prefix("ce:")?.split_once(':')?.0.parse().ok()
    }
}

/// The forms that are accepted when reading (9.2).
#[derive(Deserialize)]
struct Raw {
    cert: String,
    is_signature_transaction: Option<bool>,
    leaf: Option<Digest>,
    leaf_components: Option<LeafComponents>,
    node_id: NodeId,
    proof: Proof,
    #[serde(default)]
    service_endorsements: Vec<String>,
    signature: String,
}

impl TryFrom<Raw> for Receipt {
    type Error = &'static str;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        if raw.is_signature_transaction == Some(true) {
            return Err("a receipt of a signature transaction in its native form");
        }
        let leaf = match (raw.leaf, raw.leaf_components) {
            (Some(leaf), None) => ReceiptLeaf::Leaf(leaf),
            (None, Some(components)) => ReceiptLeaf::LeafComponents(components),
            _ => return Err("exactly one of leaf and leaf_components must be there"),
        };
        Ok(Receipt {
            cert: raw.cert,
            leaf,
            node_id: raw.node_id,
            proof: raw.proof,
            service_endorsements: raw.service_endorsements,
            signature: raw.signature,
        })
    }
}

/// Why a receipt does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// A certificate cannot be read.
    #[error("unusable certificate: {0}")]
    Certificate(String),
    /// The signature is no base64, or does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The certificate is not that of the node named.
    #[error("the certificate is not that of node {0}")]
    OtherNode(NodeId),
    /// No path of endorsements leads to the service.
    #[error("the node is not endorsed by the service: {0}")]
    NotEndorsed(String),
}

impl Receipt {
    /// The root that the leaf and the path give. `claims` stand in where the receipt has none.
    #[must_use]
    pub fn root(&self, claims: Option<&Digest>) -> Digest {
        let leaf = match &self.leaf {
            ReceiptLeaf::Leaf(leaf) => *leaf,
            ReceiptLeaf::LeafComponents(components) => components.leaf(claims),
        };
        self.proof.root(&leaf)
    }

    /// Verifies the receipt against the certificate of a service (9.3). Dates are not looked at. `claims` stand in
    /// where the receipt has none.
    ///
    /// # Errors
    /// [`ReceiptError`] if it does not hold.
    pub fn verify(&self, service: &Certificate, claims: Option<&Digest>) -> Result<(), ReceiptError> {
        let read =
            |pem: &str| Certificate::from_pem(pem).map_err(|e| ReceiptError::Certificate(e.to_string()));
        let node = read(&self.cert)?;
        self.verify_signature(&node, claims)?;
        let endorsements =
            self.service_endorsements.iter().map(|pem| read(pem)).collect::<Result<Vec<_>, _>>()?;
        // Each certificate is signed by exactly the next one: an endorsement that is not needed proves nothing.
        let mut below = &node;
        for issuer in endorsements.iter().chain([service]) {
            if below == issuer {
                return Err(ReceiptError::NotEndorsed("a certificate stands twice in a row".to_owned()));
            }
            verify_chain(below, &[], std::slice::from_ref(issuer), None)
                .map_err(|e| ReceiptError::NotEndorsed(e.to_string()))?;
            below = issuer;
        }
        Ok(())
    }

    /// Verifies only that the holder of this certificate signed the root.
    ///
    /// # Errors
    /// [`ReceiptError`] if not.
    pub fn verify_signature(&self, node: &Certificate, claims: Option<&Digest>) -> Result<(), ReceiptError> {
        let key = node.public_key().map_err(|e| ReceiptError::Certificate(e.to_string()))?;
        if key.node_id() != self.node_id {
            return Err(ReceiptError::OtherNode(self.node_id.clone()));
        }
        let signature = STANDARD.decode(&self.signature).map_err(|_| ReceiptError::Signature)?;
        key.verify_root(&self.root(claims), &signature).map_err(|_| ReceiptError::Signature)
    }
}
