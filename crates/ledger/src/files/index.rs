//! Which file holds which entry, in memory: what a reader looks up and a writer keeps current.

use ccf_types::SeqNo;
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{ChunkName, FileError, directory::list_chunks, open_chunk::OpenChunk, reader::CommittedChunk};
use crate::{entry::PUBLIC_AT, limits::OPEN_FILES_MAX};

/// The directories, what the writer holds open, and the files used last.
#[derive(Debug)]
pub(super) struct Index {
    /// The main one first, then the read-only ones in order.
    directories: Vec<Directory>,
    /// How far the ledger goes, if a writer keeps the main directory current here. Files may hold more while a
    /// backup compares them with what it receives.
    last: Option<SeqNo>,
    /// Files of the writer, by their first entry.
    open: BTreeMap<SeqNo, OpenView>,
    /// Most recently used first.
    recent: VecDeque<Arc<CommittedChunk>>,
    /// Raised whenever bytes that could have been read are no longer those of the ledger.
    generation: u64,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Whether files of a recovery in progress count.
    recovery: bool,
    /// When it was changed last, as of its listing.
    listed: Option<SystemTime>,
    /// Committed chunks by their first entry; none lies inside another.
    chunks: BTreeMap<SeqNo, (SeqNo, ChunkName)>,
}

/// What has been flushed of a file the writer holds open.
#[derive(Debug)]
struct OpenView {
    file: OpenFile,
    offsets: Vec<u32>,
    end: u64,
}

/// A file of the writer.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    start: SeqNo,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
}

/// Where an entry is.
pub(super) enum Place {
    Open(OpenFile),
    Committed(Arc<CommittedChunk>),
}

impl Index {
    pub(super) fn new(main: &Path, read_only: &[PathBuf]) -> Self {
        let directory = |path: &Path, recovery| Directory {
            path: path.into(),
            recovery,
            listed: None,
            chunks: BTreeMap::new(),
        };
        let mut directories = vec![directory(main, true)];
        directories.extend(read_only.iter().map(|path| directory(path, false)));
        let (open, recent) = (BTreeMap::new(), VecDeque::new());
        Self { directories, last: None, open, recent, generation: 0 }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How far the ledger goes, if that is known better than from the files.
    pub(super) fn last(&self) -> Option<SeqNo> {
        self.last
    }

    /// Finds an entry: among the writer's files, the recently used ones, the main directory, the read-only ones.
    pub(super) fn find(&mut self, seqno: SeqNo) -> Result<Option<Place>, FileError> {
        if self.last.is_some_and(|last| seqno > last) {
            return Ok(None);
        }
        if let Some((_, view)) = self.open.range(..=seqno).next_back()
            && seqno.0 - view.file.start.0 < view.offsets.len() as u64
        {
            return Ok(Some(Place::Open(view.file.clone())));
        }
        if let Some(at) = self.recent.iter().position(|chunk| chunk.holds(seqno))
            && let Some(chunk) = self.recent.remove(at)
        {
            self.recent.push_front(Arc::clone(&chunk));
            return Ok(Some(Place::Committed(chunk)));
        }
        if let Some(chunk) = self.open_listed(seqno)? {
            return Ok(Some(Place::Committed(chunk)));
        }
        let changed = self.list_changed()?;
        Ok(if changed { self.open_listed(seqno)?.map(Place::Committed) } else { None })
    }

    /// The committed file that is listed for an entry.
    pub(super) fn committed_file_of(&self, seqno: SeqNo) -> Option<PathBuf> {
        self.directories.iter().find_map(|directory| {
            let (_, (end, name)) = directory.chunks.range(..=seqno).next_back()?;
            (*end >= seqno).then(|| directory.path.join(name.to_string()))
        })
    }

    /// Where the entries `from ..= to` of an open file begin, and the length of each, as far as they can fit.
    pub(super) fn open_extents(
        &self,
        file: &OpenFile,
        from: SeqNo,
        to: SeqNo,
        bytes_max: usize,
    ) -> Option<(u64, Vec<u64>)> {
        let view = self.open.get(&file.start)?;
        let first = usize::try_from(from.0 - file.start.0).ok()?;
        let last = usize::try_from(to.0 - file.start.0).unwrap_or(usize::MAX);
        let fit = bytes_max / PUBLIC_AT + 1;
        let offset = u64::from(*view.offsets.get(first)?);
        let end = last.min(view.offsets.len() - 1).min(first.saturating_add(fit));
        let lengths = (first..=end).map(|at| {
            let next = view.offsets.get(at + 1).map_or(view.end, |next| u64::from(*next));
            next - u64::from(view.offsets[at])
        });
        Some((offset, lengths.collect()))
    }

    /// Where the entries of the open file that begins with `start` begin, up to `to`, and where that one ends; none if it is
    /// not there.
    pub(super) fn open_offsets(&self, start: SeqNo, to: SeqNo) -> Option<Vec<u64>> {
        let view = self.open.get(&start)?;
        let count = usize::try_from(to.0.checked_sub(start.0)?.checked_add(1)?).ok()?;
        let starts = view.offsets.get(..count)?.iter().map(|offset| u64::from(*offset));
        let end = view.offsets.get(count).map_or(view.end, |next| u64::from(*next));
        Some(starts.chain([end]).collect())
    }

    /// Opens the file that is listed for an entry. One that is gone meanwhile is taken off the list.
    fn open_listed(&mut self, seqno: SeqNo) -> Result<Option<Arc<CommittedChunk>>, FileError> {
        for directory in &mut self.directories {
            let Some((&start, &(end, name))) = directory.chunks.range(..=seqno).next_back() else { continue };
            if end < seqno {
                continue;
            }
            match CommittedChunk::open(directory.path.join(name.to_string()), start, end) {
                Ok(chunk) => {
                    let chunk = Arc::new(chunk);
                    self.recent.truncate(OPEN_FILES_MAX - 1);
                    self.recent.push_front(Arc::clone(&chunk));
                    return Ok(Some(chunk));
                }
                Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    directory.chunks.remove(&start);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Lists the directories that changed since they were listed, except one that a writer keeps current.
    fn list_changed(&mut self) -> Result<bool, FileError> {
        let mut changed = false;
        let owned = usize::from(self.last.is_some());
        for directory in self.directories.iter_mut().skip(owned) {
            let Ok(modified) = fs::metadata(&directory.path).and_then(|metadata| metadata.modified()) else {
                continue; // Not there (yet).
            };
            if directory.listed != Some(modified) {
                directory.list()?;
                directory.listed = Some(modified);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// A writer has opened the directories and holds these files, or has rolled back: what was known before is void.
    pub(super) fn replace(&mut self, files: &[OpenChunk], last: SeqNo) -> Result<(), FileError> {
        self.last = Some(last);
        self.generation += 1;
        self.recent.clear();
        self.directories[0].list()?;
        self.list_changed()?;
        self.open = files.iter().filter(|file| !file.name.committed).map(OpenView::of).collect();
        Ok(())
    }

    /// The writer has flushed more of a file; the ledger now ends with `last`.
    pub(super) fn flushed(&mut self, file: &OpenChunk, last: SeqNo) {
        self.last = Some(last);
        let (start, view) = OpenView::empty(file);
        let view = self.open.entry(start).or_insert(view);
        view.offsets.extend_from_slice(file.offsets().get(view.offsets.len()..).unwrap_or_default());
        view.end = file.end();
    }

    /// The writer has given a file another name, which may be a final one.
    pub(super) fn renamed(&mut self, file: &OpenChunk) {
        let start = file.name.start;
        if let Some(view) = self.open.get_mut(&start) {
            view.file.path.clone_from(&file.path);
        }
        if file.name.committed {
            self.open.remove(&start);
            self.recent.retain(|chunk| chunk.path() != file.path && !chunk.holds(start));
            self.directories[0].chunks.insert(start, (file.last(), file.name));
        }
    }
}

impl Directory {
    fn list(&mut self) -> Result<(), FileError> {
        self.chunks.clear();
        let mut covered = SeqNo::NONE;
        for chunk in list_chunks(&self.path)? {
            let ChunkName { start, end: Some(end), committed: true, recovery } = chunk.name else { continue };
            if recovery && !self.recovery || end <= covered {
                continue;
            }
            covered = end;
            self.chunks.insert(start, (end, chunk.name));
        }
        Ok(())
    }
}

impl OpenView {
    fn of(file: &OpenChunk) -> (SeqNo, OpenView) {
        let (start, empty) = Self::empty(file);
        (start, OpenView { offsets: file.offsets().to_vec(), end: file.end(), ..empty })
    }

    fn empty(file: &OpenChunk) -> (SeqNo, OpenView) {
        let start = file.name.start;
        let shared = OpenFile { start, file: Arc::clone(file.file()), path: file.path.clone() };
        (start, OpenView { file: shared, offsets: Vec::new(), end: 0 })
    }
}
