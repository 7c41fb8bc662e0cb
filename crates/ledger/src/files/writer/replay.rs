//! Entries that arrive again: a node that begins from a snapshot compares what comes with what its files hold (section 13.5), and
//! files are written anew where flags were mended.

use super::{LedgerWriter, checked_flags, count};
use crate::{
    entry::Flags,
    files::{
        ChunkName, ChunkPath, FileError,
        directory::{self, list_chunks},
        notices::{Notice, aside},
        open_chunk::OpenChunk,
    },
};
use ccf_types::SeqNo;
use std::{fs, mem};

/// Why files are set aside when a node begins: the service has other entries there.
const OTHER_HISTORY: &str = "it has entries that the service does not have, or has others in their place";

/// Entries arrive again that are on disk already: compare instead of write (section 13.5).
#[derive(Debug)]
pub(super) struct Replay {
    /// The last entry on disk before the replay.
    until: SeqNo,
    /// Whether what differs is another history, which is not ours to delete. Else it is the same with other flags.
    keeps: bool,
}

impl LedgerWriter {
    pub(super) fn begin_replay(
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
    pub(super) fn replayed(&mut self, seqno: SeqNo, entry: &[u8]) -> Result<bool, FileError> {
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
