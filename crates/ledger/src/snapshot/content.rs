//! The maps of a snapshot, one after another.

use ccf_types::{Digest, Domain, SeqNo};

use super::{SnapshotError, SnapshotSource, window::Window};
use crate::entry::SnapshotFrame;

/// Reads maps and their entries. Each of them is in memory only as long as the caller has it.
pub struct SnapshotContent<'a, S> {
    window: Window<'a, S>,
    frame: SnapshotFrame,
    /// The digest it must have, if that is known already.
    expected: Option<Digest>,
    domain: Domain,
    /// Bytes of entries of the current map that were not taken yet.
    left_in_map: u64,
    /// The digest it has, at the end.
    digest: Option<Digest>,
}

/// What a map begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMap {
    /// Its name.
    pub name: String,
    /// Seqno of its last write.
    pub version: SeqNo,
    /// Where it stands.
    pub domain: Domain,
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

/// The version of an old tombstone has this bit.
const TOMBSTONE: u64 = 1 << 63;

impl<'a, S: SnapshotSource> SnapshotContent<'a, S> {
    /// Stands before the first map.
    pub(super) fn after_head(
        window: Window<'a, S>,
        frame: &SnapshotFrame,
        expected: Option<Digest>,
    ) -> SnapshotContent<'a, S> {
        let frame = *frame;
        SnapshotContent { window, frame, expected, domain: Domain::Public, left_in_map: 0, digest: None }
    }

    /// The next map, whatever is left of the one before. None at the end, if everything is authentic.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn next_map(&mut self) -> Result<Option<SnapshotMap>, SnapshotError> {
        while self.next_entry()?.is_some() {}
        while self.window.left() == 0 {
            if self.domain == Domain::Private {
                if self.digest.is_none() {
                    self.finish()?;
                }
                return Ok(None);
            }
            self.domain = Domain::Private;
            self.window.enter_private(self.frame.private_bytes);
            if !self.window.decrypts() {
                self.window.skip()?;
            }
        }
        match self.map_head()? {
            Some(map) => Ok(Some(map)),
            None => self.malformed(),
        }
    }

    /// The next entry of the current map; none at its end.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>, SnapshotError> {
        while self.left_in_map > 0 {
            let Some((key, value)) = self.entry_bytes()? else { return self.malformed() };
            // Both paddings are at most seven bytes, and the value begins with the version.
            let (key_end, value_at) = (8 + key, 8 + key.next_multiple_of(8) + 8);
            let bytes = value_at + value.next_multiple_of(8);
            let window = &mut self.window;
            let Some(version) =
                window.peek(bytes as u64)?.and_then(|e| e.get(value_at..)?.first_chunk::<8>())
            else {
                return self.malformed();
            };
            let version = u64::from_le_bytes(*version);
            self.left_in_map -= bytes as u64;
            if version & TOMBSTONE != 0 {
                window.take(bytes);
                continue;
            }
            let entry = self.window.take(bytes);
            let (key, value) = (&entry[8..key_end], &entry[value_at + 8..value_at + value]);
            return Ok(Some(SnapshotEntry { key, version: SeqNo(version), value }));
        }
        Ok(None)
    }

    /// The digest of the frame, once there is no further map.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn finish(&mut self) -> Result<(), SnapshotError> {
        let (digest, opened) = self.window.finish(&self.frame.tag);
        opened?;
        if self.expected.is_some_and(|expected| expected != digest) {
            return Err(SnapshotError::Altered);
        }
        self.digest = Some(digest);
        Ok(())
    }

    fn map_head(&mut self) -> Result<Option<SnapshotMap>, SnapshotError> {
        let Some(name_bytes) = self.window.peek_u64()? else { return Ok(None) };
        let Some(bytes) = name_bytes.checked_add(8 + 8 + 8) else { return Ok(None) };
        let Some(head) = self.window.peek(bytes)? else { return Ok(None) };
        let taken = head.len();
        let numbers = head.split_at(taken - 16);
        let (Ok(name), ([version, entries], [])) =
            (std::str::from_utf8(&numbers.0[8..]), numbers.1.as_chunks::<8>())
        else {
            return Ok(None);
        };
        let map = SnapshotMap {
            name: name.to_owned(),
            version: SeqNo(u64::from_le_bytes(*version)),
            domain: self.domain,
        };
        let entries = u64::from_le_bytes(*entries);
        self.window.take(taken);
        self.left_in_map = entries;
        Ok((entries <= self.window.left()).then_some(map))
    }

    /// Bytes of the next key, and of the next value with its version, if the current map has them.
    fn entry_bytes(&mut self) -> Result<Option<(usize, usize)>, SnapshotError> {
        let padded = |bytes: u64| bytes.checked_next_multiple_of(8);
        let Some(key) = self.window.peek_u64()? else { return Ok(None) };
        let Some(before) = padded(key).and_then(|key| key.checked_add(16)) else { return Ok(None) };
        if before > self.left_in_map {
            return Ok(None);
        }
        let value = self.window.peek(before)?.and_then(|bytes| bytes.last_chunk::<8>()).copied();
        let Some(value) = value.map(u64::from_le_bytes).filter(|value| *value >= 8) else { return Ok(None) };
        let whole = padded(value).and_then(|value| value.checked_add(before));
        if whole.is_none_or(|whole| whole > self.left_in_map) {
            return Ok(None);
        }
        Ok(usize::try_from(key).ok().zip(usize::try_from(value).ok()))
    }

    /// Bytes that make no map. Those that were decrypted are most probably not authentic at all: the end tells.
    fn malformed<T>(&mut self) -> Result<T, SnapshotError> {
        let at = self.window.position();
        if self.domain == Domain::Private {
            self.window.skip()?;
            self.finish()?;
        }
        Err(SnapshotError::Map(at))
    }
}
