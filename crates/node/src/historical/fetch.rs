//! Reading entries out of ledger files and proving them: each authenticates under the ledger secret of its time, stands
//! where consensus has it, and is covered by a signature that the service of its time vouches for.

use super::lineage::{Lineage, LineageError};
use crate::replication::status::ReplicationStatus;
use ccf_crypto::key::EcKeyPair;
use ccf_endpoints::historical::{Endorsements, HistoricalState};
use ccf_governance::tables as governance;
use ccf_kv::{DecodeError, Store, UNIT, WriteSet};
use ccf_ledger::{
    entry::{Entry, EntryError},
    files::{FileError, LedgerReader},
    limits::REPLAY_BLOCK_BYTES,
    receipt::{EntryDigests, SignedRoot, SignedRootError},
    replay::{ReplayEnd, ReplayOptions, replay},
    secrets::{LedgerSecret, LedgerSecrets},
    signature::SignatureValues,
};
use ccf_types::{Digest, MapName, SeqNo, TxId};
use parking_lot::{Mutex, RwLock};
use std::{collections::HashSet, sync::Arc};

/// Certificates of nodes remembered as endorsed; a service with more has some verified again.
const ENDORSED_MAX: usize = 1000;

/// Why entries cannot be given out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The ledger files of this node do not hold it. They may later.
    #[error("transaction {0} is not in the ledger files of this node")]
    Missing(SeqNo),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No secret leads back that far.
    #[error("the ledger secret of transaction {0} is not known to this node")]
    Secret(SeqNo),
    /// The bytes.
    #[error("transaction {0}: {1}")]
    Entry(SeqNo, EntryError),
    /// The writes.
    #[error("transaction {0}: {1}")]
    Writes(SeqNo, DecodeError),
    /// The entry is of another history than the one consensus committed.
    #[error("the ledger files hold {0}, which is not what was committed there")]
    Fork(TxId),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignedRootError),
    /// The entry is not what was signed.
    #[error("transaction {entry} is not the one that was signed at {signature}")]
    NotSigned {
        /// The entry.
        entry: TxId,
        /// The signature.
        signature: TxId,
    },
    /// The service's identities.
    #[error(transparent)]
    Lineage(#[from] LineageError),
}

impl FetchError {
    /// Whether coming again can help: nothing is wrong with what was read.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self,
            FetchError::Missing(_) | FetchError::File(_) | FetchError::Secret(_) | FetchError::Lineage(_)
        )
    }
}

/// What fetching needs of the node.
pub struct FetchParts {
    /// The ledger files.
    pub reader: LedgerReader,
    /// All ledger secrets of this node.
    pub secrets: Arc<RwLock<LedgerSecrets>>,
    /// Commit and views.
    pub status: Arc<ReplicationStatus>,
    /// The tables of identities.
    pub store: Store,
    /// The key of the service, once known: it endorses the identities the service had before.
    pub service_key: Box<dyn Fn() -> Option<Arc<EcKeyPair>> + Send + Sync>,
    /// Threads that decode a range.
    pub threads: usize,
}

/// Fetches and proves entries. Any thread may; each call reads files.
pub struct Fetcher {
    parts: FetchParts,
    /// Secrets found by walking back, older than those the node has.
    older_secrets: Mutex<Vec<Arc<LedgerSecret>>>,
    lineage: Mutex<Option<Arc<Lineage>>>,
    /// PEM certificates of nodes that a service is known to have issued.
    endorsed: Mutex<HashSet<String>>,
}

/// A decoded entry: what it wrote, and the signature if it is one.
struct Decoded {
    writes: WriteSet,
    claims: Option<Digest>,
    evidence: Option<Digest>,
    signed: Option<SignedRoot>,
}

/// An entry that waits for the signature that covers it.
struct Unproved {
    tx_id: TxId,
    writes: WriteSet,
    digests: EntryDigests,
    bytes: usize,
}

/// A proved entry, and the bytes it has in the ledger.
pub type Fetched = (Arc<HistoricalState>, usize);

impl Fetcher {
    /// A fetcher of this node.
    #[must_use]
    pub fn new(parts: FetchParts) -> Fetcher {
        Fetcher {
            parts,
            older_secrets: Mutex::default(),
            lineage: Mutex::default(),
            endorsed: Mutex::default(),
        }
    }

    /// The committed position up to which entries can be fetched.
    pub(crate) fn committed(&self) -> SeqNo {
        self.parts.status.committed_seqno()
    }

    /// The view of the committed entry at a position.
    pub(crate) fn view_of(&self, seqno: SeqNo) -> Option<ccf_types::View> {
        self.parts.status.view_of(seqno)
    }

    /// The secret of a position, if known without reading.
    pub(crate) fn secret_at(&self, seqno: SeqNo) -> Option<Arc<LedgerSecret>> {
        self.parts.secrets.read().at(seqno).cloned()
    }

    /// The service's identities, as far as positions from `from` on need them.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(super) fn lineage(&self, from: SeqNo) -> Result<Arc<Lineage>, FetchError> {
        let mut known = self.lineage.lock();
        let tx = self.parts.store.begin();
        if let Some(lineage) = known.as_ref().filter(|lineage| lineage.is_current(&tx, from)) {
            return Ok(Arc::clone(lineage));
        }
        let key = (self.parts.service_key)();
        let value = |seqno, map: &MapName| {
            let secrets = self.secrets_from(seqno)?;
            public_value(&self.parts.reader, seqno, map, Some(&secrets))
        };
        let lineage = Arc::new(Lineage::read(&tx, key.as_deref(), &value)?);
        *known = Some(Arc::clone(&lineage));
        Ok(lineage)
    }

    /// Gives `sink` the entries `from ..= to`, in order, which are committed.
    ///
    /// # Errors
    /// [`FetchError`]; the entries before the bad one may have been given.
    pub fn fetch(&self, from: SeqNo, to: SeqNo, sink: &mut dyn FnMut(Fetched)) -> Result<(), FetchError> {
        let secrets = self.secrets_from(from)?;
        let lineage = self.lineage(from)?;
        lineage.check(from)?;
        let threads = if to.0 - from.0 < 64 { 1 } else { self.parts.threads };
        let options = ReplayOptions { from, to: Some(to), secrets: Some(&secrets), threads };
        let mut unproved: Vec<Unproved> = Vec::new();
        let decode = |entry: &Entry<'_>, private: Option<&_>| self.decode(entry, private, &lineage);
        let (last, end) = replay(&self.parts.reader, &options, &decode, &mut |entry| {
            if self.parts.status.view_of(entry.tx_id.seqno) != Some(entry.tx_id.view) {
                return Err(FetchError::Fork(entry.tx_id));
            }
            let (tx_id, bytes) = (entry.tx_id, entry.bytes.len());
            let Decoded { writes, claims, evidence, signed } = entry.value;
            let digests = EntryDigests { write_set: entry.write_set_digest, claims, evidence };
            match signed {
                None => unproved.push(Unproved { tx_id, writes, digests, bytes }),
                Some(signed) => {
                    let signed = Arc::new(signed);
                    prove(&mut unproved, &signed, &secrets, &lineage, sink)?;
                    let secret = secrets.at(tx_id.seqno).cloned();
                    let endorsements = lineage.endorsements(tx_id.seqno);
                    let state = HistoricalState::new(tx_id, writes, digests, secret, signed, endorsements);
                    sink((Arc::new(state), bytes));
                }
            }
            Ok(())
        });
        match end {
            ReplayEnd::Complete if last == to => {}
            ReplayEnd::Complete => return Err(FetchError::Missing(last.next())),
            ReplayEnd::File(error) => return Err(error.into()),
            ReplayEnd::Entry(seqno, error) => return Err(FetchError::Entry(seqno, error)),
            ReplayEnd::Decoder(_, error) | ReplayEnd::Stopped(_, error) => return Err(error),
        }
        if unproved.is_empty() {
            return Ok(());
        }
        let signed = Arc::new(self.signature_after(to, &secrets, &lineage)?);
        prove(&mut unproved, &signed, &secrets, &lineage, sink)
    }

    /// Runs on the threads of a replay.
    fn decode(
        &self,
        entry: &Entry<'_>,
        private: Option<&ccf_ledger::entry::PrivateDomain>,
        lineage: &Lineage,
    ) -> Result<Decoded, FetchError> {
        let seqno = entry.seqno();
        let writes = WriteSet::decode(entry, private).map_err(|error| FetchError::Writes(seqno, error))?;
        let is_signature = writes.map(&ccf_ledger::tables::COSE_SIGNATURES).is_some()
            || writes.map(&ccf_ledger::tables::SIGNATURES).is_some();
        let signed = if is_signature { Some(self.signature(entry, lineage)?) } else { None };
        let (claims, evidence) = (entry.claims_digest().copied(), entry.evidence_digest().copied());
        Ok(Decoded { writes, claims, evidence, signed })
    }

    /// A signature transaction that holds.
    fn signature(&self, entry: &Entry<'_>, lineage: &Lineage) -> Result<SignedRoot, FetchError> {
        let signed = SignedRoot::read(entry)?;
        let seqno = signed.tx_id().seqno;
        let certificate = signed.node().and_then(|node| node.cert.clone());
        let known = certificate.as_ref().is_some_and(|pem| self.endorsed.lock().contains(pem));
        let endorsers: Vec<_> = match known {
            true => Vec::new(),
            false => lineage.certificate_at(seqno).into_iter().cloned().collect(),
        };
        signed.verify(lineage.key_at(seqno), &endorsers)?;
        if let (Some(pem), false) = (certificate, known || endorsers.is_empty()) {
            let mut endorsed = self.endorsed.lock();
            if endorsed.len() >= ENDORSED_MAX {
                endorsed.clear();
            }
            endorsed.insert(pem);
        }
        Ok(signed)
    }

    /// The first signature transaction after an entry.
    fn signature_after(
        &self,
        seqno: SeqNo,
        secrets: &LedgerSecrets,
        lineage: &Lineage,
    ) -> Result<SignedRoot, FetchError> {
        let mut next = seqno.next();
        let committed = self.committed();
        while next <= committed {
            let block = match self.parts.reader.read_range(next, committed, REPLAY_BLOCK_BYTES)? {
                // One entry may be larger than a block.
                None => self.parts.reader.read_range(next, next, usize::MAX)?,
                some => some,
            };
            let block = block.ok_or(FetchError::Missing(next))?;
            for (seqno, bytes) in block.entries() {
                let malformed = |error| FetchError::Entry(seqno, error);
                let entry = Entry::parse(bytes).map_err(malformed)?;
                if SignatureValues::of(&entry).map_err(SignedRootError::from)?.is_none() {
                    continue;
                }
                entry.decrypt(secrets).map_err(malformed)?;
                let tx_id = entry.tx_id();
                if tx_id.seqno != seqno || self.parts.status.view_of(seqno) != Some(tx_id.view) {
                    return Err(FetchError::Fork(tx_id));
                }
                return self.signature(&entry, lineage);
            }
            next = block.to().next();
        }
        Err(FetchError::Missing(next))
    }

    /// All secrets that are known, and those before as far back as `seqno` demands (ledger specification, section 15).
    fn secrets_from(&self, seqno: SeqNo) -> Result<LedgerSecrets, FetchError> {
        let mut secrets = self.parts.secrets.read().clone();
        let mut older = self.older_secrets.lock();
        for secret in older.iter() {
            // What was walked to before may have come to the node by another way since.
            let _ = secrets.add(Arc::clone(secret));
        }
        while secrets.at(seqno).is_none() {
            let oldest = secrets.oldest().cloned().ok_or(FetchError::Secret(seqno))?;
            let stored_at = oldest.previous_stored_at().ok_or(FetchError::Secret(seqno))?;
            let found = Arc::new(self.secret_before(&oldest, stored_at)?);
            if found.from() >= oldest.from() || secrets.add(Arc::clone(&found)).is_err() {
                return Err(FetchError::Secret(seqno));
            }
            older.push(found);
        }
        Ok(secrets)
    }

    fn secret_before(&self, oldest: &LedgerSecret, stored_at: SeqNo) -> Result<LedgerSecret, FetchError> {
        let wanted = governance::HISTORICAL_LEDGER_SECRET;
        let value = public_value(&self.parts.reader, stored_at, wanted.name(), None)?;
        let unknown = || FetchError::Secret(oldest.from().previous());
        let link = wanted.decode(&value.ok_or_else(unknown)?).map_err(|_| unknown())?;
        let previous = link.previous_ledger_secret.ok_or_else(unknown)?;
        let raw = oldest.key().open_blob(&[], &previous.encrypted_data.0).map_err(|_| unknown())?;
        let raw: ccf_crypto::Zeroizing<[u8; 32]> =
            ccf_crypto::Zeroizing::new(raw.as_slice().try_into().map_err(|_| unknown())?);
        Ok(LedgerSecret::new(&raw, previous.version, previous.previous_secret_stored_version))
    }
}

/// Gives out entries that a signature covers.
fn prove(
    unproved: &mut Vec<Unproved>,
    signed: &Arc<SignedRoot>,
    secrets: &LedgerSecrets,
    lineage: &Lineage,
    sink: &mut dyn FnMut(Fetched),
) -> Result<(), FetchError> {
    let mut last: Option<(SeqNo, Endorsements)> = None;
    for Unproved { tx_id, writes, digests, bytes } in unproved.drain(..) {
        if signed.leaf(tx_id.seqno) != Some(digests.leaf()) {
            return Err(FetchError::NotSigned { entry: tx_id, signature: signed.tx_id() });
        }
        let epoch = lineage.epoch_of(tx_id.seqno);
        let endorsements = match &last {
            Some((known, endorsements)) if *known == epoch => endorsements.clone(),
            _ => lineage.endorsements(tx_id.seqno),
        };
        last = Some((epoch, endorsements.clone()));
        let secret = secrets.at(tx_id.seqno).cloned();
        let signed = Arc::clone(signed);
        let state = HistoricalState::new(tx_id, writes, digests, secret, signed, endorsements);
        sink((Arc::new(state), bytes));
    }
    Ok(())
}

/// What one entry of the ledger writes under the only key of a public map; none if it does not write it. Without secrets
/// the entry is not authenticated, and the value must prove itself.
///
/// # Errors
/// [`FetchError`] if the entry cannot be read.
fn public_value(
    reader: &LedgerReader,
    seqno: SeqNo,
    map: &MapName,
    secrets: Option<&LedgerSecrets>,
) -> Result<Option<Vec<u8>>, FetchError> {
    let range = reader.read_range(seqno, seqno, usize::MAX)?.ok_or(FetchError::Missing(seqno))?;
    let entry = Entry::parse(&range.bytes).map_err(|error| FetchError::Entry(seqno, error))?;
    if entry.seqno() != seqno {
        return Err(FetchError::Fork(entry.tx_id()));
    }
    if let Some(secrets) = secrets {
        entry.decrypt(secrets).map_err(|error| FetchError::Entry(seqno, error))?;
    }
    let writes = WriteSet::decode(&entry, None).map_err(|error| FetchError::Writes(seqno, error))?;
    Ok(writes.map(map).and_then(|map| map.get(&UNIT)).flatten().map(|value| value.to_vec()))
}
