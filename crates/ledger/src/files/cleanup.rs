//! Deleting committed files that are kept elsewhere (section 13.8).

use ccf_crypto::hash::Sha256;
use ccf_types::{Digest, SeqNo};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{FileError, SnapshotName, directory::file_names, list_chunks};
use crate::limits::READ_BLOCK_BYTES;

/// Deletes the oldest committed chunks of the main directory beyond `keep`, as far as a read-only directory holds a
/// file of the same name and bytes and they end before the newest committed snapshot. Returns what was deleted.
///
/// # Errors
/// [`FileError::Io`] if a directory or file cannot be used; what was deleted before stays deleted.
pub fn delete_copied_chunks(
    main: &Path,
    read_only: &[PathBuf],
    keep: usize,
    newest_snapshot: SeqNo,
) -> Result<Vec<PathBuf>, FileError> {
    let mut chunks = list_chunks(main)?;
    chunks.retain(|chunk| chunk.name.committed && !chunk.name.recovery);
    chunks.truncate(chunks.len().saturating_sub(keep));
    let mut deleted = Vec::new();
    for chunk in chunks {
        let settled = chunk.name.end.is_some_and(|end| end < newest_snapshot);
        if settled && is_copied(&chunk.path, &chunk.name.to_string(), read_only)? {
            fs::remove_file(&chunk.path).map_err(FileError::io(&chunk.path))?;
            deleted.push(chunk.path);
        }
    }
    Ok(deleted)
}

/// Deletes the committed snapshots of a directory that are older than `oldest_kept`. Returns what was deleted. Which
/// ones there are enough of is for the caller to know: a name proves nothing.
///
/// # Errors
/// [`FileError::Io`] if a directory or file cannot be used; what was deleted before stays deleted.
pub fn delete_older_snapshots(
    directory: &Path,
    oldest_kept: SnapshotName,
) -> Result<Vec<PathBuf>, FileError> {
    let mut older: Vec<_> = file_names(directory)?
        .iter()
        .filter_map(|name| SnapshotName::parse(name))
        .filter(|name| name.committed && *name < oldest_kept)
        .collect();
    older.sort();
    let mut deleted = Vec::new();
    for snapshot in older {
        let path = directory.join(snapshot.to_string());
        fs::remove_file(&path).map_err(FileError::io(&path))?;
        deleted.push(path);
    }
    Ok(deleted)
}

fn is_copied(path: &Path, name: &str, read_only: &[PathBuf]) -> Result<bool, FileError> {
    let mut digest = None;
    for directory in read_only {
        let copy = directory.join(name);
        if !copy.is_file() || is_same_file(path, &copy)? {
            continue;
        }
        let original = match digest {
            Some(digest) => digest,
            None => *digest.insert(digest_of(path)?),
        };
        if digest_of(&copy)? == original {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether both paths lead to one place: the main directory by another name, or a link to the file.
fn is_same_file(path: &Path, copy: &Path) -> Result<bool, FileError> {
    let original = fs::canonicalize(path).map_err(FileError::io(path))?;
    Ok(fs::canonicalize(copy).map_err(FileError::io(copy))? == original)
}

fn digest_of(path: &Path) -> Result<Digest, FileError> {
    let mut file = File::open(path).map_err(FileError::io(path))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ_BLOCK_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(FileError::io(path))? {
            0 => return Ok(hash.finish()),
            len => hash.update(&buffer[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("written");
        }
        directory
    }

    fn left(directory: &tempfile::TempDir) -> Vec<String> {
        let mut names = file_names(directory.path()).expect("listed");
        names.sort();
        names
    }

    /// Read-only directories may lead to the main one: then the only copy must not go.
    #[test]
    fn a_link_is_no_copy() {
        let main = directory(&[("ledger_1-2.committed", "a"), ("ledger_3-4.committed", "b")]);
        let elsewhere = directory(&[]);
        let link = elsewhere.path().join("main");
        std::os::unix::fs::symlink(main.path(), &link).expect("linked");
        let linked = directory(&[]);
        let file = "ledger_1-2.committed";
        std::os::unix::fs::symlink(main.path().join(file), linked.path().join(file)).expect("linked");
        let read_only = [main.path().to_owned(), link, linked.path().to_owned()];
        let deleted = delete_copied_chunks(main.path(), &read_only, 0, SeqNo(9)).expect("looked at");
        assert!(deleted.is_empty(), "{deleted:?}");
        assert_eq!(left(&main), ["ledger_1-2.committed", "ledger_3-4.committed"]);
    }

    #[test]
    fn only_copied_chunks_before_the_snapshot_go() {
        let main = directory(&[
            ("ledger_1-2.committed", "a"),
            ("ledger_3-4.committed", "b"),
            ("ledger_5-6.committed", "c"),
            ("ledger_7-8.committed", "d"),
            ("ledger_9", "e"),
        ]);
        let copies = directory(&[
            ("ledger_1-2.committed", "a"),
            ("ledger_3-4.committed", "other"),
            ("ledger_5-6.committed", "c"),
            ("ledger_7-8.committed", "d"),
        ]);
        let read_only = [copies.path().to_owned()];
        let delete = |keep, snapshot| {
            let deleted = delete_copied_chunks(main.path(), &read_only, keep, SeqNo(snapshot));
            deleted.expect("deletes").len()
        };
        assert_eq!(delete(4, 100), 0, "not above the limit");
        assert_eq!(delete(0, 2), 0, "the snapshot does not cover them");
        assert_eq!(delete(1, 100), 2);
        assert_eq!(left(&main), ["ledger_3-4.committed", "ledger_7-8.committed", "ledger_9"]);
    }

    #[test]
    fn only_older_committed_snapshots_go() {
        let all = [
            "snapshot_9_10.committed",
            "snapshot_20_21.committed",
            "snapshot_100_101.committed",
            "snapshot_5_6",
        ];
        let directory = directory(&all.map(|name| (name, "s")));
        let oldest_kept = SnapshotName::parse("snapshot_20_21.committed").expect("a name");
        assert_eq!(delete_older_snapshots(directory.path(), oldest_kept).expect("deletes").len(), 1);
        assert_eq!(
            left(&directory),
            ["snapshot_100_101.committed", "snapshot_20_21.committed", "snapshot_5_6"]
        );
    }
}
