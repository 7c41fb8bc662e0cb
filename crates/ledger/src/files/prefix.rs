//! The beginning of a chunk file as a complete chunk of its own (section 12.2), without a copy of its entries.

use ccf_types::SeqNo;
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

use super::{
    FileError, LedgerReader,
    chunk::FIRST_ENTRY_AT,
    index::{OpenFile, Place},
    reader::CommittedChunk,
};

/// A chunk file that is on no disk: T, the first entries of a file, and their table. Four bytes of memory for each entry.
#[derive(Clone, Debug)]
pub struct ChunkPrefix {
    source: Source,
    /// T, which is also where the entries end in the file.
    entries_end: u64,
    table: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Source {
    Open(OpenFile),
    Committed(Arc<CommittedChunk>),
}

impl LedgerReader {
    /// The entries `from ..= to` as a chunk; none unless one file begins with `from` and has them all. They must be committed:
    /// what is not can be replaced while it is read.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read or is not what its name says.
    pub fn prefix(&self, from: SeqNo, to: SeqNo) -> Result<Option<ChunkPrefix>, FileError> {
        let found = {
            // Under one lock: the file may get its final name meanwhile.
            let mut index = self.index();
            if index.last().is_some_and(|last| to > last) {
                return Ok(None);
            }
            match index.find(from)? {
                Some(Place::Open(open)) => {
                    index.open_offsets(from, to).map(|offsets| (Source::Open(open), offsets))
                }
                Some(Place::Committed(chunk)) if chunk.holds(to) && from <= to => {
                    let offsets = chunk.offsets(from, to, usize::MAX)?;
                    Some((Source::Committed(chunk), offsets))
                }
                Some(Place::Committed(_)) | None => None,
            }
        };
        let Some((source, offsets)) = found else { return Ok(None) };
        let Some((entries_end, starts)) = offsets.split_last() else { return Ok(None) };
        if starts.first() != Some(&FIRST_ENTRY_AT) {
            return Ok(None);
        }
        let mut table = Vec::with_capacity(4 * starts.len());
        for start in starts {
            let Ok(start) = u32::try_from(*start) else { return Ok(None) };
            table.extend(start.to_le_bytes());
        }
        Ok(Some(ChunkPrefix { source, entries_end: *entries_end, table }))
    }
}

impl ChunkPrefix {
    /// Bytes of the chunk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries_end + self.table.len() as u64
    }

    /// The file the entries are in; it may have another name by now.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Open(open) => &open.path,
            Source::Committed(chunk) => chunk.path(),
        }
    }

    /// Fills `buffer` with the bytes from `at` on.
    ///
    /// # Errors
    /// Of the operating system; also if there are fewer.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if at.checked_add(buffer.len() as u64).is_none_or(|end| end > self.bytes()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (head, rest) = split(buffer, at, FIRST_ENTRY_AT);
        let (entries, table) = split(rest, at.max(FIRST_ENTRY_AT), self.entries_end);
        copy(head, &self.entries_end.to_le_bytes(), at)?;
        if !entries.is_empty() {
            self.file().read_exact_at(entries, at.max(FIRST_ENTRY_AT))?;
        }
        copy(table, &self.table, at.saturating_sub(self.entries_end))
    }

    fn file(&self) -> &File {
        match &self.source {
            Source::Open(open) => &open.file,
            Source::Committed(chunk) => chunk.file(),
        }
    }
}

/// Splits a buffer for the bytes from `at` on before position `middle`.
fn split(buffer: &mut [u8], at: u64, middle: u64) -> (&mut [u8], &mut [u8]) {
    let before = usize::try_from(middle.saturating_sub(at)).unwrap_or(usize::MAX);
    let before = before.min(buffer.len());
    buffer.split_at_mut(before)
}

/// Fills `buffer` from a part of memory.
fn copy(buffer: &mut [u8], from: &[u8], at: u64) -> io::Result<()> {
    if buffer.is_empty() {
        return Ok(());
    }
    let start = usize::try_from(at).map_err(io::Error::other)?;
    let part = from.get(start..).and_then(|rest| rest.get(..buffer.len()));
    buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}
