//! Judging entries of the primary (ledger specification, sections 4.10 and 10.5).

use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_governance::tables;
use ccf_kv::{DecodeError, KvError, Store, Tx, WriteSet};
use ccf_ledger::{
    entry::{Entry, EntryError, Flags},
    merkle::MerkleTree,
    receipt::EntryDigests,
    secrets::LedgerSecrets,
    signature::{NodeSignature, ServiceSignature, SignatureError, SignatureValues},
};
use ccf_types::{Digest, NodeId, TxId};

/// Why an entry is refused. The text goes to the log, once.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Bytes.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Records.
    #[error(transparent)]
    Records(#[from] DecodeError),
    /// Another transaction than the primary announced.
    #[error("it is transaction {0}")]
    OtherTransaction(TxId),
    /// Flags that only other entries may have: they are not encrypted with the entry, and would break the ledger files.
    #[error("it ends a chunk where none may end")]
    ChunkEnd,
    /// A signature transaction that does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A signature over another history than ours.
    #[error("the signature is over another root than that of this node's ledger")]
    Root,
    /// A signature by a node that the service has not endorsed.
    #[error("no certificate is known of node {0}, which signed")]
    UnknownSigner(NodeId),
    /// The tables that tell who may sign.
    #[error("the tables of identities cannot be read: {0}")]
    Tables(#[from] KvError),
    /// A certificate in the tables is none.
    #[error("a certificate in the tables cannot be read")]
    Certificate,
    /// Ledger secrets that this node cannot use.
    #[error("the ledger secrets in it cannot be used: {0}")]
    Secrets(String),
    /// The service's identity is not known.
    #[error("the service's certificate is not known")]
    NoService,
}

impl Refused {
    /// A short name, for counters.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Refused::Entry(_) => "entry",
            Refused::Records(_) => "entry_records",
            Refused::OtherTransaction(_) => "entry_of_other_transaction",
            Refused::ChunkEnd => "entry_chunk_end",
            Refused::Signature(_) => "entry_signature",
            Refused::Root => "entry_root",
            Refused::UnknownSigner(_) => "entry_unknown_signer",
            Refused::Secrets(_) => "entry_secrets",
            Refused::Tables(_) | Refused::Certificate | Refused::NoService => "entry_identities",
        }
    }
}

/// Chunks end with signatures, and before the entry behind one.
///
/// # Errors
/// [`Refused::ChunkEnd`].
pub(super) fn check_flags(entry: &Entry<'_>, behind_signature: bool) -> Result<(), Refused> {
    let flags = entry.flags();
    let ends = flags.contains(Flags::CHUNK_AFTER) && SignatureValues::of(entry)?.is_none();
    if ends || flags.contains(Flags::CHUNK_BEFORE) && !behind_signature {
        return Err(Refused::ChunkEnd);
    }
    Ok(())
}

/// An entry that may be applied.
pub(super) struct Accepted {
    pub(super) contents: Contents,
    pub(super) committable: bool,
}

/// What an entry says by itself.
pub(super) struct Contents {
    pub(super) write_set: WriteSet,
    pub(super) digests: EntryDigests,
    /// The leaf in the Merkle tree.
    pub(super) leaf: Digest,
    pub(super) flags: Flags,
}

impl Contents {
    /// Without `secrets` only the public domain is read.
    fn of(entry: &Entry<'_>, secrets: Option<&LedgerSecrets>) -> Result<Contents, Refused> {
        let private = secrets.map(|secrets| entry.decrypt(secrets)).transpose()?;
        let write_set = WriteSet::decode(entry, private.as_ref())?;
        let digests = EntryDigests::of(entry);
        Ok(Contents { write_set, leaf: digests.leaf(), digests, flags: entry.flags() })
    }
}

/// An entry that is no signature, decoded before its turn.
pub(super) struct Decoded {
    tx_id: TxId,
    /// Where it stands in memory: address and length.
    place: (usize, usize),
    /// Whether the private domain was read too.
    is_whole: bool,
    contents: Contents,
}

impl Decoded {
    /// None if `bytes` are a signature, or nothing that may be applied.
    pub(super) fn of(bytes: &[u8], secrets: Option<&LedgerSecrets>) -> Option<Decoded> {
        let entry = Entry::parse(bytes).ok()?;
        if SignatureValues::of(&entry).ok()?.is_some() {
            return None;
        }
        let contents = Contents::of(&entry, secrets).ok()?;
        Some(Decoded { tx_id: entry.tx_id(), place: place(bytes), is_whole: secrets.is_some(), contents })
    }

    /// Whether it stands before `bytes` of the same message.
    pub(super) fn is_before(&self, bytes: &[u8]) -> bool {
        self.place < place(bytes)
    }

    /// Whether it was `bytes`.
    pub(super) fn is_at(&self, bytes: &[u8]) -> bool {
        self.place == place(bytes)
    }

    /// What it says, if it is as it is needed and there is nothing odd about it.
    pub(super) fn into_contents(
        self,
        expected: TxId,
        is_whole: bool,
        behind_signature: bool,
    ) -> Option<Contents> {
        let flags = self.contents.flags;
        let is_odd =
            flags.contains(Flags::CHUNK_AFTER) || flags.contains(Flags::CHUNK_BEFORE) && !behind_signature;
        let fits = self.tx_id == expected && self.is_whole == is_whole && !is_odd;
        fits.then_some(self.contents)
    }
}

fn place(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr() as usize, bytes.len())
}

/// Judges entries, remembering the keys of those who signed last.
#[derive(Default)]
pub(super) struct Judge {
    signer: Option<(String, PublicKey)>,
    service: Option<(String, PublicKey)>,
}

impl Judge {
    /// Judges an entry that would follow on `tree`, in the state of `store`. Without `secrets` only the public domain is
    /// read, as while a service recovers.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn judge(
        &mut self,
        expected: TxId,
        entry: &Entry<'_>,
        secrets: Option<&LedgerSecrets>,
        tree: &MerkleTree,
        store: &Store,
    ) -> Result<Accepted, Refused> {
        if entry.tx_id() != expected {
            return Err(Refused::OtherTransaction(entry.tx_id()));
        }
        let contents = Contents::of(entry, secrets)?;
        let signature = SignatureValues::of(entry)?;
        if let Some(values) = &signature {
            self.signature(expected, values, tree, &store.begin())?;
        }
        Ok(Accepted { contents, committable: signature.is_some() })
    }

    /// Whether an entry is a signature that holds over `tree`.
    pub(super) fn holds(
        &mut self,
        expected: TxId,
        entry: &Entry<'_>,
        tree: &MerkleTree,
        store: &Store,
    ) -> bool {
        let Ok(Some(values)) = SignatureValues::of(entry) else { return false };
        self.signature(expected, &values, tree, &store.begin()).is_ok()
    }

    fn signature(
        &mut self,
        tx_id: TxId,
        values: &SignatureValues<'_>,
        tree: &MerkleTree,
        tx: &Tx,
    ) -> Result<(), Refused> {
        let root = tree.root();
        if let Some(value) = values.signatures {
            let signature = NodeSignature::from_json(value)?;
            if signature.tx_id != tx_id {
                return Err(SignatureError::OtherTransaction(signature.tx_id).into());
            }
            if signature.root != root {
                return Err(Refused::Root);
            }
            let endorsed = tx.ro(&tables::NODE_ENDORSED_CERTIFICATES).get(&signature.node)?;
            let pem = match endorsed {
                Some(pem) => Some(pem),
                None => tx.ro(&tables::NODES).get(&signature.node)?.and_then(|row| row.cert),
            };
            let pem = pem.ok_or_else(|| Refused::UnknownSigner(signature.node.clone()))?;
            signature.verify(cached(&mut self.signer, pem)?, &root)?;
        }
        if let Some(value) = values.cose_signatures {
            let signature = ServiceSignature::from_json(value)?;
            let pem = tx.ro(&tables::SERVICE_INFO).get()?.ok_or(Refused::NoService)?.cert;
            signature.verify(cached(&mut self.service, pem)?, tx_id, &root)?;
        }
        Ok(())
    }
}

/// The key of a certificate, parsed again only if the certificate is another one than last time.
fn cached(known: &mut Option<(String, PublicKey)>, pem: String) -> Result<&PublicKey, Refused> {
    if known.as_ref().is_none_or(|(of, _)| *of != pem) {
        let certificate = Certificate::from_pem(&pem).map_err(|_| Refused::Certificate)?;
        let key = certificate.public_key().map_err(|_| Refused::Certificate)?.clone();
        *known = Some((pem, key));
    }
    known.as_ref().map(|(_, key)| key).ok_or(Refused::Certificate)
}
