//! Entries that arrive again: a node that begins from a snapshot compares what comes with what its files hold (section 13.5).

use super::{LedgerWriter, count};
use crate::files::{
    ChunkName, ChunkPath, FileError,
    directory::{self, list_chunks},
    notices::{Notice, aside},
    open_chunk::OpenChunk,
};
use ccf_types::SeqNo;
use std::mem;

/// Why files are set aside when a node begins: the service has other entries there.
const OTHER_HISTORY: &str = "it has entries that the service does not have, or has others in their place";

/// Entries arrive again that are on disk already: compare instead of write (section 13.5).
#[derive(Debug)]
pub(super) struct Replay {
    /// The last entry on disk before the replay.
    until: SeqNo,
}

impl LedgerWriter {
    pub(super) fn begin_replay(
        &mut self,
        seqno: SeqNo,
        recovery_start: Option<SeqNo>,
    ) -> Result<(), FileError> {
        self.guarded(|writer| {
            writer.flush_buffer()?;
            let mut on_disk = writer.last;
            for file in mem::take(&mut writer.files) {
                writer.settle(file, seqno)?;
            }
            // The last file first: after a crash those before it still count as committed.
            for chunk in list_chunks(&writer.directory)?.into_iter().rev() {
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
            writer.committed = seqno;
            writer.show_all()?;
            writer.recovery_start = recovery_start.filter(|start| *start > SeqNo::NONE);
            writer.replay = (on_disk > seqno).then_some(Replay { until: on_disk });
            Ok(())
        })
    }

    /// Closes a file at the beginning of a replay from `seqno`. One that ends at or before `seqno`, or goes beyond it,
    /// ends with it: snapshots are taken where chunks end. One that begins later stays as it is.
    fn settle(&mut self, mut file: OpenChunk, seqno: SeqNo) -> Result<(), FileError> {
        if file.name.start > seqno || file.is_complete() && file.last() <= seqno {
            return Ok(());
        }
        if file.last() > seqno {
            self.keep_copy(&file)?;
            file.truncate(count(file.name.start, seqno))?;
        }
        file.complete()
    }

    /// Whether `entry` is on disk already at its place. If not, the replay ends, and what is there from `seqno` on
    /// goes.
    pub(super) fn replayed(&mut self, seqno: SeqNo, entry: &[u8]) -> Result<bool, FileError> {
        let Some(Replay { until }) = self.replay else { return Ok(false) };
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
            if file.entries() > 0 {
                aside(&mut self.notices, &file.path, OTHER_HISTORY)?;
            } else {
                file.delete()?;
            }
        } else if at < file.entries() {
            let path = directory::keep_copy(&file.path)?;
            self.notices.push(Notice::SetAside { path, reason: OTHER_HISTORY });
            file.truncate(at)?;
        }
        self.set_later_files_aside(seqno)?;
        self.replay = None;
        self.show_all()?;
        Ok(false)
    }

    fn keep_copy(&mut self, file: &OpenChunk) -> Result<(), FileError> {
        let path = directory::keep_copy(&file.path)?;
        self.notices.push(Notice::SetAside { path, reason: OTHER_HISTORY });
        Ok(())
    }

    /// Sets chunk files aside that begin after `seqno`, whatever their names say: they continue another history.
    fn set_later_files_aside(&mut self, seqno: SeqNo) -> Result<(), FileError> {
        for chunk in list_chunks(&self.directory)?.into_iter().filter(|chunk| chunk.name.start > seqno) {
            aside(&mut self.notices, &chunk.path, OTHER_HISTORY)?;
        }
        directory::sync_directory(&self.directory)
    }
}
