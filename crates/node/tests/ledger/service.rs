//! A service without a network: a store, keys, a tree and ledger files, driven by hand.

use ccf_crypto::{
    cert::{Certificate, CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    cose::SignatureClaims,
    key::{Curve, EcKeyPair},
};
use ccf_governance::tables::{
    self,
    service::{ServiceInfo, ServiceStatus},
};
use ccf_kv::{State, Store, Tx, Written};
use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, SealedEntry, seal},
    files::LedgerWriter,
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
    signature::{SignatureTransaction, Signer, SigningMode},
    tables::UNIT_KEY,
};
use ccf_types::{Digest, MapName, NodeId, SeqNo, TxId, View};
use std::{path::Path, sync::Arc};
use time::OffsetDateTime;

/// What a service is made of.
pub(crate) struct TestService {
    pub(crate) store: Store,
    pub(crate) tree: MerkleTree,
    pub(crate) writer: LedgerWriter,
    pub(crate) raw_secret: [u8; 32],
    pub(crate) secret: Arc<LedgerSecret>,
    pub(crate) certificate: Certificate,
    service_key: EcKeyPair,
    node_key: EcKeyPair,
    node_id: NodeId,
    node_certificate: String,
    /// The first transaction.
    create: TxId,
}

impl TestService {
    /// A service whose first transaction has the rows that signatures are verified with. `prepare` may install hooks.
    pub(crate) fn new(directory: &Path, prepare: impl FnOnce(&Store)) -> TestService {
        let service_key = EcKeyPair::generate(Curve::P384).expect("key");
        let node_key = EcKeyPair::generate(Curve::P384).expect("key");
        let validity = Validity::from_days(OffsetDateTime::now_utc(), 10).expect("validity");
        let name = |text| Name::parse(text).expect("name");
        let certificate = self_signed(&service_key, &name("CN=service"), &[], CertificateKind::Ca, &validity);
        let certificate = certificate.expect("certificate");
        let request = SigningRequest::create(&node_key, &name("CN=node"), &[]).expect("request");
        let issuer = Issuer::new(&certificate, &service_key).expect("issuer");
        let node_certificate =
            issuer.endorse(&request, CertificateKind::Leaf, &validity).expect("endorsed").to_pem();
        let raw_secret = [7; 32];
        let secret = Arc::new(LedgerSecret::new(&raw_secret, SeqNo(1), None));
        let store = Store::new();
        prepare(&store);
        store.set_context(Arc::clone(&secret));
        store.set_primary(View::FIRST);
        let create = TxId { view: View::FIRST, seqno: SeqNo(1) };
        let mut service = TestService {
            store,
            tree: MerkleTree::new(),
            writer: LedgerWriter::open(directory, &[], &mut Vec::new()).expect("opens"),
            raw_secret,
            secret,
            certificate,
            service_key,
            node_id: node_key.public_key().node_id(),
            node_key,
            node_certificate,
            create,
        };
        service.commit(|service, tx| {
            let info = ServiceInfo {
                cert: service.certificate.to_pem(),
                current_service_create_txid: Some(create),
                previous_service_identity_version: None,
                recovery_count: Some(0),
                service_data: None,
                status: ServiceStatus::Open,
            };
            tx.rw(&tables::SERVICE_INFO).put(&info).expect("put");
            let endorsed = tx.rw(&tables::NODE_ENDORSED_CERTIFICATES);
            endorsed.put(&service.node_id, &service.node_certificate).expect("put");
            let row = concat!(
                r#"{"encryption_pub_key":"","node_to_node_interface":{"bind_address":""},"#,
                r#""quote_info":{"endorsements":"","format":"Insecure_Virtual","quote":""},"#,
                r#""rpc_interfaces":{},"status":"Trusted"}"#
            );
            tx.raw(tables::NODES.name()).put(service.node_id.as_str().as_bytes(), row.as_bytes());
        });
        service
    }

    pub(crate) fn secrets(&self) -> LedgerSecrets {
        LedgerSecrets::new([LedgerSecret::new(&self.raw_secret, SeqNo(1), None)]).expect("one")
    }

    /// The last transaction.
    pub(crate) fn last(&self) -> TxId {
        self.store.tx_id()
    }

    /// Commits what `body` writes, and appends its entry.
    pub(crate) fn commit(&mut self, body: impl FnOnce(&TestService, &Tx)) -> TxId {
        let tx = self.store.begin();
        body(self, &tx);
        let written = tx.commit().expect("no conflict").into_written().expect("it wrote");
        self.append(&written, Digest::ZERO, Flags::NONE, false);
        written.tx_id
    }

    /// Writes one key of one map.
    pub(crate) fn put(&mut self, map: &MapName, key: &[u8], value: &[u8]) -> TxId {
        self.commit(|_, tx| tx.raw(map).put(key, value))
    }

    /// Appends the entry of a transaction committed in the store.
    pub(crate) fn append(
        &mut self,
        written: &Written,
        claims_digest: Digest,
        flags: Flags,
        committable: bool,
    ) -> SealedEntry {
        let mut encoder = DomainEncoder::new();
        written.write_set.encode(&mut encoder);
        let context = EntryContext { tx_id: written.tx_id, flags, claims_digest, secret: &self.secret };
        let sealed = seal(&mut encoder, &context).expect("sealed");
        self.tree.append(sealed.leaf);
        self.writer.append(&sealed.bytes, committable).expect("written");
        sealed
    }

    /// Signs; with `keep` answers the state at the signature, and its leaf.
    pub(crate) fn sign(&mut self, flags: Flags, keep: bool) -> (TxId, Option<(State, Digest)>) {
        let reserved = self.store.reserve(keep).expect("primary");
        let tx_id = reserved.tx_id;
        let signer = Signer {
            node_id: &self.node_id,
            node_certificate: &self.node_certificate,
            node_key: &self.node_key,
            service_key: &self.service_key,
            claims: &SignatureClaims::default(),
        };
        let root = self.tree.root();
        let blob = self.tree.to_blob_from(self.store.committed().0).expect("held");
        let values =
            SignatureTransaction::sign(&signer, SigningMode::Dual, tx_id, &root, blob, 1_700_000_000);
        let tx = self.store.begin();
        for (map, value) in values.expect("signed").writes() {
            tx.raw(&map).put(UNIT_KEY.as_slice(), value);
        }
        let (written, state) = self.store.fill(reserved, tx).expect("filled");
        let leaf = self.append(&written, Digest::ZERO, flags, true).leaf;
        (tx_id, state.map(|state| (state, leaf)))
    }

    /// Everything up to a signature is committed.
    pub(crate) fn commit_up_to(&mut self, seqno: SeqNo) {
        self.store.compact(seqno);
        self.tree.flush(seqno.0);
        self.writer.commit(seqno).expect("committed");
    }

    /// The first transaction of each view.
    pub(crate) fn view_starts(&self) -> Vec<TxId> {
        vec![self.create]
    }
}
