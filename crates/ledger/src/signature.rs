//! Signature transactions (section 10): the values they write, and what must hold when one is read.
//!
//! A signature transaction at seqno `s` signs the root over leaves `0 ..= s-1`. It is the only kind of entry that
//! can be committed. Who may sign is a question of governance tables and not answered here.

mod node;
mod service;

pub use node::NodeSignature;
pub use service::ServiceSignature;

use ccf_crypto::{cose::SignatureClaims, key::EcKeyPair};
use ccf_types::{Digest, MapName, NodeId, TxId};

use crate::{
    entry::{DomainEncoder, Entry, EntryError, Record},
    tables,
};

/// Which signatures a service writes (section 10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SigningMode {
    /// By the node and by the service.
    #[default]
    Dual,
    /// By the service only; nodes of dual mode may join, for rolling upgrades.
    CoseAllowDualJoin,
    /// By the service only.
    CoseOnly,
}

impl SigningMode {
    /// Whether the node signs too.
    #[must_use]
    pub fn has_node_signature(self) -> bool {
        self == SigningMode::Dual
    }
}

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The node.
    pub node_id: &'a NodeId,
    /// Its certificate endorsed by the service, PEM.
    pub node_certificate: &'a str,
    /// Its key.
    pub node_key: &'a EcKeyPair,
    /// The key of the service.
    pub service_key: &'a EcKeyPair,
    /// Issuer and subject that the service's signatures carry.
    pub claims: &'a SignatureClaims,
}

/// The values of a signature transaction, ready to be written under [`tables::UNIT_KEY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTransaction {
    /// Of [`tables::COSE_SIGNATURES`].
    pub cose_signatures: Vec<u8>,
    /// Of [`tables::SIGNATURES`], in dual mode.
    pub signatures: Option<Vec<u8>>,
    /// Of [`tables::TREE`].
    pub tree: Vec<u8>,
}

impl SignatureTransaction {
    /// Signs `root`, that of a tree with `tx_id.seqno` leaves whose serialised form is `tree`. `unix_seconds` is
    /// the time of signing. Two ECDSA signatures in dual mode: call it where that may take its time.
    ///
    /// # Errors
    /// [`SignatureError::Signing`] if a key does not sign.
    pub fn sign(
        signer: &Signer<'_>,
        mode: SigningMode,
        tx_id: TxId,
        root: &Digest,
        tree: Vec<u8>,
        unix_seconds: i64,
    ) -> Result<Self, SignatureError> {
        let signatures = match mode.has_node_signature() {
            true => Some(NodeSignature::sign(signer, tx_id, root)?.to_json()),
            false => None,
        };
        let cose_signatures = ServiceSignature::sign(signer, tx_id, root, unix_seconds)?.to_json();
        Ok(Self { cose_signatures, signatures, tree })
    }

    /// The writes, in the order of an entry: each map gets one value under [`tables::UNIT_KEY`].
    pub fn writes(&self) -> impl Iterator<Item = (MapName, &[u8])> {
        let signatures = self.signatures.as_deref().map(|value| (tables::SIGNATURES, value));
        std::iter::once((tables::COSE_SIGNATURES, self.cose_signatures.as_slice()))
            .chain(signatures)
            .chain(std::iter::once((tables::TREE, self.tree.as_slice())))
    }

    /// Writes the records of the entry.
    pub fn encode(&self, encoder: &mut DomainEncoder) {
        for (map, value) in self.writes() {
            encoder.map(&map, 1, 0);
            encoder.write(&tables::UNIT_KEY, value);
        }
    }
}

/// The values found in a signature entry, not parsed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureValues<'a> {
    /// Of [`tables::SIGNATURES`], if the entry wrote it.
    pub signatures: Option<&'a [u8]>,
    /// Of [`tables::COSE_SIGNATURES`], if the entry wrote it.
    pub cose_signatures: Option<&'a [u8]>,
    /// Of [`tables::TREE`].
    pub tree: &'a [u8],
}

impl<'a> SignatureValues<'a> {
    /// The values, if `entry` is a signature transaction; `None` if it is an ordinary one. Walks all records of the
    /// public domain.
    ///
    /// # Errors
    /// [`SignatureError::Shape`] if it writes a signature and not exactly what a signature transaction writes
    /// (section 4.10, 6), [`SignatureError::Entry`] if a record is malformed.
    pub fn of(entry: &Entry<'a>) -> Result<Option<Self>, SignatureError> {
        let mut collector = SignatureCollector::default();
        for record in entry.public_records() {
            collector.record(&record?);
        }
        collector.finish(entry.has_private_domain())
    }
}

/// Gathers [`SignatureValues`] while someone else walks the records.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignatureCollector<'a> {
    current: Option<Slot>,
    values: [Option<&'a [u8]>; 3],
    others: bool,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Cose,
    Node,
    Tree,
}

impl<'a> SignatureCollector<'a> {
    /// Looks at the next record of the public domain.
    pub fn record(&mut self, record: &Record<'a>) {
        match (record, self.current) {
            (Record::Map { name, .. }, _) => {
                self.current = match *name {
                    name if !name.starts_with(INTERNAL) => None,
                    name if name == tables::COSE_SIGNATURES.as_str() => Some(Slot::Cose),
                    name if name == tables::SIGNATURES.as_str() => Some(Slot::Node),
                    name if name == tables::TREE.as_str() => Some(Slot::Tree),
                    _ => None,
                };
                self.others |= self.current.is_none();
            }
            (Record::Write { key, value }, Some(slot))
                if *key == tables::UNIT_KEY.as_slice() && self.values[slot as usize].is_none() =>
            {
                self.values[slot as usize] = Some(value);
            }
            (_, Some(_)) => self.others = true,
            (_, None) => {}
        }
    }

    /// The verdict over all records.
    ///
    /// # Errors
    /// [`SignatureError::Shape`] if a signature was written and not exactly what a signature transaction writes.
    pub fn finish(self, has_private_domain: bool) -> Result<Option<SignatureValues<'a>>, SignatureError> {
        let [cose_signatures, signatures, tree] = self.values;
        if cose_signatures.is_none() && signatures.is_none() {
            return Ok(None);
        }
        match tree {
            Some(tree) if !self.others && !has_private_domain => {
                Ok(Some(SignatureValues { signatures, cose_signatures, tree }))
            }
            _ => Err(SignatureError::Shape),
        }
    }
}

const INTERNAL: &str = "public:ccf.internal.";

/// Why a signature transaction is refused, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A record of the entry is malformed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Something else was written beside the signature, or the tree was not.
    #[error("it does not write exactly the tables of a signature transaction")]
    Shape,
    /// The value of the `signatures` table is malformed.
    #[error("malformed node signature: {0}")]
    NodeValue(String),
    /// The value of the `cose_signatures` table is malformed.
    #[error("malformed service signature: {0}")]
    ServiceValue(String),
    /// A signature names another transaction.
    #[error("the signature is for transaction {0}")]
    OtherTransaction(TxId),
    /// The node's signature does not verify.
    #[error("the signature of node {0} does not verify")]
    NodeSignature(NodeId),
    /// The service's signature does not verify.
    #[error("the signature of the service does not verify")]
    ServiceSignature,
    /// A key did not sign.
    #[error("signing failed")]
    Signing,
}
