//! A chunk file the writer holds open: incomplete, or complete and not yet committed.

use ccf_types::SeqNo;
use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ChunkName, ChunkPath, FileError, Notice,
    chunk::{FIRST_ENTRY_AT, read_table, read_table_position},
    directory,
};
use crate::entry::{EntryHeader, HEADER_BYTES, SEQNO_AT, seqno_at};

/// Bytes before `flushed` are on the file, those after it in the writer's buffer.
#[derive(Debug)]
pub(super) struct OpenChunk {
    pub(super) name: ChunkName,
    pub(super) path: PathBuf,
    file: Arc<File>,
    /// Where each entry begins.
    offsets: Vec<u32>,
    /// Where the last entry ends.
    end: u64,
    /// How far the file has been written.
    flushed: u64,
    complete: bool,
}

/// What stands after the last whole entry of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing, or the beginning of an entry: a write that was cut off.
    Torn,
    /// Something that is no entry of this place.
    NoEntry,
}

impl OpenChunk {
    /// A new file with T = 0.
    pub(super) fn create(directory: &Path, name: ChunkName) -> Result<Self, FileError> {
        let path = directory.join(name.to_string());
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => FileError::Exists(path.clone()),
            _ => FileError::Io { path: path.clone(), source },
        })?;
        file.write_all_at(&[0; 8], 0).map_err(FileError::io(&path))?;
        let (end, flushed) = (FIRST_ENTRY_AT, FIRST_ENTRY_AT);
        Ok(Self { name, path, file: Arc::new(file), offsets: Vec::new(), end, flushed, complete: false })
    }

    /// An existing uncommitted file. A table that fits the entries makes it complete; otherwise it is cut after
    /// the last whole entry, which may leave none. What is cut off and is not merely a torn write is kept in a file of
    /// its own.
    pub(super) fn open(chunk: &ChunkPath, notices: &mut Vec<Notice>) -> Result<Self, FileError> {
        let path = &chunk.path;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(FileError::io(path))?;
        let file_bytes = file.metadata().map_err(FileError::io(path))?.len();
        let table_at = read_table_position(&file, file_bytes, path).unwrap_or_else(|error| {
            // T itself can be torn: the entries say what is there.
            drop(error);
            None
        });
        let mut open = Self {
            name: chunk.name,
            path: path.clone(),
            file: Arc::new(file),
            offsets: Vec::new(),
            end: FIRST_ENTRY_AT,
            flushed: FIRST_ENTRY_AT,
            complete: false,
        };
        let mut tail = open.scan(table_at.unwrap_or(file_bytes).min(file_bytes))?;
        if let Some(table_at) = table_at
            && open.end == table_at
            && read_table(&open.file, table_at, file_bytes, path)? == open.offsets
            && !open.offsets.is_empty()
        {
            open.complete = true;
        } else {
            if table_at.is_some() {
                // The table did not fit: the whole file may hold entries.
                tail = open.scan(file_bytes)?;
            }
            open.note_tail(tail, file_bytes, table_at, notices)?;
            open.cut()?;
        }
        Ok(open)
    }

    /// Finds the entries by their headers and seqnos, up to `limit` or the first that does not fit.
    fn scan(&mut self, limit: u64) -> Result<Tail, FileError> {
        self.offsets.clear();
        self.end = FIRST_ENTRY_AT;
        let mut start = [0; SEQNO_AT + 8];
        let mut tail = Tail::Torn;
        while self.end < limit {
            if self.end + start.len() as u64 > limit {
                break;
            }
            self.file.read_exact_at(&mut start, self.end).map_err(FileError::io(&self.path))?;
            let expected = SeqNo(self.name.start.0 + self.offsets.len() as u64);
            let header = start.first_chunk::<HEADER_BYTES>().map(EntryHeader::parse);
            let (Some(Ok(header)), true) = (header, seqno_at(&start) == Some(expected)) else {
                // What a file system leaves of a write that it did not finish.
                tail = if start.iter().all(|byte| *byte == 0) { Tail::Torn } else { Tail::NoEntry };
                break;
            };
            let (Ok(offset), true) = (u32::try_from(self.end), self.end + header.entry_bytes() <= limit)
            else {
                break;
            };
            self.offsets.push(offset);
            self.end += header.entry_bytes();
        }
        self.flushed = self.end;
        Ok(tail)
    }

    /// Whether the beginning of this file's table follows its last entry: completing it was interrupted.
    fn is_own_table(&self, file_bytes: u64) -> Result<bool, FileError> {
        let expected: Vec<u8> = self.offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let there = usize::try_from(file_bytes.saturating_sub(self.end)).unwrap_or(usize::MAX);
        if there > expected.len() {
            return Ok(false);
        }
        let mut found = vec![0; there];
        self.file.read_exact_at(&mut found, self.end).map_err(FileError::io(&self.path))?;
        Ok(found == expected[..there])
    }

    /// Reports what will be cut off, and keeps it if it is more than the rest of a write.
    fn note_tail(
        &self,
        tail: Tail,
        file_bytes: u64,
        table_at: Option<u64>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), FileError> {
        let bytes = file_bytes.saturating_sub(self.end);
        if bytes == 0 {
            return Ok(());
        }
        let mut kept = None;
        let is_table = table_at.map_or(self.is_own_table(file_bytes)?, |at| at == self.end);
        if tail == Tail::NoEntry && !is_table {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{}.ignored", self.end));
            let path = PathBuf::from(name);
            let mut rest = File::open(&self.path).map_err(FileError::io(&self.path))?;
            rest.seek(SeekFrom::Start(self.end)).map_err(FileError::io(&self.path))?;
            let mut target = File::create(&path).map_err(FileError::io(&path))?;
            std::io::copy(&mut rest, &mut target).map_err(FileError::io(&path))?;
            target.sync_all().map_err(FileError::io(&path))?;
            kept = Some(path);
        }
        notices.push(Notice::Cut {
            path: self.path.clone(),
            after: self.last(),
            offset: self.end,
            bytes,
            kept,
        });
        Ok(())
    }

    /// Makes the file incomplete and ends it with its last entry.
    fn cut(&mut self) -> Result<(), FileError> {
        self.file.write_all_at(&[0; 8], 0).map_err(FileError::io(&self.path))?;
        self.file.set_len(self.end).map_err(FileError::io(&self.path))?;
        self.flushed = self.end;
        self.complete = false;
        if self.name.end.is_some() {
            self.rename(ChunkName { end: None, ..self.name })?;
        }
        Ok(())
    }

    /// Notes an entry whose bytes go into the writer's buffer. `None` if its offset does not fit the table.
    pub(super) fn note(&mut self, entry_bytes: u64) -> Option<()> {
        let offset = u32::try_from(self.end).ok()?;
        u32::try_from(self.end + entry_bytes).ok()?;
        self.offsets.push(offset);
        self.end += entry_bytes;
        Some(())
    }

    /// Writes the buffered bytes, which continue the file.
    pub(super) fn flush(&mut self, buffer: &mut Vec<u8>) -> Result<(), FileError> {
        if !buffer.is_empty() {
            debug_assert_eq!(self.flushed + buffer.len() as u64, self.end);
            self.file.write_all_at(buffer, self.flushed).map_err(FileError::io(&self.path))?;
            self.flushed = self.end;
            buffer.clear();
        }
        Ok(())
    }

    /// Appends the table, then T, then waits for the disk (section 12.3). Everything was flushed before.
    pub(super) fn complete(&mut self) -> Result<(), FileError> {
        if self.complete {
            return Ok(());
        }
        let path = &self.path;
        self.file.set_len(self.end).map_err(FileError::io(path))?;
        let mut table = Vec::with_capacity(4 * self.offsets.len());
        for offset in &self.offsets {
            table.extend_from_slice(&offset.to_le_bytes());
        }
        self.file.write_all_at(&table, self.end).map_err(FileError::io(path))?;
        self.file.write_all_at(&self.end.to_le_bytes(), 0).map_err(FileError::io(path))?;
        self.file.sync_all().map_err(FileError::io(path))?;
        self.complete = true;
        Ok(())
    }

    /// Keeps the first `entries` entries; the file is incomplete again.
    pub(super) fn truncate(&mut self, entries: usize) -> Result<(), FileError> {
        if let Some(offset) = self.offsets.get(entries) {
            self.end = u64::from(*offset);
            self.offsets.truncate(entries);
        }
        self.cut()
    }

    pub(super) fn rename(&mut self, name: ChunkName) -> Result<(), FileError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let path = directory.join(name.to_string());
        directory::rename(&self.path, &path)?;
        (self.path, self.name) = (path, name);
        Ok(())
    }

    pub(super) fn delete(self) -> Result<(), FileError> {
        fs::remove_file(&self.path).map_err(FileError::io(&self.path))
    }

    /// Whether entry number `at` of the file is exactly `entry`.
    pub(super) fn holds(&self, at: usize, entry: &[u8]) -> Result<bool, FileError> {
        let Some((offset, len)) = self.extent(at) else { return Ok(false) };
        if len != entry.len() as u64 {
            return Ok(false);
        }
        let mut bytes = vec![0; entry.len()];
        self.file.read_exact_at(&mut bytes, offset).map_err(FileError::io(&self.path))?;
        Ok(bytes == entry)
    }

    /// Where entry number `at` begins, and how many bytes it has.
    fn extent(&self, at: usize) -> Option<(u64, u64)> {
        let start = u64::from(*self.offsets.get(at)?);
        let end = self.offsets.get(at + 1).map_or(self.end, |offset| u64::from(*offset));
        Some((start, end.checked_sub(start)?))
    }

    /// The file, to be read by others up to [`end`](Self::end) once flushed.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where each entry begins.
    pub(super) fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Where the last entry ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn entries(&self) -> usize {
        self.offsets.len()
    }

    /// The last entry; the one before the first if there is none.
    pub(super) fn last(&self) -> SeqNo {
        SeqNo(self.name.start.0 + self.offsets.len() as u64 - 1)
    }
}
