//! The chain of ledger secrets: each is stored encrypted under its successor (ledger specification, section 7.4).

use crate::tables::secrets::HistoricalSecret;
use ccf_ledger::secrets::{DuplicateSecret, LedgerSecret, LedgerSecrets};
use ccf_types::SeqNo;

/// The writes to `historical_encrypted_ledger_secret` in the order of the ledger, collected while the public ledger is
/// replayed. After a snapshot its value counts as the oldest write, made at the version of that table.
#[derive(Clone, Debug, Default)]
pub struct SecretLinks {
    /// Ascending.
    links: Vec<(SeqNo, HistoricalSecret)>,
}

/// The chain does not lead from the latest secret to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretChainError {
    /// No secret was ever stored.
    #[error("the ledger holds no link to a ledger secret")]
    Empty,
    /// The secret cannot be opened with its successor.
    #[error("the ledger secret stored at {0} cannot be decrypted with its successor")]
    Unreadable(SeqNo),
    /// Two secrets for one seqno.
    #[error(transparent)]
    Duplicate(#[from] DuplicateSecret),
}

impl SecretLinks {
    /// Takes the value written at `seqno`; a write at or after a later one replaces what was collected from there on.
    pub fn observe(&mut self, seqno: SeqNo, link: HistoricalSecret) {
        self.rollback(seqno.previous());
        self.links.push((seqno, link));
    }

    /// Forgets writes after `seqno`.
    pub fn rollback(&mut self, seqno: SeqNo) {
        self.links.truncate(self.links.partition_point(|(at, _)| *at <= seqno));
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All secrets, from the latest one.
    ///
    /// # Errors
    /// [`SecretChainError`].
    pub fn restore(&self, latest: &[u8; 32]) -> Result<LedgerSecrets, SecretChainError> {
        let (stored_at, newest) = self.links.last().ok_or(SecretChainError::Empty)?;
        let from = newest.next_version.unwrap_or_else(|| stored_at.next());
        let mut oldest = LedgerSecret::new(latest, from, Some(*stored_at));
        let mut restored = Vec::new();
        for (at, link) in self.links.iter().rev() {
            let Some(previous) = &link.previous_ledger_secret else { break };
            // Written twice when a primary changed while the service was being recovered.
            if previous.version >= oldest.from() {
                continue;
            }
            let raw = oldest.key().open_blob(&[], &previous.encrypted_data.0);
            let raw = raw.ok().and_then(|raw| <[u8; 32]>::try_from(raw.as_slice()).ok());
            let raw = ccf_crypto::Zeroizing::new(raw.ok_or(SecretChainError::Unreadable(*at))?);
            let next = LedgerSecret::new(&raw, previous.version, previous.previous_secret_stored_version);
            restored.push(std::mem::replace(&mut oldest, next));
        }
        restored.push(oldest);
        Ok(LedgerSecrets::new(restored)?)
    }
}
