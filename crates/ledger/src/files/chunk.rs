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

/// What the first bytes of a file say of its table.
#[derive(Clone, Copy, Debug)]
enum Table {
    /// None yet: the file is open.
    None,
    /// It begins here, which can be: entries end there.
    At(u64),
    /// It is not to be relied on: entries are followed for what they say of themselves.
    Damaged {
        /// Where it is said to begin.
        said: u64,
        reason: &'static str,
    },
}

/// Streams the entries of one chunk file. Memory: one block, however large the file.
#[derive(Debug)]
pub struct ChunkReader {
    chunk: ChunkPath,
    file: File,
    table: Table,
    file_bytes: u64,
    /// Where entries end at the latest.
    limit: u64,
    at: u64,
    next: SeqNo,
}

impl ChunkReader {
    /// Opens a chunk. A damaged table does not keep the entries from being read; it is reported after the last one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn open(chunk: &ChunkPath) -> Result<Self, FileError> {
        let file = File::open(&chunk.path).map_err(FileError::io(&chunk.path))?;
        let file_bytes = file.metadata().map_err(FileError::io(&chunk.path))?.len();
        let table = Table::of(&file, file_bytes, chunk)?;
        let limit = if let Table::At(at) = table { at } else { file_bytes };
        let next = chunk.name.start;
        Ok(Self { chunk: chunk.clone(), file, table, file_bytes, limit, at: FIRST_ENTRY_AT, next })
    }

    /// Whether the file has its table, or must have had it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !matches!(self.table, Table::None)
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
    /// [`FileError::Entry`] at the first bytes that are no entry, or at the end of a file that its name says to be
    /// longer; [`FileError::Table`] if the entries are there and their table is damaged. All entries before were given.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, FileError> {
        block.first = self.next;
        block.offset = self.at;
        block.ends.clear();
        let mut wanted = READ_BLOCK_BYTES as u64;
        while self.at < self.limit && !self.ends_at(self.at, self.next) {
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
                        let next = SeqNo(self.next.0 + block.ends.len() as u64);
                        if self.ends_at(self.at + end as u64, next) {
                            break 0;
                        }
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
        self.at_the_end()?;
        Ok(false)
    }

    /// Whether the entries end before the entry `next` at `at`, in a file whose table does not say where they end: it
    /// holds as many as its name says, or what follows is a table of just those that were found.
    fn ends_at(&self, at: u64, next: SeqNo) -> bool {
        let Table::Damaged { said, .. } = self.table else { return false };
        self.chunk.name.end.is_some_and(|end| next > end) || self.is_shorter(at, next, said)
    }

    fn is_shorter(&self, at: u64, next: SeqNo, said: u64) -> bool {
        at == said && self.file_bytes - at == 4 * (next.0 - self.chunk.name.start.0)
    }

    /// After the last entry: what is wrong with a file whose table is damaged.
    fn at_the_end(&self) -> Result<(), FileError> {
        let Table::Damaged { said, reason } = self.table else { return Ok(()) };
        if self.is_shorter(self.at, self.next, said) {
            return Ok(()); // A sound file with the name of another.
        }
        if self.chunk.name.end.is_some_and(|end| self.next <= end) {
            return Err(self.entry_error(EntryError::Truncated { actual: 0 }));
        }
        let offset = if said == self.at { said } else { 0 };
        Err(FileError::Table { path: self.chunk.path.clone(), offset, reason })
    }

    /// Compares the table with the offsets at which the entries were really found.
    ///
    /// # Errors
    /// [`FileError::Table`] if they differ, or [`FileError::Io`].
    pub fn check_table(&self, offsets: &[u32]) -> Result<(), FileError> {
        let Table::At(table_at) = self.table else {
            return Ok(());
        };
        let table = read_table(&self.file, table_at, self.file_bytes, &self.chunk.path)?;
        if table != offsets {
            let same = table.iter().zip(offsets).take_while(|(said, found)| said == found).count();
            let reason = "its offsets are not those of the entries";
            let offset = table_at + 4 * same as u64;
            return Err(FileError::Table { path: self.chunk.path.clone(), offset, reason });
        }
        Ok(())
    }

    /// After bytes that are no entry: the entry before them that is longer or shorter than the table says, if there
    /// is one. `offsets` are those of all entries found, and of the bytes that are none. Gives the index of the entry
    /// and where it should end.
    pub(crate) fn other_length(&self, offsets: &[u32]) -> Option<(usize, u64)> {
        let Table::At(table_at) = self.table else { return None };
        let table = read_table(&self.file, table_at, self.file_bytes, &self.chunk.path).ok()?;
        let at = table.iter().zip(offsets).position(|(said, found)| said != found)?;
        Some((at.checked_sub(1)?, table[at].into()))
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

impl Table {
    fn of(file: &File, file_bytes: u64, chunk: &ChunkPath) -> Result<Table, FileError> {
        let said = if file_bytes < FIRST_ENTRY_AT { 0 } else { read_first(file, &chunk.path)? };
        let entries = chunk.name.end.map(|end| end.0.saturating_sub(chunk.name.start.0).saturating_add(1));
        Ok(match (check_position(said, file_bytes), entries) {
            (Err(reason), _) => Table::Damaged { said, reason },
            (Ok(None), _) if chunk.name.committed => {
                Table::Damaged { said, reason: "a committed file has none" }
            }
            (Ok(None), _) => Table::None,
            (Ok(Some(at)), Some(entries)) if (file_bytes - at) / 4 != entries => {
                Table::Damaged { said, reason: "it has not as many entries as the file's name says" }
            }
            (Ok(Some(at)), _) => Table::At(at),
        })
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
    check_position(read_first(file, path)?, file_bytes).map_err(|reason| FileError::Table {
        path: path.to_owned(),
        offset: 0,
        reason,
    })
}

/// The first eight bytes, as a number.
fn read_first(file: &File, path: &Path) -> Result<u64, FileError> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).map_err(FileError::io(path))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Whether a table can begin at `said`; zero is none.
fn check_position(said: u64, file_bytes: u64) -> Result<Option<u64>, &'static str> {
    match said {
        0 => Ok(None),
        at if at > file_bytes => Err("it lies beyond the end of the file"),
        at if at < FIRST_ENTRY_AT => Err("it lies before the first entry"),
        at if !(file_bytes - at).is_multiple_of(4) => Err("its length is no multiple of four"),
        at if (file_bytes - at) / 4 > CHUNK_ENTRIES_MAX => Err("it has too many entries"),
        at => Ok(Some(at)),
    }
}

/// The offsets in the table.
pub(super) fn read_table(file: &File, at: u64, file_bytes: u64, path: &Path) -> Result<Vec<u32>, FileError> {
    let mut bytes = vec![0; usize::try_from(file_bytes - at).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, at).map_err(FileError::io(path))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|offset| u32::from_le_bytes(*offset)).collect())
}
