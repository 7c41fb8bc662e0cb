//! Ledger secrets: the keys of private domains, and which of them applies where (section 7).

use ccf_crypto::{
    Zeroizing,
    aead::{AeadKey, GcmStream},
    hash::{HmacKey, hmac_sha256},
    random,
};
use ccf_types::SeqNo;
use std::{fmt, sync::Arc};

/// Label of the commit secret; its odd length is part of the format (section 21, 1).
const COMMIT_LABEL: &[u8; 8] = b"Commit S";

/// One ledger secret with the keys derived from it, expanded once. Wiped on drop.
pub struct LedgerSecret {
    raw: Zeroizing<[u8; 32]>,
    from: SeqNo,
    previous_stored_at: Option<SeqNo>,
    key: AeadKey,
    commit_key: HmacKey,
}

impl LedgerSecret {
    /// The secret `raw`, which applies from seqno `from` on. `previous_stored_at` is the seqno of the entry
    /// that holds the secret before it in encrypted form, if there is one.
    #[must_use]
    pub fn new(raw: &[u8; 32], from: SeqNo, previous_stored_at: Option<SeqNo>) -> Self {
        let commit_secret = Zeroizing::new(hmac_sha256(raw, COMMIT_LABEL));
        Self {
            raw: Zeroizing::new(*raw),
            from,
            previous_stored_at,
            key: AeadKey::new(raw),
            commit_key: HmacKey::new(commit_secret.as_slice()),
        }
    }

    /// A fresh random secret.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn random(from: SeqNo, previous_stored_at: Option<SeqNo>) -> Result<Self, random::RandomError> {
        let mut raw = Zeroizing::new([0; 32]);
        random::fill(raw.as_mut_slice())?;
        Ok(Self::new(&raw, from, previous_stored_at))
    }

    /// The first seqno it applies to.
    #[must_use]
    pub fn from(&self) -> SeqNo {
        self.from
    }

    /// Where the preceding secret can be found.
    #[must_use]
    pub fn previous_stored_at(&self) -> Option<SeqNo> {
        self.previous_stored_at
    }

    /// The secret itself, to wrap it for other nodes and for recovery.
    #[must_use]
    pub fn danger_raw(&self) -> &[u8; 32] {
        &self.raw
    }

    /// The AES-256-GCM key, for the small blobs of sections 7.2 to 7.6 and for snapshots.
    #[must_use]
    pub fn key(&self) -> &AeadKey {
        &self.key
    }

    /// Encrypts or decrypts a snapshot piece by piece.
    pub(crate) fn stream(&self, iv: &[u8; 12]) -> GcmStream {
        GcmStream::new(&self.raw, iv)
    }

    pub(crate) fn commit_key(&self) -> &HmacKey {
        &self.commit_key
    }

    /// Decrypts into new memory; `None` if the tag does not verify.
    pub(crate) fn open(
        &self,
        iv: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; 16],
    ) -> Option<Vec<u8>> {
        let mut plaintext = vec![0; ciphertext.len()];
        self.key.open_into(iv, aad, tag, ciphertext, &mut plaintext).ok()?;
        Some(plaintext)
    }

    /// Encrypts in place an entry whose size is bounded far below what GCM can take.
    pub(crate) fn seal_in_place(&self, iv: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; 16] {
        self.key.seal_in_place(iv, aad, data).expect("entries are shorter than the bound of GCM")
    }
}

impl fmt::Debug for LedgerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerSecret(from {})", self.from)
    }
}

/// All secrets a node knows, by the seqno they apply from. Cheap to clone, so that it can be part of a state
/// that is swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct LedgerSecrets {
    /// Ascending by `from`, without duplicates.
    secrets: Vec<Arc<LedgerSecret>>,
    /// Secrets up to here were there from the start and survive every rollback.
    initial_up_to: SeqNo,
}

/// Another secret already applies from the same seqno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another ledger secret already applies from seqno {0}")]
pub struct DuplicateSecret(pub SeqNo);

impl LedgerSecrets {
    /// The secrets a node starts with: its own first one, or those of the join response.
    ///
    /// # Errors
    /// [`DuplicateSecret`] if two of them apply from the same seqno.
    pub fn new(initial: impl IntoIterator<Item = LedgerSecret>) -> Result<Self, DuplicateSecret> {
        let mut secrets = Self::default();
        for secret in initial {
            secrets.add(Arc::new(secret))?;
        }
        secrets.initial_up_to = secrets.latest().map_or(SeqNo::NONE, |latest| latest.from());
        Ok(secrets)
    }

    /// Adds a secret: a newer one after a rekey, an older one found by walking back.
    ///
    /// # Errors
    /// [`DuplicateSecret`] if another secret applies from its seqno. Adding the same secret again is no error.
    pub fn add(&mut self, secret: Arc<LedgerSecret>) -> Result<(), DuplicateSecret> {
        match self.secrets.binary_search_by_key(&secret.from, |other| other.from) {
            Ok(at)
                if ccf_crypto::hash::equal_in_constant_time(
                    self.secrets[at].raw.as_slice(),
                    secret.raw.as_slice(),
                ) =>
            {
                Ok(())
            }
            Ok(_) => Err(DuplicateSecret(secret.from)),
            Err(at) => {
                self.secrets.insert(at, secret);
                Ok(())
            }
        }
    }

    /// The secret before the one that applies from `from` was stored by the entry at `stored_at`. Answers the secret that
    /// now says so.
    pub fn link(&mut self, from: SeqNo, stored_at: SeqNo) -> Option<Arc<LedgerSecret>> {
        let at = self.secrets.binary_search_by_key(&from, |secret| secret.from).ok()?;
        let linked = self.secrets.get_mut(at)?;
        *linked = Arc::new(LedgerSecret::new(linked.danger_raw(), from, Some(stored_at)));
        Some(Arc::clone(linked))
    }

    /// Drops the secrets that apply from after `seqno`, save the initial ones and the last one left.
    pub fn rollback(&mut self, seqno: SeqNo) {
        let keep = seqno.max(self.initial_up_to);
        let kept = self.secrets.partition_point(|secret| secret.from <= keep).max(1);
        self.secrets.truncate(kept);
    }

    /// The secret that applies to an entry.
    #[must_use]
    pub fn at(&self, seqno: SeqNo) -> Option<&Arc<LedgerSecret>> {
        let after = self.secrets.partition_point(|secret| secret.from <= seqno);
        self.secrets.get(after.checked_sub(1)?)
    }

    /// The newest secret.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<LedgerSecret>> {
        self.secrets.last()
    }

    /// The oldest secret known.
    #[must_use]
    pub fn oldest(&self) -> Option<&Arc<LedgerSecret>> {
        self.secrets.first()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LedgerSecret>> {
        self.secrets.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8, from: u64) -> LedgerSecret {
        LedgerSecret::new(&[byte; 32], SeqNo(from), None)
    }

    #[test]
    fn the_greatest_start_not_after_the_seqno_applies() {
        let secrets = LedgerSecrets::new([secret(2, 10), secret(1, 1), secret(3, 20)]).expect("distinct");
        for (seqno, from) in [(1, 1), (9, 1), (10, 10), (19, 10), (20, 20), (1000, 20)] {
            assert_eq!(secrets.at(SeqNo(seqno)).map(|secret| secret.from()), Some(SeqNo(from)), "{seqno}");
        }
        assert!(secrets.at(SeqNo(0)).is_none());
        assert!(LedgerSecrets::default().at(SeqNo(5)).is_none());
    }

    #[test]
    fn rollback_spares_the_initial_and_the_last_secret() {
        let mut secrets = LedgerSecrets::new([secret(1, 1), secret(2, 10)]).expect("distinct");
        secrets.add(Arc::new(secret(3, 20))).expect("new");
        secrets.rollback(SeqNo(20));
        assert_eq!(secrets.iter().count(), 3);
        secrets.rollback(SeqNo(19));
        assert_eq!(secrets.iter().count(), 2);
        secrets.rollback(SeqNo(3));
        assert_eq!(secrets.iter().count(), 2, "initial secrets stay");
        let mut one = LedgerSecrets::default();
        one.add(Arc::new(secret(1, 50))).expect("new");
        one.rollback(SeqNo(3));
        assert_eq!(one.iter().count(), 1, "the last one stays");
    }

    #[test]
    fn a_link_changes_one_secret_only() {
        let mut secrets = LedgerSecrets::new([secret(1, 1), secret(2, 10)]).expect("distinct");
        let linked = secrets.link(SeqNo(10), SeqNo(14)).expect("known");
        assert_eq!(linked.previous_stored_at(), Some(SeqNo(14)));
        let stored: Vec<_> = secrets.iter().map(|secret| secret.previous_stored_at()).collect();
        assert_eq!(stored, [None, Some(SeqNo(14))]);
        assert!(secrets.link(SeqNo(11), SeqNo(14)).is_none());
    }

    #[test]
    fn two_secrets_for_one_seqno_are_refused() {
        let mut secrets = LedgerSecrets::new([secret(1, 1)]).expect("one");
        secrets.add(Arc::new(secret(1, 1))).expect("the same again");
        assert_eq!(secrets.add(Arc::new(secret(2, 1))), Err(DuplicateSecret(SeqNo(1))));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        assert_eq!(format!("{:?}", secret(0xab, 7)), "LedgerSecret(from 7)");
    }
}
