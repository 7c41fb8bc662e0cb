//! The entries of a ledger's files, one after another, whatever files they stand in.

use crate::terminal;
use ccf_ledger::{
    entry::Entry,
    files::{Block, ChunkName, ChunkPath, ChunkReader, list_chunks},
};
use ccf_types::SeqNo;
use indicatif::ProgressBar;
use std::{
    path::{Path, PathBuf},
    vec,
};

/// Which files of a ledger are read.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct FileChoice {
    /// Also read files that are not committed
    #[arg(long)]
    pub uncommitted: bool,
    /// Also read files of a recovery that has not finished
    #[arg(long)]
    pub recovery: bool,
}

/// Reads entries in order. Files may overlap: an entry is given once. Memory: one block of one file.
pub struct Entries {
    files: vec::IntoIter<ChunkPath>,
    reader: Option<ChunkReader>,
    block: Block,
    index: usize,
    next: SeqNo,
    to: SeqNo,
    bytes_before: u64,
    bar: ProgressBar,
}

/// An entry and where it stands.
pub struct Found<'a> {
    /// Its position in the ledger.
    pub seqno: SeqNo,
    /// The file.
    pub path: &'a Path,
    /// Its offset there.
    pub offset: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Found<'a> {
    /// The entry, parsed.
    ///
    /// # Errors
    /// A sentence with file, offset and transaction.
    pub fn entry(&self) -> Result<Entry<'a>, String> {
        Entry::parse(self.bytes).map_err(|e| self.problem(e))
    }

    /// `error` with the entry's place in front.
    pub fn problem(&self, error: impl std::fmt::Display) -> String {
        format!("{}, offset {}, transaction {}: {error}", self.path.display(), self.offset, self.seqno)
    }
}

impl Entries {
    /// Entries `from` to `to` of the ledger in `paths` (folders, or single files). With `progress` a bar is drawn.
    ///
    /// # Errors
    /// A sentence when there are no files or a folder cannot be read.
    pub fn open(
        paths: &[PathBuf],
        choice: FileChoice,
        (from, to): (u64, u64),
        progress: bool,
    ) -> Result<Self, String> {
        let mut files = chunks(paths, choice)?;
        files.retain(|chunk| chunk.name.start.0 <= to && chunk.name.end.is_none_or(|end| end.0 >= from));
        let bar = match progress {
            true => {
                let total = files.iter().map(ChunkPath::file_bytes).sum();
                terminal::progress_bar(
                    total,
                    "reading  [{bar:40}] {bytes}/{total_bytes}  {binary_bytes_per_sec}",
                )
            }
            false => ProgressBar::hidden(),
        };
        Ok(Entries {
            files: files.into_iter(),
            reader: None,
            block: Block::default(),
            index: 0,
            next: SeqNo(from),
            to: SeqNo(to),
            bytes_before: 0,
            bar,
        })
    }

    /// The next entry.
    ///
    /// # Errors
    /// A sentence with the position of the first bytes that are no entry.
    pub fn next_entry(&mut self) -> Result<Option<Found<'_>>, String> {
        loop {
            while self.index == self.block.ends.len() {
                if !self.next_block()? {
                    self.bar.finish_and_clear();
                    return Ok(None);
                }
            }
            let index = self.index;
            self.index += 1;
            let seqno = SeqNo(self.block.first.0 + index as u64);
            if seqno > self.to {
                self.bar.finish_and_clear();
                return Ok(None);
            }
            if seqno < self.next {
                continue;
            }
            self.next = SeqNo(seqno.0 + 1);
            let start = index.checked_sub(1).map_or(0, |before| self.block.ends[before]);
            let bytes = &self.block.bytes[start..self.block.ends[index]];
            let Some(reader) = &self.reader else { return Ok(None) };
            let path = &reader.chunk().path;
            return Ok(Some(Found { seqno, path, offset: self.block.offset + start as u64, bytes }));
        }
    }

    /// Reads on; `false` at the end of the last file.
    fn next_block(&mut self) -> Result<bool, String> {
        self.index = 0;
        loop {
            if let Some(reader) = &mut self.reader {
                if reader.next_block(&mut self.block).map_err(|e| e.to_string())? {
                    self.bar.set_position(self.bytes_before + reader.offset());
                    return Ok(true);
                }
                self.bytes_before += reader.file_bytes();
            }
            self.block.ends.clear();
            self.reader = match self.files.next() {
                None => return Ok(false),
                Some(chunk) => Some(ChunkReader::open(&chunk).map_err(|e| e.to_string())?),
            };
        }
    }
}

fn chunks(paths: &[PathBuf], choice: FileChoice) -> Result<Vec<ChunkPath>, String> {
    let mut found = Vec::new();
    for path in paths {
        match path.is_file() {
            true => found.push(named(path)?),
            false => {
                let mut listed = list_chunks(path).map_err(|e| e.to_string())?;
                listed.retain(|chunk| choice.uncommitted || chunk.name.committed);
                listed.retain(|chunk| choice.recovery || !chunk.name.recovery);
                found.extend(listed);
            }
        }
    }
    found.sort_by_key(|chunk| (chunk.name.start, !chunk.name.committed, std::cmp::Reverse(chunk.name.end)));
    match found.is_empty() {
        true => {
            let places: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            Err(format!(
                "there are no ledger files in {}; add --uncommitted for the file that is still open",
                places.join(", ")
            ))
        }
        false => Ok(found),
    }
}

fn named(path: &Path) -> Result<ChunkPath, String> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(ChunkName::parse);
    let name = name.ok_or_else(|| format!("{} has not the name of a ledger file", path.display()))?;
    Ok(ChunkPath { name, path: path.to_owned() })
}
