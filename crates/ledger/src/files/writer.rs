//! The ledger's writer (section 13): one owner, one thread.
//!
//! Bytes are buffered, so that a batch of entries is one write; [`LedgerWriter::flush`] ends a batch, and a
//! signature flushes by itself. After any failed write the writer refuses everything further: what is on disk
//! is then unknown, and only opening the directories again can tell.

use ccf_types::SeqNo;
use std::{
    fmt, fs, mem,
    path::{Path, PathBuf},
};

use super::{
    ChunkName, ChunkPath, FileError, LedgerReader,
    directory::{self, file_names, list_chunks, set_aside},
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

/// Entries arrive again that are on disk already: compare instead of write (section 13.5).
#[derive(Debug)]
struct Replay {
    /// The last entry on disk before the replay.
    until: SeqNo,
    /// Whether what differs is another history, which is not ours to delete. Else it is the same with other flags.
    keeps: bool,
}

/// What opening the directories had to do, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file was set aside under a name that is never read.
    SetAside {
        /// Its new path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// An incomplete file held no whole entry and was deleted.
    DeletedEmpty(PathBuf),
    /// An incomplete file was cut after its last whole entry.
    Cut {
        /// The file.
        path: PathBuf,
        /// Its last entry.
        after: SeqNo,
        /// Where that ends.
        offset: u64,
        /// How much was cut off.
        bytes: u64,
        /// Where that is kept, if it was more than the rest of an interrupted write.
        kept: Option<PathBuf>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::SetAside { path, reason } => write!(f, "{} was set aside: {reason}", path.display()),
            Notice::DeletedEmpty(path) => write!(f, "{} held no whole entry and was deleted", path.display()),
            Notice::Cut { path, after, offset, bytes, kept } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: {bytes} bytes at offset {offset}, after entry {after}, are no whole entry and were cut off"
                )?;
                match kept {
                    Some(kept) => write!(f, "; they are kept in {}", kept.display()),
                    None => Ok(()),
                }
            }
        }
    }
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
            for file in &mut writer.files {
                if !file.is_complete() || file.last() > seqno {
                    break;
                }
                if !file.name.committed {
                    let name = ChunkName::committed(file.name.start, file.last(), file.name.recovery);
                    rename_shown(file, name, &writer.reader)?;
                }
            }
            writer.files.retain(|file| !file.name.committed || file.name.recovery);
            writer.committed = seqno;
            Ok(())
        })
    }

    /// A backup starts at `seqno` (0, or that of its snapshot): what lies after it on disk is uncommitted again,
    /// and is compared with the entries as they arrive (section 13.5). What turns out to be another history is set aside:
    /// [`take_notices`](Self::take_notices) tells. Files begun after `recovery_start` are marked as those of a recovery.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn init(&mut self, seqno: SeqNo, recovery_start: Option<SeqNo>) -> Result<(), FileError> {
        self.begin_replay(seqno, recovery_start, true)
    }

    /// What was set aside since the last call, for the log.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    fn begin_replay(
        &mut self,
        seqno: SeqNo,
        recovery_start: Option<SeqNo>,
        keeps: bool,
    ) -> Result<(), FileError> {
        self.guarded(|writer| {
            writer.flush_buffer()?;
            let mut on_disk = writer.last;
            for file in mem::take(&mut writer.files) {
                let settled = writer.settle(file, seqno, keeps)?;
                // The same history goes on: files before it that are complete wait for their commit as before.
                writer.files.extend(settled.filter(|_| !keeps));
            }
            for chunk in list_chunks(&writer.directory)? {
                on_disk = chunk.name.end.unwrap_or_default().max(on_disk);
                if chunk.name.committed
                    && chunk.name.start <= seqno
                    && chunk.name.end.is_some_and(|end| end > seqno)
                {
                    // Snapshots are taken where chunks end: entries of this file would stand beside those to come.
                    aside(&mut writer.notices, &chunk.path, OTHER_HISTORY)?;
                } else if chunk.name.committed && chunk.name.start > seqno {
                    let reopened = ChunkName::open(chunk.name.start, chunk.name.recovery);
                    directory::rename(&chunk.path, &writer.directory.join(reopened.to_string()))?;
                }
            }
            writer.last = seqno;
            writer.committed = if keeps { seqno } else { writer.committed.min(seqno) };
            writer.show_all()?;
            writer.recovery_start = recovery_start.filter(|start| *start > SeqNo::NONE);
            writer.replay = (on_disk > seqno).then_some(Replay { until: on_disk, keeps });
            Ok(())
        })
    }

    /// Everything after `after`, where a chunk ends, is `entries`, each with whether it is a signature: the same transactions as
    /// before, of which some have other flags. Files that are committed already are written anew where they differ.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn rewrite<B: AsRef<[u8]>>(&mut self, after: SeqNo, entries: &[(B, bool)]) -> Result<(), FileError> {
        let committed = self.committed;
        self.begin_replay(after, self.recovery_start, false)?;
        let mut ended = true;
        for (entry, committable) in entries {
            let flags = checked_flags(self.last.next(), entry.as_ref())?;
            if !ended && !flags.contains(Flags::CHUNK_BEFORE) {
                self.guarded(Self::reopen_last)?;
            }
            self.append(entry.as_ref(), *committable)?;
            ended = flags.contains(Flags::CHUNK_AFTER);
        }
        self.flush()?;
        self.commit(committed)
    }

    /// The chunk goes on behind the last entry, whatever its file says.
    fn reopen_last(&mut self) -> Result<(), FileError> {
        let last = self.last;
        match self.files.last_mut().filter(|file| file.is_complete() && file.last() == last) {
            Some(file) => {
                file.truncate(file.entries())?;
                self.drop_later_files(last, false)
            }
            None => Ok(()),
        }
    }

    /// The public replay ended with the signature at `seqno`: everything after it goes, and files begun from here on are
    /// those of a recovery (section 16.1).
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
        self.begin_recovery(seqno);
        Ok(())
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
        Ok(())
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

    /// Closes a file at the beginning of a replay from `seqno`. One that ends at or before `seqno`, or goes beyond it,
    /// ends with it: snapshots are taken where chunks end. None if it begins later.
    fn settle(
        &mut self,
        mut file: OpenChunk,
        seqno: SeqNo,
        keeps: bool,
    ) -> Result<Option<OpenChunk>, FileError> {
        if file.name.start > seqno {
            return Ok(None);
        }
        if file.is_complete() && file.last() <= seqno {
            return Ok(Some(file));
        }
        if file.last() > seqno {
            if keeps {
                self.keep_copy(&file)?;
            }
            file.truncate(count(file.name.start, seqno))?;
        }
        file.complete()?;
        Ok(Some(file))
    }

    /// Whether `entry` is on disk already at its place. If not, the replay ends, and what is there from `seqno` on
    /// goes.
    fn replayed(&mut self, seqno: SeqNo, entry: &[u8]) -> Result<bool, FileError> {
        let Some(Replay { until, keeps }) = self.replay else { return Ok(false) };
        let in_last = self.files.last().is_some_and(|file| file.name.start <= seqno && seqno <= file.last());
        if !in_last && self.incomplete().is_none() {
            let wanted = |chunk: &ChunkPath| chunk.name.start == seqno && !chunk.name.committed;
            if let Some(chunk) = list_chunks(&self.directory)?.into_iter().find(wanted) {
                self.files.push(OpenChunk::open(&chunk, &mut self.notices)?);
            }
        }
        let Some(file) = self.files.last_mut() else { return Ok(false) };
        let at = count(file.name.start, seqno) - 1;
        let same = at < file.entries() && file.holds(at, entry)?;
        if same {
            self.reader.index().flushed(file, seqno);
            if seqno >= until {
                self.replay = None;
            }
            return Ok(true);
        }
        if at == 0 {
            let file = self.files.pop().expect("it was there");
            if keeps && file.entries() > 0 {
                aside(&mut self.notices, &file.path, OTHER_HISTORY)?;
            } else {
                file.delete()?;
            }
        } else if at < file.entries() {
            if keeps {
                let path = directory::keep_copy(&file.path)?;
                self.notices.push(Notice::SetAside { path, reason: OTHER_HISTORY });
            }
            file.truncate(at)?;
        }
        self.drop_later_files(seqno, keeps)?;
        self.replay = None;
        self.show_all()?;
        Ok(false)
    }

    fn keep_copy(&mut self, file: &OpenChunk) -> Result<(), FileError> {
        let path = directory::keep_copy(&file.path)?;
        self.notices.push(Notice::SetAside { path, reason: OTHER_HISTORY });
        Ok(())
    }

    /// Drops chunk files that begin after `seqno`, whatever their names say: they continue another history. They are set
    /// aside unless they are the same one with other flags.
    fn drop_later_files(&mut self, seqno: SeqNo, keeps: bool) -> Result<(), FileError> {
        for chunk in list_chunks(&self.directory)? {
            if chunk.name.start <= seqno {
                continue;
            }
            if keeps {
                aside(&mut self.notices, &chunk.path, OTHER_HISTORY)?;
            } else {
                fs::remove_file(&chunk.path).map_err(FileError::io(&chunk.path))?;
            }
        }
        directory::sync_directory(&self.directory)
    }
}

/// Why files are set aside when a node begins: the service has other entries there.
const OTHER_HISTORY: &str = "it has entries that the service does not have, or has others in their place";

/// How many entries of a file that begins with `start` lie up to `last`.
fn count(start: SeqNo, last: SeqNo) -> usize {
    usize::try_from(last.0 + 1 - start.0).unwrap_or(usize::MAX)
}

fn aside(notices: &mut Vec<Notice>, path: &Path, reason: &'static str) -> Result<(), FileError> {
    let path = set_aside(path)?;
    notices.push(Notice::SetAside { path, reason });
    Ok(())
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
