//! Reading an entry: strict, without copying, each byte once.

use ccf_types::{Digest, Domain, SeqNo, TxId};

use super::{EntryError, Flags, Frame, Records};
use crate::{
    evidence::{leaf, sha256},
    secrets::LedgerSecrets,
};

/// The kinds of ledger entries (section 5.2). Only the last one is written today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// Neither claims nor commit evidence (1.x).
    WriteSet,
    /// Claims only.
    WithClaims,
    /// Commit evidence only.
    WithCommitEvidence,
    /// Both.
    WithCommitEvidenceAndClaims,
}

impl EntryType {
    fn from_byte(byte: u8) -> Result<Self, EntryError> {
        match byte {
            0 => Ok(Self::WriteSet),
            2 => Ok(Self::WithClaims),
            3 => Ok(Self::WithCommitEvidence),
            4 => Ok(Self::WithCommitEvidenceAndClaims),
            other => Err(EntryError::Type(other)),
        }
    }

    fn has_claims(self) -> bool {
        matches!(self, Self::WithClaims | Self::WithCommitEvidenceAndClaims)
    }

    fn has_evidence(self) -> bool {
        matches!(self, Self::WithCommitEvidence | Self::WithCommitEvidenceAndClaims)
    }
}

/// An entry whose frame and fixed fields are valid. Map records are checked while they are iterated.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    bytes: &'a [u8],
    frame: Frame<'a>,
    tx_id: TxId,
    entry_type: EntryType,
    claims: Option<Digest>,
    evidence: Option<Digest>,
    records: &'a [u8],
}

/// The decrypted private domain of an entry.
#[derive(Debug)]
pub struct PrivateDomain(Vec<u8>);

impl PrivateDomain {
    /// The map records.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.0, Domain::Private)
    }

    /// Whether the entry has no private part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plaintext bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> Entry<'a> {
    /// Reads `bytes`, which must hold exactly one entry.
    ///
    /// # Errors
    /// [`EntryError`] if the frame or the fixed fields of the public domain are not valid.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let frame = Frame::parse(bytes)?;
        let tx_id = frame.tx_id()?;
        if frame.is_snapshot() {
            return Err(EntryError::TxId(tx_id));
        }
        let short = || EntryError::PublicLength(frame.public.len() as u64);
        let (entry_type, rest) = frame.public.split_first().ok_or_else(short)?;
        let entry_type = EntryType::from_byte(*entry_type)?;
        let (seqno, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let digest = |present: bool, rest: &'a [u8]| -> Result<(Option<Digest>, &'a [u8]), EntryError> {
            if !present {
                return Ok((None, rest));
            }
            let (digest, rest) = rest.split_first_chunk::<32>().ok_or_else(short)?;
            Ok((Some(Digest(*digest)), rest))
        };
        let (claims, rest) = digest(entry_type.has_claims(), rest)?;
        let (evidence, rest) = digest(entry_type.has_evidence(), rest)?;
        let (_reserved, records) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let public_seqno = u64::from_le_bytes(*seqno);
        if public_seqno != tx_id.seqno.0 {
            return Err(EntryError::SeqNoMismatch { public: public_seqno, iv: tx_id.seqno.0 });
        }
        Ok(Self { bytes, frame, tx_id, entry_type, claims, evidence, records })
    }

    /// View and seqno. The view is that of the IV, which nothing but the tag and the tree protects.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// The seqno.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.tx_id.seqno
    }

    /// Chunk flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.frame.flags
    }

    /// Which fields it has.
    #[must_use]
    pub fn entry_type(&self) -> EntryType {
        self.entry_type
    }

    /// The application's claims, if the entry's type has them; zeros mean that none were set.
    #[must_use]
    pub fn claims_digest(&self) -> Option<&Digest> {
        self.claims.as_ref()
    }

    /// Digest of the commit evidence, if the entry's type has one.
    #[must_use]
    pub fn evidence_digest(&self) -> Option<&Digest> {
        self.evidence.as_ref()
    }

    /// The whole entry.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether some part is encrypted.
    #[must_use]
    pub fn has_private_domain(&self) -> bool {
        !self.frame.private.is_empty()
    }

    /// The map records in clear.
    #[must_use]
    pub fn public_records(&self) -> Records<'a> {
        Records::new(self.records, Domain::Public)
    }

    /// SHA-256 of the whole entry. Hashes; keep the result.
    #[must_use]
    pub fn write_set_digest(&self) -> Digest {
        sha256(self.bytes)
    }

    /// The entry's leaf in the Merkle tree (section 8.3). Hashes; keep the result.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        self.leaf_with(&self.write_set_digest())
    }

    /// The leaf, when the write set digest is known already.
    #[must_use]
    pub fn leaf_with(&self, write_set_digest: &Digest) -> Digest {
        leaf(write_set_digest, self.evidence.as_ref(), self.claims.as_ref())
    }

    /// Authenticates the entry and decrypts its private domain, with the secret that applies to its seqno.
    /// An entry without private domain is authenticated too.
    ///
    /// # Errors
    /// [`EntryError::NoSecret`] or [`EntryError::Authentication`].
    pub fn decrypt(&self, secrets: &LedgerSecrets) -> Result<PrivateDomain, EntryError> {
        let secret = secrets.at(self.seqno()).ok_or(EntryError::NoSecret(self.seqno().0))?;
        secret
            .open(self.frame.iv, self.frame.public, self.frame.private, self.frame.tag)
            .map(PrivateDomain)
            .ok_or(EntryError::Authentication)
    }
}
