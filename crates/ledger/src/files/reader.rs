//! Ranges of entries out of ledger files (section 13.7), for any thread.

use ccf_types::SeqNo;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    FileError,
    chunk::read_table_position,
    index::{Index, Place},
};
use crate::entry::{EntryError, EntryHeader, HEADER_BYTES, seqno_at};

/// Consecutive entries, back to back as in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRange {
    /// The first entry.
    pub from: SeqNo,
    /// The bytes of all of them.
    pub bytes: Vec<u8>,
    /// Where each entry ends in `bytes`.
    pub ends: Vec<usize>,
}

impl EntryRange {
    pub(super) fn new(from: SeqNo) -> Self {
        Self { from, bytes: Vec::new(), ends: Vec::new() }
    }

    /// The last entry.
    #[must_use]
    pub fn to(&self) -> SeqNo {
        self.next().previous()
    }

    /// The entries, each with its seqno.
    pub fn entries(&self) -> impl Iterator<Item = (SeqNo, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(self.from.0..)
            .map(|((start, end), seqno)| (SeqNo(seqno), &self.bytes[start..*end]))
    }

    pub(super) fn next(&self) -> SeqNo {
        SeqNo(self.from.0 + self.ends.len() as u64)
    }

    pub(super) fn into_option(self) -> Option<Self> {
        (!self.ends.is_empty()).then_some(self)
    }

    fn truncate(&mut self, entries: usize) {
        self.ends.truncate(entries);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Makes room for an entry; whether it fits.
    fn take(&mut self, entry_bytes: u64, bytes_max: usize) -> bool {
        let end = self.ends.last().copied().unwrap_or(0) as u64 + entry_bytes;
        match usize::try_from(end) {
            Ok(end) if end <= bytes_max => {
                self.ends.push(end);
                true
            }
            _ => false,
        }
    }

    /// Reads the entries that were taken but are not there yet, which begin at `offset` of a file.
    fn fill(
        &mut self,
        offset: Option<u64>,
        read: impl FnOnce(u64, &mut [u8]) -> Result<(), FileError>,
    ) -> Result<bool, FileError> {
        let (start, end) = (self.bytes.len(), self.ends.last().copied().unwrap_or(0));
        let (Some(offset), true) = (offset, end > start) else { return Ok(false) };
        self.bytes.resize(end, 0);
        read(offset, &mut self.bytes[start..])?;
        Ok(true)
    }

    /// Whether the entries from number `first` of the range on are as long as their headers say.
    fn check_headers(&self, first: usize, path: &Path) -> Result<(), FileError> {
        for (seqno, bytes) in self.entries().skip(first) {
            let truncated = EntryError::Truncated { actual: bytes.len() };
            let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(truncated).and_then(EntryHeader::parse);
            let actual = bytes.len() as u64;
            let checked = header.and_then(|header| match header.entry_bytes() {
                whole if whole == actual => match seqno_at(bytes) {
                    Some(claimed) if claimed != seqno => {
                        Err(EntryError::SeqNoMismatch { public: seqno.0, iv: claimed.0 })
                    }
                    _ => Ok(()),
                },
                _ => Err(EntryError::Size { stated: header.size, actual: actual - HEADER_BYTES as u64 }),
            });
            // Where in the file the entry is told by its seqno; ranges do not keep offsets.
            checked.map_err(|source| FileError::Misplaced { path: path.to_owned(), seqno, source })?;
        }
        Ok(())
    }
}

/// Serves ranges of entries out of the main directory (those of a recovery in progress included) and of the read-only
/// ones, to any thread. Clones are the same reader.
///
/// A reader made by [`LedgerWriter::reader`](super::LedgerWriter::reader) also sees what the writer has flushed and
/// not committed yet; one of its own sees committed files only. Which file holds an entry is known from an index in
/// memory, so the cost of a read does not grow with the number of files. A range that crosses a rollback is read again.
#[derive(Clone, Debug)]
pub struct LedgerReader(Arc<Mutex<Index>>);

/// A chunk with its final name, opened.
#[derive(Debug)]
pub(super) struct CommittedChunk {
    start: SeqNo,
    end: SeqNo,
    path: PathBuf,
    file: File,
    table_at: u64,
}

impl LedgerReader {
    /// A reader over these directories. Opens nothing yet.
    #[must_use]
    pub fn new(main: &Path, read_only: &[PathBuf]) -> Self {
        Self(Arc::new(Mutex::new(Index::new(main, read_only))))
    }

    /// Reads the entries `from ..= to`, or as many of them as are there without a gap and fit `bytes_max`. `None` if
    /// the first one is not there or does not fit. Entries are whole, but nothing in them is verified.
    ///
    /// # Errors
    /// [`FileError`] if the file with the first entry cannot be read or is not what its name says.
    pub fn read_range(
        &self,
        from: SeqNo,
        to: SeqNo,
        bytes_max: usize,
    ) -> Result<Option<EntryRange>, FileError> {
        if from == SeqNo::NONE || to < from {
            return Ok(None);
        }
        loop {
            let (generation, last) = {
                let index = self.index();
                (index.generation(), index.last())
            };
            let to = last.map_or(to, |last| to.min(last));
            let mut range = EntryRange::new(from);
            while range.next() <= to {
                let before = range.ends.len();
                match self.extend(&mut range, to, bytes_max) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // The read that begins with the bad file tells of it.
                    Err(_) if before > 0 => {
                        range.truncate(before);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.index().generation() == generation {
                return Ok(range.into_option());
            }
        }
    }

    /// The committed file with the entry at `seqno`, if there is one.
    #[must_use]
    pub fn committed_file_of(&self, seqno: SeqNo) -> Option<PathBuf> {
        self.index().committed_file_of(seqno)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // The index is consistent after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the file with the next entry holds of a range and fits; whether anything was added.
    fn extend(&self, range: &mut EntryRange, to: SeqNo, bytes_max: usize) -> Result<bool, FileError> {
        let next = range.next();
        let before = range.ends.len();
        let place = self.index().find(next)?;
        let (path, more) = match place {
            None => return Ok(false),
            Some(Place::Open(open)) => {
                // Copied under the lock, read outside of it: a rollback meanwhile is noticed by the caller.
                let Some((offset, lengths)) = self.index().open_extents(&open, next, to, bytes_max) else {
                    return Ok(false);
                };
                let taken = lengths.into_iter().take_while(|len| range.take(*len, bytes_max)).count();
                let read = |at, bytes: &mut [u8]| {
                    open.file.read_exact_at(bytes, at).map_err(FileError::io(&open.path))
                };
                (open.path.clone(), range.fill((taken > 0).then_some(offset), read)?)
            }
            Some(Place::Committed(chunk)) => {
                let offsets = chunk.offsets(next, to.min(chunk.end), bytes_max)?;
                for pair in offsets.windows(2) {
                    let len = pair[1].checked_sub(pair[0]).ok_or_else(|| chunk.bad_table())?;
                    if !range.take(len, bytes_max) {
                        break;
                    }
                }
                let read = |at, bytes: &mut [u8]| {
                    chunk.file.read_exact_at(bytes, at).map_err(FileError::io(&chunk.path))
                };
                (chunk.path.clone(), range.fill(offsets.first().copied(), read)?)
            }
        };
        range.check_headers(before, &path)?;
        Ok(more)
    }
}

impl CommittedChunk {
    pub(super) fn holds(&self, seqno: SeqNo) -> bool {
        self.start <= seqno && seqno <= self.end
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn open(path: PathBuf, start: SeqNo, end: SeqNo) -> Result<Self, FileError> {
        let file = File::open(&path).map_err(FileError::io(&path))?;
        let file_bytes = file.metadata().map_err(FileError::io(&path))?.len();
        let table_at = read_table_position(&file, file_bytes, &path)?;
        match table_at {
            Some(table_at) if (file_bytes - table_at) / 4 == end.0 - start.0 + 1 => {
                Ok(Self { start, end, path, file, table_at })
            }
            Some(offset) => {
                let reason = "it has not as many entries as the file's name says";
                Err(FileError::Table { path, offset, reason })
            }
            None => Err(FileError::Table { path, offset: 0, reason: "a committed file has none" }),
        }
    }

    /// The offsets of the entries `from ..= to`, and where the last of them ends. As many as could fit `bytes_max`.
    pub(super) fn offsets(&self, from: SeqNo, to: SeqNo, bytes_max: usize) -> Result<Vec<u64>, FileError> {
        let first = from.0 - self.start.0;
        let fit = bytes_max as u64 / crate::entry::PUBLIC_AT as u64 + 1;
        let count = (to.0 - from.0 + 1).min(fit);
        let at_end = from.0 + count > self.end.0;
        let read = count + u64::from(!at_end);
        let mut bytes = vec![0; usize::try_from(4 * read).unwrap_or(usize::MAX)];
        let at = self.table_at + 4 * first;
        self.file.read_exact_at(&mut bytes, at).map_err(FileError::io(&self.path))?;
        let (offsets, _) = bytes.as_chunks::<4>();
        let mut offsets: Vec<u64> = offsets.iter().map(|offset| u32::from_le_bytes(*offset).into()).collect();
        if at_end {
            offsets.push(self.table_at);
        }
        let inside = offsets.iter().all(|offset| *offset <= self.table_at);
        if inside { Ok(offsets) } else { Err(self.bad_table()) }
    }

    fn bad_table(&self) -> FileError {
        let reason = "its offsets are not ascending";
        FileError::Table { path: self.path.clone(), offset: self.table_at, reason }
    }
}
