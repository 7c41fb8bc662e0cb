//! Reading one chunk file (section 12.2) from its first entry to its last, in blocks of whole entries.
//!
//! ```text
//! offset  size   field
//! 0       8      T: offset of the table, little-endian; 0 while the file is incomplete
//! 8       ..     entries
//! T       4 n    offset of each entry, u32 little-endian, to the end of the file
//! ```

use ccf_types::SeqNo;
use std::{fs::File, os::unix::fs::FileExt, path::Path};

use super::{ChunkPath, FileError};
use crate::{
    entry::{EntryError, EntryHeader, HEADER_BYTES},
    limits::{CHUNK_ENTRIES_MAX, READ_BLOCK_BYTES},
};

/// Where the first entry begins: after T. A shorter file holds nothing at all.
pub const FIRST_ENTRY_AT: u64 = 8;

/// Some whole entries of a chunk, one after another.
#[derive(Debug, Default)]
pub struct Block {
    /// The seqno of the first one.
    pub first: SeqNo,
    /// Where it begins in the file.
    pub offset: u64,
    /// The entries.
    pub bytes: Vec<u8>,
    /// Where each entry ends in `bytes`.
    pub ends: Vec<usize>,
}

impl Block {
    /// The entries, each with its seqno and its offset in the file.
    pub fn entries(&self) -> impl Iterator<Item = (SeqNo, u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(self.first.0..)
            .map(|((start, end), seqno)| (SeqNo(seqno), self.offset + start as u64, &self.bytes[start..*end]))
    }
}

/// Streams the entries of one chunk file. Memory: one block, however large the file.
#[derive(Debug)]
pub struct ChunkReader {
    chunk: ChunkPath,
    file: File,
    /// T of the file, if it is complete.
    table_at: Option<u64>,
    file_bytes: u64,
    /// Where entries end at the latest.
    limit: u64,
    at: u64,
    next: SeqNo,
}

impl ChunkReader {
    /// Opens a chunk.
    ///
    /// # Errors
    /// [`FileError::Io`], or [`FileError::Table`] if the position of the table is impossible or a committed file
    /// has none.
    pub fn open(chunk: &ChunkPath) -> Result<Self, FileError> {
        let file = File::open(&chunk.path).map_err(FileError::io(&chunk.path))?;
        let file_bytes = file.metadata().map_err(FileError::io(&chunk.path))?.len();
        let table_at = read_table_position(&file, file_bytes, &chunk.path)?;
        if table_at.is_none() && chunk.name.committed {
            return Err(FileError::Table { path: chunk.path.clone(), reason: "a committed file has none" });
        }
        let limit = table_at.unwrap_or(file_bytes);
        let next = chunk.name.start;
        Ok(Self { chunk: chunk.clone(), file, table_at, file_bytes, limit, at: FIRST_ENTRY_AT, next })
    }

    /// Whether the file has its table.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.table_at.is_some()
    }

    /// The file.
    #[must_use]
    pub fn chunk(&self) -> &ChunkPath {
        &self.chunk
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where the next entry begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The seqno of the next entry.
    #[must_use]
    pub fn next_seqno(&self) -> SeqNo {
        self.next
    }

    /// The next entries, into `block`, whose memory is reused; `false` at the end.
    ///
    /// # Errors
    /// [`FileError::Entry`] at the first bytes that are no entry, after all entries before them were given.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, FileError> {
        block.first = self.next;
        block.offset = self.at;
        block.ends.clear();
        let mut wanted = READ_BLOCK_BYTES as u64;
        while self.at < self.limit {
            let available = self.limit - self.at;
            let len = usize::try_from(wanted.min(available)).unwrap_or(usize::MAX);
            block.bytes.resize(len, 0);
            self.file.read_exact_at(&mut block.bytes, self.at).map_err(FileError::io(&self.chunk.path))?;
            let mut end = 0;
            let needed = loop {
                match next_entry(&block.bytes[end..], available - end as u64) {
                    Ok(Fit::Whole(bytes)) => {
                        end += bytes;
                        block.ends.push(end);
                    }
                    Ok(Fit::Needs(bytes)) => break bytes,
                    Err(source) if end == 0 => return Err(self.entry_error(source)),
                    // After an error too, give what is whole; the next call meets it at its start.
                    Ok(Fit::End) | Err(_) => break 0,
                }
            };
            if end > 0 {
                block.bytes.truncate(end);
                self.at += end as u64;
                self.next = SeqNo(self.next.0 + block.ends.len() as u64);
                return Ok(true);
            }
            wanted = needed;
        }
        block.bytes.clear();
        Ok(false)
    }

    /// Compares the table with the offsets at which the entries were really found.
    ///
    /// # Errors
    /// [`FileError::Table`] if they differ, or [`FileError::Io`].
    pub fn check_table(&self, offsets: &[u32]) -> Result<(), FileError> {
        let Some(table_at) = self.table_at else {
            return Ok(());
        };
        let table = read_table(&self.file, table_at, self.file_bytes, &self.chunk.path)?;
        if table != offsets {
            let reason = "its offsets are not those of the entries";
            return Err(FileError::Table { path: self.chunk.path.clone(), reason });
        }
        Ok(())
    }

    fn entry_error(&self, source: EntryError) -> FileError {
        FileError::Entry { path: self.chunk.path.clone(), offset: self.at, seqno: self.next, source }
    }
}

enum Fit {
    /// An entry of this many bytes begins here and is there.
    Whole(usize),
    /// This many bytes must be there to go on.
    Needs(u64),
    /// Nothing is left.
    End,
}

/// Looks at the entry at the start of `bytes`, of which `available` in all can be had.
fn next_entry(bytes: &[u8], available: u64) -> Result<Fit, EntryError> {
    if available == 0 {
        return Ok(Fit::End);
    }
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        let cut_off = EntryError::Truncated { actual: bytes.len() };
        return if available < HEADER_BYTES as u64 {
            Err(cut_off)
        } else {
            Ok(Fit::Needs(HEADER_BYTES as u64))
        };
    };
    let header = EntryHeader::parse(header)?;
    let needed = header.entry_bytes();
    if needed > available {
        return Err(EntryError::Size { stated: header.size, actual: available - HEADER_BYTES as u64 });
    }
    match usize::try_from(needed) {
        Ok(len) if len <= bytes.len() => Ok(Fit::Whole(len)),
        _ => Ok(Fit::Needs(needed)),
    }
}

/// T, or `None` if it is zero or the file too short to have one.
pub(super) fn read_table_position(
    file: &File,
    file_bytes: u64,
    path: &Path,
) -> Result<Option<u64>, FileError> {
    if file_bytes < FIRST_ENTRY_AT {
        return Ok(None);
    }
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).map_err(FileError::io(path))?;
    let table_at = u64::from_le_bytes(bytes);
    let reason = match table_at {
        0 => return Ok(None),
        at if at > file_bytes => "it lies beyond the end of the file",
        at if at < FIRST_ENTRY_AT => "it lies before the first entry",
        at if !(file_bytes - at).is_multiple_of(4) => "its length is no multiple of four",
        at if (file_bytes - at) / 4 > CHUNK_ENTRIES_MAX => "it has too many entries",
        at => return Ok(Some(at)),
    };
    Err(FileError::Table { path: path.to_owned(), reason })
}

/// The offsets in the table.
pub(super) fn read_table(file: &File, at: u64, file_bytes: u64, path: &Path) -> Result<Vec<u32>, FileError> {
    let mut bytes = vec![0; usize::try_from(file_bytes - at).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, at).map_err(FileError::io(path))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|offset| u32::from_le_bytes(*offset)).collect())
}
