//! Digests of long files that were taken before: each takes a second for every few gigabytes.

use super::range::ByteRange;
use ccf_crypto::hash::{HashAlgorithm, HashValue};
use parking_lot::Mutex;
use std::{collections::VecDeque, fs::File, io, os::unix::fs::MetadataExt, sync::Arc};

/// Digests kept: a few files, a few algorithms.
const KEPT: usize = 32;

/// A part of a file as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Of {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds: of the last change of content or name.
    changed: (i64, i64),
    range: ByteRange,
    algorithm: HashAlgorithm,
}

/// The digests that were taken last.
#[derive(Clone, Default)]
pub(super) struct Digests(Arc<Mutex<VecDeque<(Of, HashValue)>>>);

impl Digests {
    /// Of a part of a file, taken by `digest` if it is not known.
    pub(super) fn of_file(
        &self,
        file: &File,
        range: ByteRange,
        algorithm: HashAlgorithm,
        digest: impl FnOnce() -> io::Result<HashValue>,
    ) -> io::Result<HashValue> {
        let metadata = file.metadata()?;
        let of = Of {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            range,
            algorithm,
        };
        let known = self.0.lock().iter().find(|(known, _)| *known == of).map(|(_, value)| value.clone());
        if let Some(value) = known {
            return Ok(value);
        }
        let value = digest()?;
        let mut kept = self.0.lock();
        kept.truncate(KEPT - 1);
        kept.push_front((of, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, fs};

    #[test]
    fn a_digest_is_taken_once_while_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let taken = Cell::new(0);
        let digests = Digests::default();
        let digest = |start| {
            let range = ByteRange { start, end: 3 };
            let bytes = fs::read(&path).unwrap();
            let take = || {
                taken.set(taken.get() + 1);
                Ok(HashAlgorithm::Sha384.digest(&bytes[usize::try_from(start).unwrap()..4]))
            };
            let value = digests.of_file(&File::open(&path).unwrap(), range, HashAlgorithm::Sha384, take);
            value.unwrap().as_ref().to_vec()
        };
        fs::write(&path, b"abcd").unwrap();
        assert_eq!(digest(0), digest(0));
        assert_eq!(taken.get(), 1);
        assert_ne!(digest(0), digest(1));
        assert_eq!(taken.get(), 2);
        let before = digest(0);
        fs::write(directory.path().join("other"), b"abce").unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        assert_ne!(digest(0), before);
        for start in 0..4 {
            (0..100).for_each(|_| drop(digest(start)));
        }
        assert!(digests.0.lock().len() <= KEPT);
    }
}
