//! Listing ledger directories.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ChunkName, FileError};

/// A chunk file found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPath {
    /// What its name says.
    pub name: ChunkName,
    /// Where it is.
    pub path: PathBuf,
}

impl ChunkPath {
    /// Size of the file in bytes; 0 if it cannot be told.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

/// The chunk files of a directory, in order of their first entries. Other files are left out.
///
/// # Errors
/// [`FileError::Io`] if the directory cannot be read.
pub fn list_chunks(directory: &Path) -> Result<Vec<ChunkPath>, FileError> {
    let mut chunks = Vec::new();
    for name in file_names(directory)? {
        if let Some(parsed) = ChunkName::parse(&name) {
            chunks.push(ChunkPath { name: parsed, path: directory.join(name) });
        }
    }
    chunks.sort_by_key(|chunk| chunk.name);
    Ok(chunks)
}

/// The directory in a ledger directory whose files count instead of those that begin where its first one does, or later: they were
/// written again, and somebody was interrupted while putting them in their place.
pub(super) const DECIDED: &str = "rewritten";

/// As [`list_chunks`], of a ledger that nobody may have opened since it was left in the middle of putting rewritten files in their
/// place: these are listed where they are.
///
/// # Errors
/// As [`list_chunks`].
pub fn list_chunks_of_any_state(directory: &Path) -> Result<Vec<ChunkPath>, FileError> {
    let mut chunks = list_chunks(directory)?;
    let decided = directory.join(DECIDED);
    if decided.is_dir() {
        let new = list_chunks(&decided)?;
        if let Some(first) = new.first().map(|chunk| chunk.name.start) {
            chunks.retain(|chunk| chunk.name.start < first);
        }
        chunks.extend(new);
    }
    Ok(chunks)
}

/// The check of the command `start` (section 13.1, 4): a new service begins in an empty or absent main
/// directory, and its read-only directories, which must exist, are empty.
///
/// # Errors
/// [`FileError::NotEmpty`] names the directory; [`FileError::Io`] if one cannot be read.
pub fn require_fresh(main: &Path, read_only: &[PathBuf]) -> Result<(), FileError> {
    if main.exists() {
        require_empty(main)?;
    }
    read_only.iter().try_for_each(|directory| require_empty(directory))
}

fn require_empty(directory: &Path) -> Result<(), FileError> {
    let mut entries = fs::read_dir(directory).map_err(FileError::io(directory))?;
    if entries.next().is_some() { Err(FileError::NotEmpty(directory.to_owned())) } else { Ok(()) }
}

/// Names of the plain files in a directory that are valid text, in no particular order.
pub(super) fn file_names(directory: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(FileError::io(directory))? {
        let entry = entry.map_err(FileError::io(directory))?;
        let is_file = entry.file_type().map_err(FileError::io(&entry.path()))?.is_file();
        if let (true, Ok(name)) = (is_file, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Renames, and makes the new name durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::io(from))?;
    sync_directory(to.parent().unwrap_or(Path::new(".")))
}

/// Makes names created, changed or removed in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), FileError> {
    let opened = fs::File::open(directory).map_err(FileError::io(directory))?;
    opened.sync_all().map_err(FileError::io(directory))
}

/// Sets a file aside, so that it is never read again, by appending `.ignored` to its name.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, FileError> {
    let target = ignored_name(path);
    fs::rename(path, &target).map_err(FileError::io(path))?;
    Ok(target)
}

/// Keeps a copy of a file that will be changed, under a name that is never read.
pub(super) fn keep_copy(path: &Path) -> Result<PathBuf, FileError> {
    let target = ignored_name(path);
    fs::copy(path, &target).map_err(FileError::io(&target))?;
    Ok(target)
}

/// A name that no file has: what was set aside before stays, too.
fn ignored_name(path: &Path) -> PathBuf {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let numbered = (2u64..).map(|number| with(&format!(".{number}.ignored")));
    let mut names = std::iter::once(with(".ignored")).chain(numbered);
    names.find(|name| !name.exists()).unwrap_or_else(|| with(".ignored"))
}
