//! Writing a snapshot file piece by piece, in bounded memory (sections 14.1, 14.2, 14.4).
//!
//! The frame begins with sizes and a tag that are known last, so the file is written with a gap and the gap filled in the
//! end. The digest covers that gap too; it is taken by reading the file again, and since a file can be altered by whoever
//! owns the disk, every block read is compared with its digest from when it was written.

use ccf_crypto::{
    aead::{GcmStream, TAG_LEN},
    hash::Sha256,
};
use ccf_types::{Digest, Domain, MapName, SeqNo};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    FileError, SnapshotName,
    directory::{self, file_names},
};
use crate::{
    entry::{PUBLIC_AT, snapshot_head, snapshot_iv},
    evidence::sha256,
    limits::SNAPSHOT_BLOCK_BYTES,
    secrets::LedgerSecret,
    snapshot::{SnapshotHead, padding},
};

/// Suffix of a snapshot that is being written: such a file is never read, and deleted at the next start.
pub const UNFINISHED: &str = ".unfinished";

/// A snapshot on its way to a file: [`map`](Self::map) for each map, public ones first, each followed by its entries with
/// [`entry`](Self::entry); then [`finish`](Self::finish). Dropped before, the file is deleted.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: Unfinished,
    seqno: SeqNo,
    stream: GcmStream,
    domain: Domain,
    buffer: Vec<u8>,
    /// Length and digest of each block written.
    blocks: Vec<(usize, Digest)>,
    public_bytes: u64,
    private_bytes: u64,
    /// Bytes of entries still to come for the current map.
    announced: u64,
    /// Set by another thread once nobody wants the file any more.
    abandoned: Arc<AtomicBool>,
}

/// A whole snapshot on disk without its receipt and its name. Dropped, the file is deleted.
#[derive(Debug)]
pub struct UnnamedSnapshot {
    file: Unfinished,
    seqno: SeqNo,
    digest: Digest,
    bytes: u64,
}

/// A file that is deleted unless it gets its name.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    named: bool,
}

impl SnapshotWriter {
    /// Begins a file in `directory`. `secret` is the one that applies at the snapshot.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn create(directory: &Path, head: &SnapshotHead, secret: &LedgerSecret) -> Result<Self, FileError> {
        let path = directory.join(format!("snapshot_{}{UNFINISHED}", head.seqno));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(FileError::io(&path))?;
        let file = Unfinished { file, path, directory: directory.to_owned(), named: false };
        let mut writer = Self {
            file,
            seqno: head.seqno,
            stream: secret.stream(&snapshot_iv(head.seqno)),
            domain: Domain::Public,
            buffer: Vec::with_capacity(SNAPSHOT_BLOCK_BYTES + SNAPSHOT_BLOCK_BYTES / 4),
            blocks: Vec::new(),
            public_bytes: 0,
            private_bytes: 0,
            announced: 0,
            abandoned: Arc::default(),
        };
        head.encode(&mut writer.buffer);
        Ok(writer)
    }

    /// Once `abandoned` is set, by whichever thread, the next block is refused with [`FileError::Abandoned`].
    #[must_use]
    pub fn until(mut self, abandoned: Arc<AtomicBool>) -> Self {
        self.abandoned = abandoned;
        self
    }

    /// The next map, whose entries have `entries_bytes` in all, as [`crate::snapshot::entry_bytes`] counts.
    ///
    /// # Errors
    /// [`FileError`].
    ///
    /// # Panics
    /// If a public map follows a private one, or the entries of the map before were not those announced.
    pub fn map(&mut self, name: &MapName, version: SeqNo, entries_bytes: u64) -> Result<(), FileError> {
        assert_eq!(self.announced, 0, "the entries of a map are those announced");
        assert!(name.domain() >= self.domain, "public maps come first");
        if name.domain() > self.domain {
            self.write_block()?;
            self.domain = Domain::Private;
        }
        self.lp(name.as_str().as_bytes());
        self.buffer.extend_from_slice(&version.0.to_le_bytes());
        self.buffer.extend_from_slice(&entries_bytes.to_le_bytes());
        self.announced = entries_bytes;
        self.write_full_block()
    }

    /// The next entry of the current map, in the order of the format.
    ///
    /// # Errors
    /// [`FileError`].
    ///
    /// # Panics
    /// If it was not announced.
    pub fn entry(&mut self, key: &[u8], version: SeqNo, value: &[u8]) -> Result<(), FileError> {
        let bytes = crate::snapshot::entry_bytes(key.len(), value.len());
        self.announced = self.announced.checked_sub(bytes).expect("the entries of a map are those announced");
        self.lp(key);
        self.buffer.extend_from_slice(padding(key.len()));
        self.buffer.extend_from_slice(&(8 + value.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(&version.0.to_le_bytes());
        self.buffer.extend_from_slice(value);
        self.buffer.extend_from_slice(padding(value.len()));
        self.write_full_block()
    }

    /// Ends the frame and takes its digest.
    ///
    /// # Errors
    /// [`FileError`], also if the file was altered meanwhile.
    pub fn finish(mut self) -> Result<UnnamedSnapshot, FileError> {
        assert_eq!(self.announced, 0, "the entries of a map are those announced");
        self.write_block()?;
        let path = self.file.path.clone();
        let tag: [u8; TAG_LEN] = self.stream.finish();
        let head = snapshot_head(self.seqno, &tag, self.public_bytes, self.private_bytes)
            .ok_or(FileError::SnapshotTooLarge(self.seqno))?;
        self.file.file.write_all_at(&head, 0).map_err(FileError::io(&path))?;

        let mut hash = Sha256::new();
        hash.update(&head);
        let mut at = head.len() as u64;
        for (len, digest) in &self.blocks {
            check_wanted(&self.abandoned, self.seqno)?;
            self.buffer.resize(*len, 0);
            self.file.file.read_exact_at(&mut self.buffer, at).map_err(FileError::io(&path))?;
            if sha256(&self.buffer) != *digest {
                return Err(FileError::Altered(path));
            }
            hash.update(&self.buffer);
            at += *len as u64;
        }
        Ok(UnnamedSnapshot { file: self.file, seqno: self.seqno, digest: hash.finish(), bytes: at })
    }

    fn lp(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    fn write_full_block(&mut self) -> Result<(), FileError> {
        if self.buffer.len() >= SNAPSHOT_BLOCK_BYTES { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> Result<(), FileError> {
        check_wanted(&self.abandoned, self.seqno)?;
        let len = self.buffer.len() as u64;
        let at = PUBLIC_AT as u64 + self.public_bytes + self.private_bytes;
        match self.domain {
            Domain::Public => {
                self.stream.aad(&self.buffer);
                self.public_bytes += len;
            }
            Domain::Private => {
                let too_large = |_| FileError::SnapshotTooLarge(self.seqno);
                self.stream.seal(&mut self.buffer).map_err(too_large)?;
                self.private_bytes += len;
            }
        }
        self.file.file.write_all_at(&self.buffer, at).map_err(FileError::io(&self.file.path))?;
        self.blocks.push((self.buffer.len(), sha256(&self.buffer)));
        self.buffer.clear();
        Ok(())
    }
}

fn check_wanted(abandoned: &AtomicBool, seqno: SeqNo) -> Result<(), FileError> {
    if abandoned.load(Ordering::Acquire) { Err(FileError::Abandoned(seqno)) } else { Ok(()) }
}

impl UnnamedSnapshot {
    /// SHA-256 of the frame: what the evidence states.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The state it holds.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// Bytes of the frame.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the receipt of the evidence, which is the entry at `evidence`, waits for the disk, and gives the file its
    /// final name. If there is such a file already it is kept, and this one deleted.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn commit(mut self, evidence: SeqNo, receipt: &[u8]) -> Result<PathBuf, FileError> {
        let name = SnapshotName { seqno: self.seqno, evidence, committed: true };
        let target = self.file.directory.join(name.to_string());
        if target.exists() {
            return Ok(target);
        }
        let path = &self.file.path;
        self.file.file.write_all_at(receipt, self.bytes).map_err(FileError::io(path))?;
        self.file.file.sync_all().map_err(FileError::io(path))?;
        directory::rename(path, &target)?;
        self.file.named = true;
        Ok(target)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named {
            // The next start deletes it if this does not.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Deletes what a process that ended while it wrote a snapshot has left.
///
/// # Errors
/// [`FileError::Io`].
pub fn delete_unfinished_snapshots(directory: &Path) -> Result<(), FileError> {
    for name in file_names(directory)? {
        if name.starts_with("snapshot_") && name.ends_with(UNFINISHED) {
            let path = directory.join(name);
            fs::remove_file(&path).map_err(FileError::io(&path))?;
        }
    }
    Ok(())
}
