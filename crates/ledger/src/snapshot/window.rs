//! The part of a snapshot that is in memory: one block, or one entry that is larger.

use ccf_crypto::{
    aead::{GcmStream, TAG_LEN},
    hash::Sha256,
};
use ccf_types::Digest;
use std::{fs::File, io, os::unix::fs::FileExt};

use super::SnapshotError;
use crate::{
    entry::{EntryError, PUBLIC_AT},
    limits::SNAPSHOT_BLOCK_BYTES,
};

/// Where the bytes of a snapshot come from.
pub trait SnapshotSource {
    /// How many there are.
    ///
    /// # Errors
    /// Of the operating system.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` with those from `at` on.
    ///
    /// # Errors
    /// Of the operating system; also if there are fewer.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
}

impl SnapshotSource for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, at)
    }
}

impl SnapshotSource for &[u8] {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let found = self.get(at..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Moves over the two domains of a snapshot, hashing and decrypting what it reads.
pub(super) struct Window<'a, S> {
    source: &'a S,
    /// Where in the source the next block begins.
    at: u64,
    /// Bytes of the domain that are not in the buffer yet.
    unread: u64,
    buffer: Vec<u8>,
    /// What of the buffer has been taken.
    taken: usize,
    /// What of the domain has been taken.
    position: u64,
    hash: Sha256,
    cipher: Option<GcmStream>,
    is_private: bool,
}

impl<'a, S: SnapshotSource> Window<'a, S> {
    /// Stands before the public domain.
    pub(super) fn new(
        source: &'a S,
        head: &[u8; PUBLIC_AT],
        public_bytes: u64,
        cipher: Option<GcmStream>,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(head);
        Self {
            source,
            at: PUBLIC_AT as u64,
            unread: public_bytes,
            buffer: Vec::new(),
            taken: 0,
            position: 0,
            hash,
            cipher,
            is_private: false,
        }
    }

    /// Whether private domains are decrypted.
    pub(super) fn decrypts(&self) -> bool {
        self.cipher.is_some()
    }

    /// Goes on with the private domain; the public one has been taken.
    pub(super) fn enter_private(&mut self, private_bytes: u64) {
        (self.unread, self.position, self.is_private) = (private_bytes, 0, true);
    }

    /// Bytes of the domain that were not taken yet.
    pub(super) fn left(&self) -> u64 {
        self.unread + (self.buffer.len() - self.taken) as u64
    }

    /// What of the domain has been taken.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next `bytes` of the domain; none if it has fewer. They are not taken.
    pub(super) fn peek(&mut self, bytes: u64) -> Result<Option<&[u8]>, SnapshotError> {
        if bytes > self.left() {
            return Ok(None);
        }
        let unmanageable = |_| SnapshotError::Map(self.position);
        let bytes = usize::try_from(bytes).map_err(unmanageable)?;
        let have = self.buffer.len() - self.taken;
        if have < bytes {
            self.fill(bytes - have)?;
        }
        Ok(self.buffer.get(self.taken..).and_then(|rest| rest.get(..bytes)))
    }

    /// The next number, not taken.
    pub(super) fn peek_u64(&mut self) -> Result<Option<u64>, SnapshotError> {
        Ok(self.peek(8)?.and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes)))
    }

    /// Takes bytes that were seen; answers what they are.
    pub(super) fn take(&mut self, bytes: usize) -> &[u8] {
        let seen = self.taken..self.taken + bytes;
        self.taken = seen.end;
        self.position += bytes as u64;
        &self.buffer[seen]
    }

    /// Takes what is left of the domain.
    pub(super) fn skip(&mut self) -> Result<(), SnapshotError> {
        while self.left() > 0 {
            self.taken = self.buffer.len();
            if self.unread > 0 {
                self.fill(1)?;
            }
        }
        Ok(())
    }

    /// The digest of everything, and whether it is what was sealed with this tag: no question if nothing was
    /// decrypted. Both domains have been taken; call once.
    pub(super) fn finish(&mut self, tag: &[u8; TAG_LEN]) -> (Digest, Result<(), EntryError>) {
        let opened = self.cipher.take().map_or(Ok(()), |cipher| cipher.finish_opening(tag));
        (std::mem::take(&mut self.hash).finish(), opened.map_err(|_| EntryError::Authentication))
    }

    /// Reads a block, of at least `bytes`, which the domain has.
    fn fill(&mut self, bytes: usize) -> Result<(), SnapshotError> {
        let unreadable = |error: io::Error| SnapshotError::Unreadable(error.to_string());
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let block = (bytes.max(SNAPSHOT_BLOCK_BYTES) as u64).min(self.unread);
        let before = self.buffer.len();
        let block_bytes = usize::try_from(block).map_err(|e| unreadable(io::Error::other(e)))?;
        self.buffer.resize(before + block_bytes, 0);
        let read = &mut self.buffer[before..];
        self.source.read_exact_at(read, self.at).map_err(unreadable)?;
        self.hash.update(read);
        match &mut self.cipher {
            Some(cipher) if self.is_private => cipher.open(read).map_err(|_| EntryError::Authentication)?,
            Some(cipher) => cipher.aad(read),
            None => {}
        }
        self.at += block;
        self.unread -= block;
        Ok(())
    }
}
