//! A chunk file the writer holds open: incomplete, or complete and not yet committed.

use ccf_types::SeqNo;
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ChunkName, ChunkPath, FileError,
    chunk::{FIRST_ENTRY_AT, read_table, read_table_position},
    directory,
};
use crate::entry::{EntryHeader, HEADER_BYTES};

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
    /// the last whole entry, which may leave none.
    pub(super) fn open(chunk: &ChunkPath) -> Result<Self, FileError> {
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
        open.scan(table_at.unwrap_or(file_bytes).min(file_bytes))?;
        if let Some(table_at) = table_at
            && open.end == table_at
            && read_table(&open.file, table_at, file_bytes, path)? == open.offsets
            && !open.offsets.is_empty()
        {
            open.complete = true;
        } else {
            if table_at.is_some() {
                open.reset(file_bytes)?;
            }
            open.cut()?;
        }
        Ok(open)
    }

    /// Finds the entries by their headers, up to `limit` or the first that does not fit.
    fn scan(&mut self, limit: u64) -> Result<(), FileError> {
        self.offsets.clear();
        self.end = FIRST_ENTRY_AT;
        let mut header = [0; HEADER_BYTES];
        while self.end + HEADER_BYTES as u64 <= limit {
            self.file.read_exact_at(&mut header, self.end).map_err(FileError::io(&self.path))?;
            let Ok(parsed) = EntryHeader::parse(&header) else { break };
            let (Ok(offset), true) = (u32::try_from(self.end), self.end + parsed.entry_bytes() <= limit)
            else {
                break;
            };
            self.offsets.push(offset);
            self.end += parsed.entry_bytes();
        }
        self.flushed = self.end;
        Ok(())
    }

    /// The table did not fit: forgets it and looks for entries in the whole file.
    fn reset(&mut self, file_bytes: u64) -> Result<(), FileError> {
        self.file.write_all_at(&[0; 8], 0).map_err(FileError::io(&self.path))?;
        self.scan(file_bytes)
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
