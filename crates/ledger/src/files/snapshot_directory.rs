//! Which snapshots a directory holds (sections 14.4 and 14.5).

use ccf_types::SeqNo;
use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    FileError, SnapshotName,
    directory::{file_names, set_aside},
};

/// A committed snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPath {
    /// What its name says.
    pub name: SnapshotName,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The committed snapshots of a directory, newest first. Empty files are among them: their `bytes` are 0.
///
/// # Errors
/// [`FileError::Io`] if the directory cannot be read.
pub fn list_snapshots(directory: &Path) -> Result<Vec<SnapshotPath>, FileError> {
    let mut snapshots = Vec::new();
    for file in file_names(directory)? {
        if let Some(name) = SnapshotName::parse(&file).filter(|name| name.committed) {
            let path = directory.join(&file);
            // It may have been deleted meanwhile.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            snapshots.push(SnapshotPath { name, path, bytes: metadata.len() });
        }
    }
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.name));
    Ok(snapshots)
}

/// The newest committed snapshot that is not empty, not older than `since` and not beyond `committed`: up to there the
/// ledger is committed, so what has the name of a later one is none.
///
/// # Errors
/// [`FileError::Io`] if the directory cannot be read.
pub fn newest_snapshot(
    directory: &Path,
    since: SeqNo,
    committed: SeqNo,
) -> Result<Option<SnapshotPath>, FileError> {
    let mut listed = list_snapshots(directory)?.into_iter();
    let newest = listed.find(|snapshot| snapshot.bytes > 0 && snapshot.name.seqno <= committed);
    Ok(newest.filter(|snapshot| snapshot.name.seqno >= since))
}

/// Renames a corrupt snapshot so that it is never used.
///
/// # Errors
/// [`FileError::Io`].
pub fn ignore_snapshot(snapshot: &SnapshotPath) -> Result<PathBuf, FileError> {
    set_aside(&snapshot.path)
}
