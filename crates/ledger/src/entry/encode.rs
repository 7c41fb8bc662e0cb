//! Writing an entry, in two steps that any thread can run: collect the records, then seal them.

use ccf_types::{Digest, Domain, MapName, TxId};

use super::{
    Flags, HEADER_BYTES, PUBLIC_AT, TAG_BYTES,
    frame::{EntryHeader, entry_iv},
};
use crate::{
    evidence::{self, CommitEvidence, sha256},
    limits::{SEALED_ENTRY_BYTES_MAX, SEQNO_MAX},
    secrets::LedgerSecret,
};

/// The type byte of every entry we write: with commit evidence and claims.
const ENTRY_TYPE: u8 = 4;

/// Type, seqno, claims digest, evidence digest, reserved field.
const PUBLIC_FIXED_BYTES: usize = 1 + 8 + 32 + 32 + 8;

/// Collects the map records of one transaction, public and private ones apart.
///
/// Reuse one per worker: [`seal`] empties it and keeps its memory. For each map in ascending order of names
/// call [`map`](Self::map), then its writes and then its removes, both in ascending order of keys.
#[derive(Debug, Default)]
pub struct DomainEncoder {
    public: Vec<u8>,
    private: Vec<u8>,
    in_public: bool,
    writes_left: usize,
    removes: usize,
    removes_left: usize,
}

/// What an entry says besides its records.
#[derive(Clone, Copy, Debug)]
pub struct EntryContext<'a> {
    /// The transaction's position.
    pub tx_id: TxId,
    /// Chunk flags; final, because the digests cover them.
    pub flags: Flags,
    /// The application's claims, [`Digest::ZERO`] if none.
    pub claims_digest: Digest,
    /// The ledger secret that applies to the seqno.
    pub secret: &'a LedgerSecret,
}

/// A finished entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// The transaction's position.
    pub tx_id: TxId,
    /// Chunk flags, as in the bytes.
    pub flags: Flags,
    /// The whole entry, with exactly the capacity it needs.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub write_set_digest: Digest,
    /// Its leaf in the Merkle tree.
    pub leaf: Digest,
}

/// Why an entry cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The transaction writes too much.
    #[error("the entry would have {0} bytes, more than a ledger entry may")]
    TooLarge(usize),
    /// The view or seqno cannot be written.
    #[error("no entry can have the transaction ID {0}")]
    TxId(TxId),
    /// The secret starts to apply later.
    #[error("the ledger secret applies from seqno {from}, not yet to {tx_id}")]
    SecretTooNew {
        /// The entry.
        tx_id: TxId,
        /// Where the secret begins.
        from: u64,
    },
}

impl DomainEncoder {
    /// An empty encoder with room for a small transaction.
    #[must_use]
    pub fn new() -> Self {
        Self { public: Vec::with_capacity(1024), private: Vec::with_capacity(1024), ..Self::default() }
    }

    /// Begins a map, of which exactly `writes` writes and `removes` removes follow. Maps without either have
    /// no place in an entry: do not announce them.
    ///
    /// # Panics
    /// If writes or removes announced for the map before are missing.
    pub fn map(&mut self, name: &MapName, writes: usize, removes: usize) {
        self.expect_complete();
        self.in_public = name.domain() == Domain::Public;
        let buffer = self.buffer();
        put_lp(buffer, name.as_str().as_bytes());
        buffer.extend_from_slice(&[0; 16]); // read version and read count
        buffer.extend_from_slice(&(writes as u64).to_le_bytes());
        (self.writes_left, self.removes, self.removes_left) = (writes, removes, removes);
        if writes == 0 {
            self.begin_removes();
        }
    }

    /// A key gets a value.
    ///
    /// # Panics
    /// If the map was announced with fewer writes.
    pub fn write(&mut self, key: &[u8], value: &[u8]) {
        assert!(self.writes_left > 0, "a write that was not announced");
        let buffer = self.buffer();
        buffer.reserve(16 + key.len() + value.len());
        put_lp(buffer, key);
        put_lp(buffer, value);
        self.writes_left -= 1;
        if self.writes_left == 0 {
            self.begin_removes();
        }
    }

    /// A key is removed.
    ///
    /// # Panics
    /// If the map was announced with fewer removes, or its writes are not complete.
    pub fn remove(&mut self, key: &[u8]) {
        assert!(self.writes_left == 0 && self.removes_left > 0, "a remove that was not announced");
        put_lp(self.buffer(), key);
        self.removes_left -= 1;
    }

    /// Bytes that the entry will have: compare with the configured limit before a seqno is assigned.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        PUBLIC_AT + PUBLIC_FIXED_BYTES + self.public.len() + self.private.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.public.is_empty() && self.private.is_empty()
    }

    /// Forgets the records and keeps the memory, up to a bound.
    pub fn clear(&mut self) {
        for buffer in [&mut self.public, &mut self.private] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_BYTES_KEPT);
        }
        (self.writes_left, self.removes, self.removes_left) = (0, 0, 0);
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.in_public { &mut self.public } else { &mut self.private }
    }

    fn begin_removes(&mut self) {
        let removes = self.removes as u64;
        self.buffer().extend_from_slice(&removes.to_le_bytes());
    }

    fn expect_complete(&self) {
        assert!(self.writes_left == 0 && self.removes_left == 0, "a map record is incomplete");
    }
}

/// Memory of an encoder that outlives one large transaction.
const SCRATCH_BYTES_KEPT: usize = 256 << 10;

/// Builds the entry from the collected records and empties the encoder. One allocation: the entry itself.
///
/// # Errors
/// [`SealError`]; the encoder then keeps its records.
///
/// # Panics
/// If writes or removes announced for the last map are missing.
pub fn seal(encoder: &mut DomainEncoder, context: &EntryContext<'_>) -> Result<SealedEntry, SealError> {
    encoder.expect_complete();
    let EntryContext { tx_id, flags, claims_digest, secret } = *context;
    let total = encoder.entry_bytes();
    if total > SEALED_ENTRY_BYTES_MAX {
        return Err(SealError::TooLarge(total));
    }
    if tx_id.seqno.0 == 0 || tx_id.seqno.0 > SEQNO_MAX {
        return Err(SealError::TxId(tx_id));
    }
    if secret.from() > tx_id.seqno {
        return Err(SealError::SecretTooNew { tx_id, from: secret.from().0 });
    }
    let iv = entry_iv(tx_id).ok_or(SealError::TxId(tx_id))?;
    let evidence_digest = CommitEvidence::new(secret, tx_id).digest();

    let public_len = PUBLIC_FIXED_BYTES + encoder.public.len();
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(&EntryHeader::encode(flags, (total - HEADER_BYTES) as u64));
    bytes.extend_from_slice(&[0; TAG_BYTES]);
    bytes.extend_from_slice(&iv);
    bytes.extend_from_slice(&(public_len as u64).to_le_bytes());
    bytes.push(ENTRY_TYPE);
    bytes.extend_from_slice(&tx_id.seqno.0.to_le_bytes());
    bytes.extend_from_slice(claims_digest.as_ref());
    bytes.extend_from_slice(evidence_digest.as_ref());
    bytes.extend_from_slice(&[0; 8]); // reserved
    bytes.extend_from_slice(&encoder.public);
    bytes.extend_from_slice(&encoder.private);
    debug_assert_eq!(bytes.len(), total);

    let (clear, private) = bytes.split_at_mut(PUBLIC_AT + public_len);
    let tag = secret.seal_in_place(&iv, &clear[PUBLIC_AT..], private);
    clear[HEADER_BYTES..HEADER_BYTES + TAG_BYTES].copy_from_slice(&tag);

    let write_set_digest = sha256(&bytes);
    let leaf = evidence::leaf(&write_set_digest, Some(&evidence_digest), Some(&claims_digest));
    encoder.clear();
    Ok(SealedEntry { tx_id, flags, bytes, write_set_digest, leaf })
}

fn put_lp(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    buffer.extend_from_slice(bytes);
}
