//! One past transaction.

use ccf_kv::{KvError, State, StateBuilder, Tx, TypedMap, WriteSet};
use ccf_ledger::{
    receipt::{EntryDigests, Receipt, ReceiptLeaf, SignedRoot, TransactionReceipt},
    secrets::LedgerSecret,
};
use ccf_types::TxId;
use serde_json::{Value, json};
use std::sync::Arc;

/// What leads from the service of today to the service that signed, when that is another one.
#[derive(Clone, Debug, Default)]
pub struct Endorsements {
    /// PEM certificates for receipts in JSON.
    pub certificates: Arc<[String]>,
    /// COSE messages, newest first.
    pub cose: Arc<[Vec<u8>]>,
}

/// A committed transaction: exactly what it wrote, and what proves it.
#[derive(Debug)]
pub struct HistoricalState {
    tx_id: TxId,
    writes: WriteSet,
    digests: EntryDigests,
    secret: Option<Arc<LedgerSecret>>,
    signed: Arc<SignedRoot>,
    endorsements: Endorsements,
}

impl HistoricalState {
    /// A transaction of which the maker has verified that `signed` covers it, or that it is `signed` itself.
    #[must_use]
    pub fn new(
        tx_id: TxId,
        writes: WriteSet,
        digests: EntryDigests,
        secret: Option<Arc<LedgerSecret>>,
        signed: Arc<SignedRoot>,
        endorsements: Endorsements,
    ) -> HistoricalState {
        HistoricalState { tx_id, writes, digests, secret, signed, endorsements }
    }

    /// Which transaction.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// What it wrote and removed.
    #[must_use]
    pub fn writes(&self) -> &WriteSet {
        &self.writes
    }

    /// A transaction that reads a store with nothing in it but what this one wrote.
    #[must_use]
    pub fn tx(&self) -> Tx {
        Tx::on_state(self.state())
    }

    /// The value that it gave to a key; none if it did not write the key, or removed it.
    ///
    /// # Errors
    /// [`KvError`] if key or value cannot be coded.
    pub fn get<K, V, KC, VC>(&self, map: &TypedMap<K, V, KC, VC>, key: &K) -> Result<Option<V>, KvError>
    where
        KC: ccf_kv::Codec<K>,
        VC: ccf_kv::Codec<V>,
    {
        if self.writes.map(map.name()).is_none() {
            return Ok(None);
        }
        self.tx().ro(map).get(key)
    }

    /// The proof that it is in the ledger.
    #[must_use]
    pub fn receipt(&self) -> TransactionReceipt {
        let receipt = match self.signed.tx_id() == self.tx_id {
            true => None,
            false => TransactionReceipt::of_entry(
                self.tx_id,
                &self.digests,
                self.secret.as_deref(),
                Arc::clone(&self.signed),
            ),
        };
        let receipt = receipt.unwrap_or_else(|| TransactionReceipt::of_signature(Arc::clone(&self.signed)));
        TransactionReceipt {
            service_endorsements: Arc::clone(&self.endorsements.certificates),
            cose_endorsements: Arc::clone(&self.endorsements.cose),
            ..receipt
        }
    }

    fn state(&self) -> State {
        let mut builder = StateBuilder::new(self.tx_id);
        for map in self.writes.maps() {
            // Maps of a write set are distinct.
            if let Ok(mut records) = builder.map(map.name(), self.tx_id.seqno) {
                for (key, value) in map {
                    if let Some(value) = value {
                        records.insert(key, self.tx_id.seqno, value);
                    }
                }
            }
        }
        builder.finish()
    }
}

/// A receipt in the form that scripts see (section 6.3). Without a node's signature its members are empty texts.
#[must_use]
pub fn receipt_json(receipt: &TransactionReceipt) -> Value {
    let json: Option<Receipt> = receipt.json();
    let of = |part: fn(Receipt) -> String| json.clone().map(part).unwrap_or_default();
    let mut value = json!({
        "signature": of(|receipt| receipt.signature),
        "cert": of(|receipt| receipt.cert),
        "node_id": of(|receipt| receipt.node_id.to_string()),
        "is_signature_transaction": receipt.is_signature(),
    });
    match &receipt.leaf {
        _ if receipt.is_signature() => value["root_hex"] = json!(receipt.signed.root()),
        ReceiptLeaf::LeafComponents(components) => {
            value["leaf_components"] = json!(components);
            value["proof"] = json!(receipt.proof);
        }
        ReceiptLeaf::Leaf(leaf) => {
            value["leaf"] = json!(leaf);
            value["proof"] = json!(receipt.proof);
        }
    }
    value
}
