//! Writing the last files again with other flags in their entries, so that a crash at any moment loses nothing.
//!
//! The new files are written whole beside the old ones, in a directory that nobody reads. Giving it its second name decides: from
//! then on they count, and who is interrupted while they are put in the place of the old ones begins with that again when the
//! ledger is opened. They are copied, not moved, so that it can be begun again any number of times.

use super::LedgerWriter;
use crate::{
    entry::Flags,
    files::{
        FileError,
        directory::{DECIDED, list_chunks, rename, sync_directory},
        index::Index,
        open_chunk::OpenChunk,
    },
};
use ccf_types::SeqNo;
use std::{fs, path::Path};

/// The directory while it is written; [`DECIDED`] is its name once its files count.
const WRITING: &str = "rewriting";

/// Called after each change of a directory; with an error the work ends there, as in a crash.
type Step<'a> = &'a mut dyn FnMut() -> Result<(), FileError>;

impl LedgerWriter {
    /// Everything after `after`, where a chunk ends, is `entries`, each with whether it is a signature: the same transactions as
    /// before, of which some have other flags. Files that are committed already are written anew too.
    ///
    /// # Errors
    /// [`FileError`]; the writer is then unusable.
    pub fn rewrite<B: AsRef<[u8]>>(&mut self, after: SeqNo, entries: &[(B, bool)]) -> Result<(), FileError> {
        self.rewrite_interruptibly(after, entries, &mut || Ok(()))
    }

    /// As [`rewrite`](Self::rewrite), for tests and simulations: it ends when `step`, called after each change of a directory, fails. A
    /// process that died there would leave the same files.
    ///
    /// # Errors
    /// [`FileError`], or that of `step`; the writer is then unusable.
    #[doc(hidden)]
    pub fn rewrite_interruptibly<B: AsRef<[u8]>>(
        &mut self,
        after: SeqNo,
        entries: &[(B, bool)],
        step: Step<'_>,
    ) -> Result<(), FileError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.guarded(|writer| {
            writer.flush_buffer()?;
            let first = writer.file_across(after)?.unwrap_or(after.next());
            let last = writer.write_beside(first, after, entries, step)?;
            rename(&writer.directory.join(WRITING), &writer.directory.join(DECIDED))?;
            step()?;
            let reader = writer.reader.clone();
            // Readers open files with the index locked: they see all old ones or all new ones.
            writer.take_over(first, last, &mut reader.index(), step)
        })
    }

    /// Where the file begins that goes on behind `after`, if there is one that does.
    fn file_across(&self, after: SeqNo) -> Result<Option<SeqNo>, FileError> {
        let across = |start: SeqNo, last: SeqNo| (start <= after && last > after).then_some(start);
        let open = self.files.iter().find_map(|file| across(file.name.start, file.last()));
        let mut named = list_chunks(&self.directory)?.into_iter().map(|chunk| chunk.name);
        Ok(open.or_else(|| named.find_map(|name| across(name.start, name.end?))))
    }

    /// Writes the new files; they begin with `first`, and those up to `after` end there. Answers the last entry.
    fn write_beside<B: AsRef<[u8]>>(
        &self,
        first: SeqNo,
        after: SeqNo,
        entries: &[(B, bool)],
        step: Step<'_>,
    ) -> Result<SeqNo, FileError> {
        let directory = self.directory.join(WRITING);
        remove_if_there(&directory)?;
        step()?;
        let mut beside = LedgerWriter::open(&directory, &[], &mut Vec::new())?;
        beside.last = first.previous();
        beside.recovery_start = self.recovery_start;
        if first <= after {
            let kept = self.reader.read_range(first, after, usize::MAX)?.filter(|kept| kept.to() == after);
            let kept = kept.ok_or(FileError::Gone(after))?;
            for (seqno, bytes) in kept.entries() {
                let flags = super::checked_flags(seqno, bytes)?;
                beside.append(bytes, flags.contains(Flags::CHUNK_AFTER))?;
            }
            beside.complete_current()?;
        }
        for (entry, committable) in entries {
            beside.append(entry.as_ref(), *committable)?;
        }
        beside.flush()?;
        beside.commit(self.committed.min(beside.last))?;
        if let Some(file) = beside.files.last() {
            file.file().sync_all().map_err(FileError::io(&file.path))?;
        }
        sync_directory(&directory)?;
        step()?;
        Ok(beside.last)
    }

    /// Puts the new files in the place of the old ones, and goes on with them.
    fn take_over(
        &mut self,
        first: SeqNo,
        last: SeqNo,
        index: &mut Index,
        step: Step<'_>,
    ) -> Result<(), FileError> {
        self.files.retain(|file| file.name.start < first);
        for file in &mut self.files {
            file.complete()?;
        }
        put_in_place(&self.directory, step)?;
        for chunk in list_chunks(&self.directory)? {
            if chunk.name.start >= first && (!chunk.name.committed || chunk.name.recovery) {
                self.files.push(OpenChunk::open(&chunk, &mut self.notices)?);
            }
        }
        self.replay = None;
        self.last = last;
        index.replace(&self.files, last)
    }
}

/// Ends what was begun when the ledger was last open: files that count are put in their place, others forgotten.
pub(super) fn finish(directory: &Path) -> Result<(), FileError> {
    put_in_place(directory, &mut || Ok(()))
}

fn put_in_place(directory: &Path, step: Step<'_>) -> Result<(), FileError> {
    let (writing, decided) = (directory.join(WRITING), directory.join(DECIDED));
    if decided.is_dir() {
        let new = list_chunks(&decided)?;
        let first = new.first().map(|chunk| chunk.name.start);
        let is_old = |start: SeqNo| first.is_some_and(|first| start >= first);
        for old in list_chunks(directory)?.into_iter().filter(|chunk| is_old(chunk.name.start)) {
            fs::remove_file(&old.path).map_err(FileError::io(&old.path))?;
            step()?;
        }
        for chunk in new {
            let target = directory.join(chunk.name.to_string());
            fs::copy(&chunk.path, &target).map_err(FileError::io(&target))?;
            let copied = fs::File::open(&target).map_err(FileError::io(&target))?;
            copied.sync_all().map_err(FileError::io(&target))?;
            step()?;
        }
        sync_directory(directory)?;
        remove_if_there(&writing)?;
        rename(&decided, &writing)?;
        step()?;
    }
    remove_if_there(&writing)
}

fn remove_if_there(directory: &Path) -> Result<(), FileError> {
    // What cannot even be seen is told by whoever lists the ledger.
    if directory.is_dir() { fs::remove_dir_all(directory).map_err(FileError::io(directory)) } else { Ok(()) }
}
