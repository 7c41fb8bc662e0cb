//! Ranges of entries out of committed files (section 13.7), for any thread.

use ccf_types::SeqNo;
use std::{
    collections::VecDeque,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    ChunkName, ChunkPath, FileError, chunk::read_table_position, directory::list_chunks,
    open_chunk::OpenChunk,
};
use crate::limits::OPEN_FILES_MAX;

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

    /// Adds what fits of an open file; whether anything was added.
    pub(super) fn extend_from_open(
        &mut self,
        file: &OpenChunk,
        to: SeqNo,
        bytes_max: usize,
    ) -> Result<bool, FileError> {
        let first = usize::try_from(self.next().0 - file.name.start.0).unwrap_or(usize::MAX);
        let last = to.min(file.last());
        let mut starts = Vec::new();
        for at in first..=usize::try_from(last.0 - file.name.start.0).unwrap_or(usize::MAX) {
            let Some((offset, len)) = file.extent(at, at) else { break };
            starts.push(offset);
            starts.truncate(1);
            if !self.take(len, bytes_max) {
                break;
            }
        }
        self.fill(starts.first().copied(), |offset, bytes| file.read(offset, bytes))
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
}

/// Finds entries in the committed files of the main directory (those of a recovery in progress included) and of the
/// read-only ones. Keeps a few files open.
#[derive(Debug)]
pub struct LedgerReader {
    main: PathBuf,
    read_only: Vec<PathBuf>,
    recent: VecDeque<CommittedChunk>,
}

#[derive(Debug)]
struct CommittedChunk {
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
        Self { main: main.to_owned(), read_only: read_only.to_vec(), recent: VecDeque::new() }
    }

    /// Reads the entries `from ..= to`, or as many of them as are there without a gap and fit `bytes_max`. `None` if
    /// the first one is not there or does not fit.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read.
    pub fn read_range(
        &mut self,
        from: SeqNo,
        to: SeqNo,
        bytes_max: usize,
    ) -> Result<Option<EntryRange>, FileError> {
        if from == SeqNo::NONE || to < from {
            return Ok(None);
        }
        let mut range = EntryRange::new(from);
        while range.next() <= to && self.extend(&mut range, to, bytes_max)? {}
        Ok(range.into_option())
    }

    /// Closes all files: names have changed.
    pub fn forget(&mut self) {
        self.recent.clear();
    }

    /// Adds what the file with the next entry holds of a range and fits; whether anything was added.
    pub(super) fn extend(
        &mut self,
        range: &mut EntryRange,
        to: SeqNo,
        bytes_max: usize,
    ) -> Result<bool, FileError> {
        let next = range.next();
        let Some(chunk) = self.find(next)? else { return Ok(false) };
        let offsets = chunk.offsets(next, to.min(chunk.end), bytes_max)?;
        for pair in offsets.windows(2) {
            let len = pair[1].checked_sub(pair[0]).ok_or_else(|| chunk.bad_table())?;
            if !range.take(len, bytes_max) {
                break;
            }
        }
        range.fill(offsets.first().copied(), |offset, bytes| {
            chunk.file.read_exact_at(bytes, offset).map_err(FileError::io(&chunk.path))
        })
    }

    fn find(&mut self, seqno: SeqNo) -> Result<Option<&CommittedChunk>, FileError> {
        let holds = |chunk: &CommittedChunk| chunk.start <= seqno && seqno <= chunk.end;
        if let Some(at) = self.recent.iter().position(holds) {
            return Ok(self.recent.get(at));
        }
        let places =
            std::iter::once((&self.main, true)).chain(self.read_only.iter().map(|path| (path, false)));
        for (directory, recovery) in places {
            if !directory.exists() {
                continue;
            }
            for chunk in list_chunks(directory)? {
                let ChunkName { start, end: Some(end), committed: true, recovery: is_recovery } = chunk.name
                else {
                    continue;
                };
                if start <= seqno && seqno <= end && (recovery || !is_recovery) {
                    let opened = CommittedChunk::open(chunk, start, end)?;
                    self.recent.truncate(OPEN_FILES_MAX - 1);
                    self.recent.push_front(opened);
                    return Ok(self.recent.front());
                }
            }
        }
        Ok(None)
    }
}

impl CommittedChunk {
    fn open(chunk: ChunkPath, start: SeqNo, end: SeqNo) -> Result<Self, FileError> {
        let path = chunk.path;
        let file = File::open(&path).map_err(FileError::io(&path))?;
        let file_bytes = file.metadata().map_err(FileError::io(&path))?.len();
        let table_at = read_table_position(&file, file_bytes, &path)?;
        match table_at {
            Some(table_at) if (file_bytes - table_at) / 4 == end.0 - start.0 + 1 => {
                Ok(Self { start, end, path, file, table_at })
            }
            Some(_) => Err(FileError::Table { path, reason: "it has not as many entries as the name says" }),
            None => Err(FileError::Table { path, reason: "a committed file has none" }),
        }
    }

    /// The offsets of the entries `from ..= to`, and where the last of them ends. As many as could fit `bytes_max`.
    fn offsets(&self, from: SeqNo, to: SeqNo, bytes_max: usize) -> Result<Vec<u64>, FileError> {
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
        FileError::Table { path: self.path.clone(), reason: "its offsets are not ascending" }
    }
}
