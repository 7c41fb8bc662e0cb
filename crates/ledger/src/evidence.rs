//! Commit evidence and leaves (section 8).
//!
//! An entry carries only the digest of its commit evidence; the text, which needs the ledger secret, is
//! disclosed in receipts once the transaction is committed.

use ccf_types::{Digest, TxId};
use std::fmt;

pub(crate) use ccf_crypto::hash::{sha256, sha256_pair as hash_pair};

use crate::secrets::LedgerSecret;

/// `ce:`, two numbers of up to 20 digits, a dot, a colon, 64 hex digits.
const TEXT_BYTES_MAX: usize = 3 + 20 + 1 + 20 + 1 + 64;

/// The text `ce:view.seqno:hex` that proves, once disclosed, that a transaction is committed.
#[derive(Clone, PartialEq, Eq)]
pub struct CommitEvidence {
    text: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl CommitEvidence {
    /// Computes the text for the entry at `tx_id`, whose ledger secret is `secret`. No allocation.
    #[must_use]
    pub fn new(secret: &LedgerSecret, tx_id: TxId) -> Self {
        let mut evidence = Self { text: [0; TEXT_BYTES_MAX], len: 0 };
        evidence.push(b"ce:");
        evidence.push(itoa::Buffer::new().format(tx_id.view.0).as_bytes());
        evidence.push(b".");
        evidence.push(itoa::Buffer::new().format(tx_id.seqno.0).as_bytes());
        let nonce = secret.commit_key().sign(&evidence.text[3..evidence.len]);
        evidence.push(b":");
        let at = evidence.len;
        evidence.len += 64;
        hex::encode_to_slice(nonce, &mut evidence.text[at..at + 64]).expect("64 bytes hold 32 in hex");
        evidence
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).expect("digits and punctuation")
    }

    /// The digest that stands in the entry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.text[..self.len])
    }

    fn push(&mut self, bytes: &[u8]) {
        self.text[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl fmt::Display for CommitEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CommitEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitEvidence(..)")
    }
}

/// The leaf of an entry from its parts (section 8.3). Note that claims come last here and first in the entry.
#[must_use]
pub fn leaf(write_set: &Digest, evidence: Option<&Digest>, claims: Option<&Digest>) -> Digest {
    match (evidence, claims) {
        (None, None) => *write_set,
        (Some(one), None) | (None, Some(one)) => hash_pair(write_set, one),
        (Some(evidence), Some(claims)) => {
            let mut parts = [0; 96];
            parts[..32].copy_from_slice(write_set.as_ref());
            parts[32..64].copy_from_slice(evidence.as_ref());
            parts[64..].copy_from_slice(claims.as_ref());
            sha256(&parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_types::SeqNo;

    fn secret(hex: &str) -> LedgerSecret {
        LedgerSecret::new(&hex::decode(hex).expect("hex").try_into().expect("32 bytes"), SeqNo(1), None)
    }

    /// V2, V3 and V4 of the ledger specification.
    #[test]
    fn evidence_of_the_specification() {
        for (key, tx_id, text) in [
            (
                "d917951c0773a06148d2ff5bf0c984d075fdceb601255157ac004bb53b351079",
                TxId::new(2, 17),
                "ce:2.17:c6b549e9831683c505c6b39792b47f6f3a8897384090dbab705c349182ece503",
            ),
            (
                "9ec711a75aa018438cd3e6a29adc9afd0c028d9c88fbf9dfb0d793a4bf3e10eb",
                TxId::new(5, 506),
                "ce:5.506:f6299e672b28cde1e162243ea1cca16d14162e34ada5262c0ba3ff29a954fc6d",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                TxId::new(2, 7),
                "ce:2.7:c1b206e9faa7aed319d14b40a6bb2817733f2a768ad010b181ffd7bb11064e90",
            ),
        ] {
            let evidence = CommitEvidence::new(&secret(key), tx_id);
            assert_eq!(evidence.as_str(), text);
            assert_eq!(evidence.digest(), sha256(text.as_bytes()));
        }
        let longest = CommitEvidence::new(&secret(&"00".repeat(32)), TxId::new(u64::MAX, u64::MAX));
        assert_eq!(longest.as_str().len(), TEXT_BYTES_MAX);
    }

    /// The receipt of V13.
    #[test]
    fn leaf_of_the_specification() {
        let digest = |hex: &str| hex.parse::<Digest>().expect("digest");
        let write_set = digest("d59104beffccdf26784fb07cf7e2c224f4b6b98626782a599d78cf8e5c3237e1");
        let evidence = sha256(b"ce:4.62:b7c7ba57d556a6b09e7185349c34a62e4d2fc354eaf486860b66c05e363df3e0");
        let claims = digest("dec8e46577b9e3cef3a2275f5a97db026aac4a5e7683c530c483bcb2d1d11671");
        assert_eq!(
            leaf(&write_set, Some(&evidence), Some(&claims)),
            digest("d45fab520def747b9c04d047e95fc36fd7fa641f5c715f7b2902d1fe9c520d5e")
        );
        assert_eq!(leaf(&write_set, None, None), write_set);
        assert_eq!(leaf(&write_set, None, Some(&claims)), hash_pair(&write_set, &claims));
        assert_eq!(leaf(&write_set, Some(&evidence), None), hash_pair(&write_set, &evidence));
    }
}
