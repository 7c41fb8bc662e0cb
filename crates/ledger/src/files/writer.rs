//! The ledger's writer (section 13): one owner, one thread.
//!
//! Bytes are buffered, so that a batch of entries is one write; [`LedgerWriter::flush`] ends a batch, and a
//! signature flushes by itself. After any failed write the writer refuses everything further: what is on disk
//! is then unknown, and only opening the directories again can tell.

mod replay;
mod rewrite;

use ccf_types::SeqNo;
use replay::Replay;
use std::{
    fs, mem,
    path::{Path, PathBuf},
};

use super::{
    ChunkName, ChunkPath, FileError, LedgerReader,
    directory::{file_names, list_chunks},
    notices::{Notice, aside},
    open_chunk::OpenChunk,
};
use crate::{
    entry::{EntryHeader, Flags, HEADER_BYTES},
    limits::WRITE_BUFFER_BYTES,
};

/// Appends entries to chunk files, completes, commits, truncates and replays them.
#[derive(Debug)]
pub struct LedgerWriter {
    directory: PathBuf,
    /// Uncommitted files in order, and committed ones of a recovery in progress. The last may be incomplete.
    files: Vec<OpenChunk>,
    /// Entries of the last file that are not written yet.
    buffer: Vec<u8>,
    last: SeqNo,
    committed: SeqNo,
    recovery_start: Option<SeqNo>,
    replay: Option<Replay>,
    /// What was set aside since the directories were opened.
    notices: Vec<Notice>,
    reader: LedgerReader,
    poisoned: bool,
}

impl LedgerWriter {
    /// Opens the directories at process start (section 13.1). The read-only ones must exist; the main one is
    /// created if missing. Says in `notices` what was set aside.
    ///
    /// # Errors
    /// [`FileError`] if a directory cannot be used.
    pub fn open(
        directory: &Path,
        read_only: &[PathBuf],
        notices: &mut Vec<Notice>,
    ) -> Result<Self, FileError> {
        let mut committed = SeqNo::NONE;
        for elsewhere in read_only {
            let chunks = list_chunks(elsewhere)?;
            let ends = chunks.iter().filter(|chunk| chunk.name.committed && !chunk.name.recovery);
            committed = ends.filter_map(|chunk| chunk.name.end).max().unwrap_or_default().max(committed);
        }
        let mut last = committed;
        if !directory.exists() {
            fs::create_dir_all(directory).map_err(FileError::io(directory))?;
        }
        rewrite::finish(directory)?;

        let mut candidates = Vec::new();
        for name in file_names(directory)? {
            let path = directory.join(&name);
            match ChunkName::parse(&name) {
                _ if name.ends_with(".ignored") || name.contains(".committed_prefix") => {}
                None if !name.starts_with("ledger_") => {}
                None => aside(notices, &path, "not the name of a chunk")?,
                Some(parsed) if parsed.recovery => aside(notices, &path, "left by an unfinished recovery")?,
                Some(parsed) if parsed.committed => committed = parsed.end.unwrap_or_default().max(committed),
                Some(name) => candidates.push(ChunkPath { name, path }),
            }
        }
        candidates.sort_by_key(|chunk| chunk.name);

        let mut files: Vec<OpenChunk> = Vec::new();
        for chunk in candidates {
            if chunk.name.end.is_some_and(|end| end <= committed) {
                aside(notices, &chunk.path, "its entries are in committed files")?;
                continue;
            }
            let file = OpenChunk::open(&chunk, notices)?;
            if file.entries() == 0 {
                notices.push(Notice::DeletedEmpty(chunk.path));
                file.delete()?;
            } else if file.last() <= committed {
                drop(file);
                aside(notices, &chunk.path, "its entries are in committed files")?;
            } else {
                files.push(file);
            }
        }
        last = files.last().map_or(committed, OpenChunk::last).max(last);
        let reader = LedgerReader::new(directory, read_only);
        reader.index().replace(&files, last)?;
        Ok(Self {
            directory: directory.to_owned(),
            files,
            buffer: Vec::with_capacity(WRITE_BUFFER_BYTES / 4),
            last,
            committed,
            recovery_start: None,
            replay: None,
            notices: Vec::new(),
            reader,
            poisoned: false,
        })
    }

    /// Appends an entry (section 13.2). `committable` says that it is a signature: its chunk may end with it, and
    /// it is passed to the operating system at once. Other entries wait for [`flush`](Self::flush), for the next
    /// signature or for a full buffer.
    ///
    /// # Errors
    /// [`FileError`]; the entry is then not in the ledger, and the writer is unusable.
    pub fn append(&mut self, entry: &[u8], committable: bool) -> Result<SeqNo, FileError> {
        let seqno = self.last.next();
        self.guarded(|writer| writer.append_next(seqno, entry, committable))?;
        Ok(seqno)
    }

    fn append_next(&mut self, seqno: SeqNo, entry: &[u8], committable: bool) -> Result<(), FileError> {
        let flags = checked_flags(seqno, entry)?;
        if flags.contains(Flags::CHUNK_AFTER) && !committable {
            return Err(FileError::ChunkEnd(seqno));
        }
        if flags.contains(Flags::CHUNK_BEFORE) {
            self.complete_current()?;
        }
        if self.replay.is_some() && self.replayed(seqno, entry)? {
            self.last = seqno;
        } else {
            self.write_next(seqno, entry, committable)?;
        }
        if flags.contains(Flags::CHUNK_AFTER) {
            self.complete_current()?;
        }
        Ok(())
    }

    fn write_next(&mut self, seqno: SeqNo, entry: &[u8], committable: bool) -> Result<(), FileError> {
        if self.incomplete().is_none() {
            let recovery = self.recovery_start.is_some_and(|start| seqno > start);
            let file = OpenChunk::create(&self.directory, ChunkName::open(seqno, recovery))?;
            self.files.push(file);
        }
        let file = self.files.last_mut().expect("there is an incomplete file");
        file.note(entry.len() as u64).ok_or(FileError::ChunkTooLarge(seqno))?;
        self.buffer.extend_from_slice(entry);
        self.last = seqno;
        if committable || self.buffer.len() >= WRITE_BUFFER_BYTES {
            file.flush(&mut self.buffer)?;
            self.reader.index().flushed(file, self.last);
        }
        Ok(())
    }

    /// Passes all appended entries to the operating system, in one write.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.guarded(Self::flush_buffer)
    }

    /// Removes all entries after `seqno`, which consensus rolled back (section 13.3). Committed files are never
    /// touched. Does nothing if there is nothing to remove, or if `seqno` is below the committed one.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn truncate(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        if self.last == SeqNo::NONE {
            self.last = seqno;
            return Ok(());
        }
        if seqno >= self.last || seqno < self.committed {
            return Ok(());
        }
        self.guarded(|writer| {
            writer.flush_buffer()?;
            writer.drop_after(seqno)?;
            writer.last = seqno;
            writer.show_all()
        })
    }

    /// `seqno` is committed: complete files up to it get their final names (section 13.4). Does nothing if
    /// `seqno` is not new or not in the ledger.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn commit(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        if seqno <= self.committed || seqno > self.last {
            return Ok(());
        }
        self.guarded(|writer| {
            writer.committed = seqno;
            writer.name_committed()
        })
    }

    /// Complete files of committed entries get their final names.
    fn name_committed(&mut self) -> Result<(), FileError> {
        for file in &mut self.files {
            if !file.is_complete() || file.last() > self.committed {
                break;
            }
            if !file.name.committed {
                let name = ChunkName::committed(file.name.start, file.last(), file.name.recovery);
                rename_shown(file, name, &self.reader)?;
            }
        }
        self.files.retain(|file| !file.name.committed || file.name.recovery);
        Ok(())
    }

    /// A backup starts at `seqno` (0, or that of its snapshot): what lies after it on disk is uncommitted again,
    /// and is compared with the entries as they arrive (section 13.5). What turns out to be another history is set aside:
    /// [`take_notices`](Self::take_notices) tells. Files begun after `recovery_start` are marked as those of a recovery.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn init(&mut self, seqno: SeqNo, recovery_start: Option<SeqNo>) -> Result<(), FileError> {
        self.begin_replay(seqno, recovery_start)
    }

    /// What was set aside since the last call, for the log.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// The public replay ended with the signature at `seqno`: everything after it goes, and files begun from here on are
    /// those of a recovery (section 16.1). The files may end before it, if the state is that of a snapshot.
    ///
    /// # Errors
    /// [`FileError::CommittedAfter`] if entries after `seqno` are in a committed file, which then is corrupt; nothing
    /// is changed. Else as [`truncate`](Self::truncate).
    pub fn recover(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        if seqno < self.committed {
            let path = self.reader.index().committed_file_of(seqno.next());
            return Err(FileError::CommittedAfter { path, last: seqno });
        }
        self.truncate(seqno)?;
        if seqno > self.last {
            self.leave_gap(seqno)?;
        }
        self.begin_recovery(seqno);
        Ok(())
    }

    /// Goes on behind `seqno`, which is beyond the last file: a snapshot is newer than the files, of which some are missing
    /// (section 13.5). None of them is written to any more.
    fn leave_gap(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        self.guarded(|writer| {
            if writer.incomplete().is_some() {
                writer.complete_current()?;
            }
            writer.last = seqno;
            writer.show_all()
        })
    }

    /// Files begun from here on with an entry after `seqno` carry `.recovery` in their names until
    /// [`finish_recovery`](Self::finish_recovery). Called when the public replay ended at `seqno`, after
    /// [`truncate`](Self::truncate).
    pub fn begin_recovery(&mut self, seqno: SeqNo) {
        self.recovery_start = Some(seqno);
    }

    /// The opening of the recovered service is committed: recovery files become ordinary ones (section 13.6).
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn finish_recovery(&mut self) -> Result<(), FileError> {
        self.guarded(|writer| {
            for file in &mut writer.files {
                if file.name.recovery {
                    rename_shown(file, ChunkName { recovery: false, ..file.name }, &writer.reader)?;
                }
            }
            writer.files.retain(|file| !file.name.committed);
            writer.recovery_start = None;
            Ok(())
        })
    }

    /// A reader over the same directories that also sees what this writer has flushed. For any thread.
    #[must_use]
    pub fn reader(&self) -> LedgerReader {
        self.reader.clone()
    }

    /// The last entry appended.
    #[must_use]
    pub fn last(&self) -> SeqNo {
        self.last
    }

    /// The last entry known to be committed.
    #[must_use]
    pub fn committed(&self) -> SeqNo {
        self.committed
    }

    /// Runs a step after which, if it fails, nothing about the files is certain.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<(), FileError>) -> Result<(), FileError> {
        if self.poisoned {
            return Err(FileError::Poisoned);
        }
        let result = step(self);
        self.poisoned = result.is_err();
        result
    }

    fn flush_buffer(&mut self) -> Result<(), FileError> {
        match self.files.last_mut() {
            Some(file) => {
                if !self.buffer.is_empty() {
                    file.flush(&mut self.buffer)?;
                    self.reader.index().flushed(file, self.last);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Readers see the files as they are now.
    fn show_all(&self) -> Result<(), FileError> {
        self.reader.index().replace(&self.files, self.last)
    }

    fn incomplete(&mut self) -> Option<&mut OpenChunk> {
        self.files.last_mut().filter(|file| !file.is_complete())
    }

    fn complete_current(&mut self) -> Result<(), FileError> {
        self.flush_buffer()?;
        let last = self.last;
        if let Some(file) = self.files.last_mut() {
            if file.last() > last {
                // In a replay the file on disk goes on where the chunk ends now.
                file.truncate(count(file.name.start, last))?;
            }
            file.complete()?;
        }
        // An entry that begins a chunk ends the one before, which may be committed by then.
        self.name_committed()
    }

    /// Cuts the file that holds the entry after `seqno` and deletes the files after it.
    fn drop_after(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        while let Some(file) = self.files.last_mut() {
            if file.last() <= seqno {
                break;
            }
            if file.name.start <= seqno {
                file.truncate(count(file.name.start, seqno))?;
                break;
            }
            self.files.pop().expect("there is a last file").delete()?;
        }
        Ok(())
    }
}

/// How many entries of a file that begins with `start` lie up to `last`.
fn count(start: SeqNo, last: SeqNo) -> usize {
    usize::try_from(last.0 + 1 - start.0).unwrap_or(usize::MAX)
}

/// The flags of an entry whose frame says that it is exactly as long as it is.
fn checked_flags(seqno: SeqNo, entry: &[u8]) -> Result<Flags, FileError> {
    let truncated = crate::entry::EntryError::Truncated { actual: entry.len() };
    let header = entry.first_chunk::<HEADER_BYTES>().ok_or(truncated);
    header
        .and_then(EntryHeader::parse)
        .and_then(|header| {
            let actual = entry.len() as u64;
            if header.entry_bytes() == actual {
                Ok(header.flags)
            } else {
                let actual = actual - HEADER_BYTES as u64;
                Err(crate::entry::EntryError::Size { stated: header.size, actual })
            }
        })
        .map_err(|source| FileError::BadEntry { seqno, source })
}

/// Gives a file another name. Readers see the old one or the new one: they open files with their index locked.
fn rename_shown(file: &mut OpenChunk, name: ChunkName, reader: &LedgerReader) -> Result<(), FileError> {
    let mut index = reader.index();
    file.rename(name)?;
    index.renamed(file);
    Ok(())
}
