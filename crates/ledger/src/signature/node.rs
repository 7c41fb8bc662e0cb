//! The node's signature: the value of `public:ccf.internal.signatures` (section 10.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_crypto::key::PublicKey;
use ccf_types::{Digest, NodeId, SeqNo, TxId, View};
use serde::{Deserialize, Serialize};

use super::{SignatureError, Signer};

/// Who signed which root, as read from the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSignature {
    /// The signer's certificate, PEM; absent in 1.x.
    pub cert: Option<String>,
    /// The signer.
    pub node: NodeId,
    /// The root it signed.
    pub root: Digest,
    /// The transaction that carries the signature.
    pub tx_id: TxId,
    /// DER ECDSA over the root as digest.
    pub sig: Vec<u8>,
}

/// The JSON members, in the order of their names. The constants are leftovers that readers require.
#[derive(Serialize)]
struct Written<'a> {
    cert: &'a str,
    commit_seqno: u64,
    commit_view: u64,
    hashed_nonce: &'static str,
    node: &'a NodeId,
    root: Digest,
    seqno: SeqNo,
    sig: String,
    view: View,
}

/// What is read: unknown and deprecated members are ignored.
#[derive(Deserialize)]
struct Read {
    cert: Option<String>,
    node: NodeId,
    root: Digest,
    seqno: SeqNo,
    sig: Bytes,
    view: View,
}

/// Byte strings are base64; old writers used arrays of numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Base64(String),
    Array(Vec<u8>),
}

const NO_NONCE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl NodeSignature {
    /// Signs a root.
    ///
    /// # Errors
    /// [`SignatureError::Signing`] if the key does not sign.
    pub fn sign(signer: &Signer<'_>, tx_id: TxId, root: &Digest) -> Result<Self, SignatureError> {
        let sig = signer.node_key.sign_root(root).map_err(|_| SignatureError::Signing)?;
        let cert = Some(signer.node_certificate.to_owned());
        Ok(Self { cert, node: signer.node_id.clone(), root: *root, tx_id, sig })
    }

    /// The value of the table.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let written = Written {
            cert: self.cert.as_deref().unwrap_or_default(),
            commit_seqno: 0,
            commit_view: 0,
            hashed_nonce: NO_NONCE,
            node: &self.node,
            root: self.root,
            seqno: self.tx_id.seqno,
            sig: STANDARD.encode(&self.sig),
            view: self.tx_id.view,
        };
        serde_json::to_vec(&written).expect("text and numbers always serialise")
    }

    /// Reads the value of the table.
    ///
    /// # Errors
    /// [`SignatureError::NodeValue`].
    pub fn from_json(value: &[u8]) -> Result<Self, SignatureError> {
        let malformed = |reason: String| SignatureError::NodeValue(reason);
        let Read { cert, node, root, seqno, sig, view } =
            serde_json::from_slice(value).map_err(|e| malformed(e.to_string()))?;
        let sig = match sig {
            Bytes::Base64(text) => STANDARD.decode(text).map_err(|e| malformed(e.to_string()))?,
            Bytes::Array(bytes) => bytes,
        };
        let cert = cert.filter(|cert| !cert.is_empty());
        Ok(Self { cert, node, root, tx_id: TxId { view, seqno }, sig })
    }

    /// Checks the signature with the signer's key. That `root` is the right one, and the key the signer's, is the
    /// caller's knowledge.
    ///
    /// # Errors
    /// [`SignatureError::NodeSignature`].
    pub fn verify(&self, key: &PublicKey, root: &Digest) -> Result<(), SignatureError> {
        key.verify_root(root, &self.sig).map_err(|_| SignatureError::NodeSignature(self.node.clone()))
    }
}
