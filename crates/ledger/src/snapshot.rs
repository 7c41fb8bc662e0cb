//! Snapshots (sections 14.1 and 14.2): the frame of an entry around the whole state, then a receipt.
//!
//! ```text
//! public domain: 01 | u64 seqno | u64 0 | lp(leaf of entry seqno) | lp(view history) | map snapshots
//! map snapshot:  lp(name) | u64 version | lp(entries)
//! entry:         lp(key) padded to 8 | lp(u64 version, value) padded to 8
//! ```
//! The private domain, once decrypted, is map snapshots alone.

mod encode;
mod verify;

pub use encode::{SnapshotHead, entry_bytes};
pub use verify::{SnapshotTrust, SnapshotVerifyError, verify_snapshot};

pub(crate) use encode::padding;

use ccf_types::{Digest, SeqNo};

use crate::{
    entry::{EntryError, EntryHeader, Frame, HEADER_BYTES},
    evidence::sha256,
    receipt::Receipt,
    secrets::LedgerSecrets,
};

/// A snapshot file whose frame and public header are valid. Map snapshots are checked while they are iterated.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    bytes: &'a [u8],
    frame: Frame<'a>,
    seqno: SeqNo,
    leaf: Digest,
    views: &'a [[u8; 8]],
    maps: &'a [u8],
    receipt: &'a [u8],
}

/// What follows the frame.
#[derive(Clone, Debug)]
pub enum SnapshotReceipt<'a> {
    /// A COSE receipt, not decoded yet.
    Cose(&'a [u8]),
    /// A JSON receipt of older versions.
    Json(Box<Receipt>),
}

/// Why a file is not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The frame is malformed or does not authenticate.
    #[error(transparent)]
    Frame(#[from] EntryError),
    /// The public header is malformed.
    #[error("malformed snapshot header: {0}")]
    Header(&'static str),
    /// A map is malformed.
    #[error("malformed map snapshot at byte {0} of its domain")]
    Map(usize),
    /// Nothing follows the frame.
    #[error("the snapshot has no receipt")]
    NoReceipt,
    /// The receipt cannot be read.
    #[error("invalid snapshot receipt: {0}")]
    Receipt(String),
}

const TYPE: u8 = 1;

impl<'a> Snapshot<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`SnapshotError`] if the frame or the public header is not valid.
    pub fn parse(file: &'a [u8]) -> Result<Self, SnapshotError> {
        let truncated = EntryError::Truncated { actual: file.len() };
        let header = EntryHeader::parse(file.first_chunk::<HEADER_BYTES>().ok_or(truncated.clone())?)?;
        let split = usize::try_from(header.entry_bytes()).ok().and_then(|len| file.split_at_checked(len));
        let (bytes, receipt) = split.ok_or(truncated)?;
        let frame = Frame::parse(bytes)?;
        let mut fields = Fields { bytes: frame.public, at: 0 };
        let bad = SnapshotError::Header;
        if fields.take(1).ok_or(bad("no type"))? != [TYPE] {
            return Err(bad("not the type of a snapshot"));
        }
        let seqno = SeqNo(fields.u64().ok_or(bad("no seqno"))?);
        if !frame.is_snapshot() || frame.tx_id()?.seqno != seqno {
            return Err(bad("the IV is not that of this snapshot"));
        }
        fields.u64().ok_or(bad("no reserved field"))?;
        let leaf = fields
            .lp()
            .and_then(|leaf| leaf.try_into().ok())
            .map(Digest)
            .ok_or(bad("no leaf of 32 bytes"))?;
        let (views, odd) = fields.lp().ok_or(bad("no view history"))?.as_chunks::<8>();
        if !odd.is_empty() || !views.is_sorted_by_key(|view| u64::from_le_bytes(*view)) {
            return Err(bad("malformed view history"));
        }
        let maps = &frame.public[fields.at..];
        Ok(Self { bytes, frame, seqno, leaf, views, maps, receipt })
    }

    /// The state is that after this entry.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// The leaf of that entry.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The first seqno of each view, from view 1 on.
    pub fn view_history(&self) -> impl Iterator<Item = SeqNo> {
        self.views.iter().map(|seqno| SeqNo(u64::from_le_bytes(*seqno)))
    }

    /// SHA-256 of the frame, which the evidence entry carries as claims. Hashes; keep the result.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(self.bytes)
    }

    /// The public maps.
    #[must_use]
    pub fn public_maps(&self) -> MapSnapshots<'a> {
        MapSnapshots { fields: Fields { bytes: self.maps, at: 0 }, failed: false }
    }

    /// Authenticates the snapshot and decrypts its private maps.
    ///
    /// # Errors
    /// [`EntryError::NoSecret`] or [`EntryError::Authentication`].
    pub fn decrypt(&self, secrets: &LedgerSecrets) -> Result<PrivateMaps, EntryError> {
        let secret = secrets.at(self.seqno).ok_or(EntryError::NoSecret(self.seqno.0))?;
        secret
            .open(self.frame.iv, self.frame.public, self.frame.private, self.frame.tag)
            .map(PrivateMaps)
            .ok_or(EntryError::Authentication)
    }

    /// The receipt after the frame.
    ///
    /// # Errors
    /// [`SnapshotError::NoReceipt`], [`SnapshotError::Receipt`].
    pub fn receipt(&self) -> Result<SnapshotReceipt<'a>, SnapshotError> {
        match self.receipt.first() {
            None => Err(SnapshotError::NoReceipt),
            Some(0xd2) => Ok(SnapshotReceipt::Cose(self.receipt)),
            Some(b'{') => serde_json::from_slice(self.receipt)
                .map(|receipt| SnapshotReceipt::Json(Box::new(receipt)))
                .map_err(|e| SnapshotError::Receipt(e.to_string())),
            Some(byte) => {
                Err(SnapshotError::Receipt(format!("unrecognised format (first byte: {byte:#04x})")))
            }
        }
    }
}

/// The decrypted private maps.
#[derive(Debug)]
pub struct PrivateMaps(Vec<u8>);

impl PrivateMaps {
    /// The maps.
    #[must_use]
    pub fn maps(&self) -> MapSnapshots<'_> {
        MapSnapshots { fields: Fields { bytes: &self.0, at: 0 }, failed: false }
    }
}

/// Iterates over map snapshots; ends after the first error.
#[derive(Clone, Debug)]
pub struct MapSnapshots<'a> {
    fields: Fields<'a>,
    failed: bool,
}

/// One map.
#[derive(Clone, Debug)]
pub struct MapSnapshot<'a> {
    /// Its name.
    pub name: &'a str,
    /// Seqno of its last write.
    pub version: SeqNo,
    fields: Fields<'a>,
    failed: bool,
}

/// A key of a map with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Seqno of its last write.
    pub version: SeqNo,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Iterator for MapSnapshots<'a> {
    type Item = Result<MapSnapshot<'a>, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.fields.is_empty() {
            return None;
        }
        let at = self.fields.at;
        let map = (|| {
            let name = std::str::from_utf8(self.fields.lp()?).ok()?;
            let version = SeqNo(self.fields.u64()?);
            let fields = Fields { bytes: self.fields.lp()?, at: 0 };
            Some(MapSnapshot { name, version, fields, failed: false })
        })();
        self.failed = map.is_none();
        Some(map.ok_or(SnapshotError::Map(at)))
    }
}

impl<'a> Iterator for MapSnapshot<'a> {
    type Item = Result<SnapshotEntry<'a>, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && !self.fields.is_empty() {
            let at = self.fields.at;
            let entry = (|| {
                let key = self.fields.padded_lp()?;
                let (version, value) = self.fields.padded_lp()?.split_first_chunk::<8>()?;
                Some(SnapshotEntry { key, version: SeqNo(u64::from_le_bytes(*version)), value })
            })();
            match entry {
                // An old tombstone.
                Some(entry) if entry.version.0 >> 63 == 1 => {}
                Some(entry) => return Some(Ok(entry)),
                None => {
                    self.failed = true;
                    return Some(Err(SnapshotError::Map(at)));
                }
            }
        }
        None
    }
}

/// Reads fields one after another.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn lp(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.take(len)
    }

    fn padded_lp(&mut self) -> Option<&'a [u8]> {
        let bytes = self.lp()?;
        self.take(bytes.len().next_multiple_of(8) - bytes.len())?;
        Some(bytes)
    }
}
