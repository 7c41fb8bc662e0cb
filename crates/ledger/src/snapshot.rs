//! Snapshots (sections 14.1 and 14.2): the frame of an entry around the whole state, then a receipt.
//!
//! ```text
//! public domain: 01 | u64 seqno | u64 0 | lp(leaf of entry seqno) | lp(view history) | map snapshots
//! map snapshot:  lp(name) | u64 version | lp(entries)
//! entry:         lp(key) padded to 8 | lp(u64 version, value) padded to 8
//! ```
//! The private domain, once decrypted, is map snapshots alone.
//!
//! A snapshot can be larger than memory, so nothing here holds one: it is read twice, in pieces, first for its shape and its
//! digest, which the receipt proves ([`Snapshot::read`]), then for what is in it ([`Snapshot::content`]).

mod content;
mod encode;
mod verify;
mod window;

pub use content::{SnapshotContent, SnapshotEntry, SnapshotMap};
pub use encode::{SnapshotHead, entry_bytes};
pub use verify::{SnapshotTrust, SnapshotVerifyError, verify_snapshot};
pub use window::SnapshotSource;

pub(crate) use encode::padding;

use ccf_types::{Digest, SeqNo};

use self::window::Window;
use crate::{
    entry::{EntryError, PUBLIC_AT, SnapshotFrame},
    limits::SNAPSHOT_RECEIPT_BYTES_MAX,
    receipt::Receipt,
    secrets::LedgerSecrets,
};

/// A snapshot whose shape is valid, but for its private maps, which nobody has decrypted yet.
#[derive(Clone, Debug)]
pub struct Snapshot<S> {
    source: S,
    frame_head: [u8; PUBLIC_AT],
    frame: SnapshotFrame,
    head: SnapshotHead,
    digest: Digest,
    receipt: Vec<u8>,
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
    Map(u64),
    /// Nothing follows the frame.
    #[error("the snapshot has no receipt")]
    NoReceipt,
    /// The receipt cannot be read.
    #[error("invalid snapshot receipt: {0}")]
    Receipt(String),
    /// The operating system refused.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(String),
    /// It is not what was read, and verified, before.
    #[error("the snapshot was altered after it was verified")]
    Altered,
}

const TYPE: u8 = 1;

impl<S: SnapshotSource> Snapshot<S> {
    /// Reads all of it, and takes its digest.
    ///
    /// # Errors
    /// [`SnapshotError`] if the frame, the public header or a public map is not valid.
    pub fn read(source: S) -> Result<Self, SnapshotError> {
        let unreadable = |error: std::io::Error| SnapshotError::Unreadable(error.to_string());
        let total = source.bytes().map_err(unreadable)?;
        let truncated = EntryError::Truncated { actual: usize::try_from(total).unwrap_or(usize::MAX) };
        let mut frame_head = [0; PUBLIC_AT];
        if total < PUBLIC_AT as u64 {
            return Err(truncated.into());
        }
        source.read_exact_at(&mut frame_head, 0).map_err(unreadable)?;
        let frame = SnapshotFrame::parse(&frame_head)?;
        let receipt_bytes = total.checked_sub(frame.bytes()).ok_or(truncated)?;
        if receipt_bytes > SNAPSHOT_RECEIPT_BYTES_MAX {
            return Err(SnapshotError::Receipt(format!("it has {receipt_bytes} bytes")));
        }
        let mut receipt = vec![0; usize::try_from(receipt_bytes).unwrap_or_default()];
        source.read_exact_at(&mut receipt, frame.bytes()).map_err(unreadable)?;
        let mut window = Window::new(&source, &frame_head, frame.public_bytes, None);
        let head = SnapshotHead::read(&mut window)?;
        if !frame.is_of(head.seqno) {
            return Err(SnapshotError::Header("the IV is not that of this snapshot"));
        }
        let mut content = SnapshotContent::after_head(window, &frame, None);
        while content.next_map()?.is_some() {}
        let digest = content.digest().unwrap_or_default();
        Ok(Self { source, frame_head, frame, head, digest, receipt })
    }

    /// Reads it again, for its maps: the public ones, and the private ones if the ledger secrets are given. What it
    /// yields counts only once it has yielded everything: then it has been compared with what was read before, and private
    /// maps are authentic.
    ///
    /// # Errors
    /// [`SnapshotError`], [`EntryError::NoSecret`] among them.
    pub fn content(&self, secrets: Option<&LedgerSecrets>) -> Result<SnapshotContent<'_, S>, SnapshotError> {
        let no_secret = EntryError::NoSecret(self.seqno().0);
        let cipher = match secrets {
            Some(secrets) => Some(secrets.at(self.seqno()).ok_or(no_secret)?.stream(&self.frame.iv)),
            None => None,
        };
        let mut window = Window::new(&self.source, &self.frame_head, self.frame.public_bytes, cipher);
        if SnapshotHead::read(&mut window)? != self.head {
            return Err(SnapshotError::Altered);
        }
        Ok(SnapshotContent::after_head(window, &self.frame, Some(self.digest)))
    }

    /// Where its bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The state is that after this entry.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.head.seqno
    }

    /// What it says before its maps.
    #[must_use]
    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// SHA-256 of the frame, which the evidence entry carries as claims.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The receipt after the frame.
    ///
    /// # Errors
    /// [`SnapshotError::NoReceipt`], [`SnapshotError::Receipt`].
    pub fn receipt(&self) -> Result<SnapshotReceipt<'_>, SnapshotError> {
        match self.receipt.first() {
            None => Err(SnapshotError::NoReceipt),
            Some(0xd2) => Ok(SnapshotReceipt::Cose(&self.receipt)),
            Some(b'{') => serde_json::from_slice(&self.receipt)
                .map(|receipt| SnapshotReceipt::Json(Box::new(receipt)))
                .map_err(|e| SnapshotError::Receipt(e.to_string())),
            Some(byte) => {
                Err(SnapshotError::Receipt(format!("unrecognised format (first byte: {byte:#04x})")))
            }
        }
    }
}
