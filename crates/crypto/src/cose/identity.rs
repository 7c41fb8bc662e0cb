//! The chain of service keys over all recoveries, as a node builds it and as a client checks it (crypto 12.2).

use std::collections::BTreeMap;

use ccf_types::{SeqNo, TxId};

use super::{
    CoseError,
    endorsement::{Endorsement, EndorsementRecord, after},
};
use crate::key::PublicKey;

/// Why endorsements are not a chain. For a node any of them is fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No endorsement, not even of the service by itself.
    #[error("no service identity endorsement")]
    Missing,
    /// An endorsement is malformed or not signed by the key before it.
    #[error("service identity endorsement: {0}")]
    Cose(#[from] CoseError),
    /// Ranges that do not touch, or that differ between table and message.
    #[error("service identity endorsements do not form a chain at {0}")]
    Gap(TxId),
    /// An endorsed key is not the one that endorsed before, or the newest is not the service's.
    #[error("service identity endorsement at {0} is about another key")]
    WrongKey(TxId),
    /// The last endorsement does not cover the transaction.
    #[error("no service identity endorsement covers transaction {0}")]
    NotCovered(SeqNo),
}

/// Which key signed for which part of the ledger.
#[derive(Clone, Debug)]
pub struct ServiceKeys {
    /// First seqno of an epoch and its key.
    keys: BTreeMap<SeqNo, PublicKey>,
    /// Endorsements of previous services, newest first, with the first seqno that each covers.
    endorsements: Vec<(SeqNo, Vec<u8>)>,
    created: TxId,
}

impl ServiceKeys {
    /// Verifies the values of the endorsement table, newest first, as found by following `previous_version`.
    ///
    /// `own` is the key of the current service, whose first transaction is `created`. A value whose range ends
    /// before it begins, which real ledgers have, is passed over if another follows. Values after the
    /// self-endorsement are not looked at.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn verify(
        records: &[EndorsementRecord],
        own: &PublicKey,
        created: TxId,
    ) -> Result<Self, IdentityError> {
        let mut keys = BTreeMap::from([(created.seqno, own.clone())]);
        let mut endorsements = Vec::new();
        let mut endorser = own.clone();
        let mut next_begin = created;
        for record in records {
            let (begin, end) = (record.endorsement_epoch_begin, record.endorsement_epoch_end);
            if end.is_some_and(|end| end.seqno < begin.seqno) && record.previous_version.is_some() {
                continue;
            }
            if record.endorsing_key != endorser.spki_der() {
                return Err(IdentityError::WrongKey(begin));
            }
            let endorsement = Endorsement::verify(&record.endorsement, &endorser)?;
            if (endorsement.begin, endorsement.end) != (begin, end) {
                return Err(IdentityError::Gap(begin));
            }
            let Some(end) = end else {
                // The first service's word for itself ends the chain.
                if endorsement.key != endorser {
                    return Err(IdentityError::WrongKey(begin));
                }
                if begin != next_begin {
                    return Err(IdentityError::Gap(begin));
                }
                return Ok(ServiceKeys { keys, endorsements, created });
            };
            if after(end) != next_begin {
                return Err(IdentityError::Gap(begin));
            }
            keys.insert(begin.seqno, endorsement.key.clone());
            endorsements.push((begin.seqno, record.endorsement.clone()));
            endorser = endorsement.key;
            next_begin = begin;
        }
        Err(IdentityError::Missing)
    }

    /// The key in force at a seqno.
    #[must_use]
    pub fn key_at(&self, seqno: SeqNo) -> Option<&PublicKey> {
        self.keys.range(..=seqno).next_back().map(|(_, key)| key)
    }

    /// The keys and the seqno from which each is in force, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = (SeqNo, &PublicKey)> {
        self.keys.iter().map(|(seqno, key)| (*seqno, key))
    }

    /// The endorsements that lead from the current key to the one in force at `seqno`, newest first; none if that
    /// is the current key, or older than every endorsed epoch.
    #[must_use]
    pub fn endorsements_for(&self, seqno: SeqNo) -> Vec<&[u8]> {
        if seqno >= self.created.seqno {
            return Vec::new();
        }
        let last = self.endorsements.iter().position(|(begin, _)| *begin <= seqno);
        last.map_or_else(Vec::new, |last| {
            self.endorsements[..=last].iter().map(|(_, cose)| cose.as_slice()).collect()
        })
    }
}

/// Follows endorsements, newest first, from the current service key to the key that signed for `seqno`, as a client
/// does that got them with a receipt.
///
/// # Errors
/// [`IdentityError`].
pub fn verify_endorsements(
    current: &PublicKey,
    endorsements: &[impl AsRef<[u8]>],
    seqno: SeqNo,
) -> Result<PublicKey, IdentityError> {
    let mut key = current.clone();
    let mut range: Option<(TxId, TxId)> = None;
    for cose in endorsements {
        let endorsement = Endorsement::verify(cose.as_ref(), &key)?;
        let end = endorsement.end.ok_or(IdentityError::Gap(endorsement.begin))?;
        let touches = range.is_none_or(|(newer_begin, _)| after(end) == newer_begin);
        if !touches || end.seqno < endorsement.begin.seqno {
            return Err(IdentityError::Gap(endorsement.begin));
        }
        range = Some((endorsement.begin, end));
        key = endorsement.key;
    }
    match range {
        Some((begin, end)) if seqno < begin.seqno || seqno > end.seqno => {
            Err(IdentityError::NotCovered(seqno))
        }
        _ => Ok(key),
    }
}
