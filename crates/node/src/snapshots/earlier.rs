//! Whose key a snapshot was signed with before the recovered service was recovered itself (ledger specification, section
//! 14.6, step 5): each service endorses the key of the one before when it opens, and these entries come after the
//! snapshot.

use ccf_crypto::{
    cose::{EndorsementRecord, IdentityError, verify_endorsements},
    key::PublicKey,
};
use ccf_governance::tables::IDENTITY_ENDORSEMENT;
use ccf_kv::{DecodeError, KvError, UNIT, WriteSet};
use ccf_ledger::{
    entry::{Entry, EntryError},
    files::{FileError, LedgerReader},
    limits::{REPLAY_BLOCK_BYTES, SEQNO_MAX},
};
use ccf_types::SeqNo;

/// Why the key is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EarlierKeyError {
    /// A ledger file.
    #[error(transparent)]
    File(#[from] FileError),
    /// An entry is malformed.
    #[error("transaction {0}: {1}")]
    Entry(SeqNo, EntryError),
    /// The writes of an entry are.
    #[error("transaction {0}: {1}")]
    Writes(SeqNo, DecodeError),
    /// An endorsement is.
    #[error("transaction {0}: {1}")]
    Value(SeqNo, KvError),
    /// The endorsements do not lead to a key for the position.
    #[error(transparent)]
    Chain(#[from] IdentityError),
}

/// The key with which the service of the time signed at `seqno`, if the endorsements in the ledger after it lead from
/// `service`, the key of the service that is trusted, back to it. They prove themselves; nothing else that is read is
/// believed.
///
/// # Errors
/// [`EarlierKeyError`].
pub fn key_of_earlier_service(
    reader: &LedgerReader,
    service: &PublicKey,
    seqno: SeqNo,
) -> Result<PublicKey, EarlierKeyError> {
    let records = endorsements_after(reader, seqno)?;
    let mut chain: Vec<Vec<u8>> = Vec::new();
    // Newest first. A service after the trusted one may have begun and endorsed; and real ledgers have values whose
    // range ends before it begins.
    let newest_first = records.into_iter().rev();
    for record in newest_first.skip_while(|record| record.endorsing_key != service.spki_der()) {
        let Some(end) = record.endorsement_epoch_end else { break };
        let begin = record.endorsement_epoch_begin.seqno;
        if end.seqno < begin {
            continue;
        }
        chain.push(record.endorsement);
        if begin <= seqno {
            return Ok(verify_endorsements(service, &chain, seqno)?);
        }
    }
    Err(IdentityError::NotCovered(seqno).into())
}

/// The values of the table of endorsements that were written after `seqno`, oldest first, as far as the ledger can be
/// read.
fn endorsements_after(
    reader: &LedgerReader,
    seqno: SeqNo,
) -> Result<Vec<EndorsementRecord>, EarlierKeyError> {
    let mut records = Vec::new();
    let mut next = seqno.next();
    loop {
        let block = match reader.read_range(next, SeqNo(SEQNO_MAX), REPLAY_BLOCK_BYTES)? {
            // One entry may be larger than a block.
            None => reader.read_range(next, next, usize::MAX)?,
            some => some,
        };
        let Some(block) = block else { return Ok(records) };
        for (at, bytes) in block.entries() {
            let entry = Entry::parse(bytes).map_err(|error| EarlierKeyError::Entry(at, error))?;
            let writes =
                WriteSet::decode(&entry, None).map_err(|error| EarlierKeyError::Writes(at, error))?;
            let map = writes.map(IDENTITY_ENDORSEMENT.name());
            if let Some(value) = map.and_then(|map| map.get(&UNIT)).flatten() {
                let record = IDENTITY_ENDORSEMENT.decode(value);
                records.push(record.map_err(|error| EarlierKeyError::Value(at, error))?);
            }
        }
        next = block.to().next();
    }
}
