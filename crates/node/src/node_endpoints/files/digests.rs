//! Digests of files. Those of long ones take a second for every few gigabytes: they are taken on a thread of their own, one
//! after the other, once for all who ask at the same time, and remembered.

use super::{
    content::{Content, Part},
    range::ByteRange,
};
use ccf_crypto::hash::{HashAlgorithm, HashValue};
use ccf_endpoints::BodySource;
use ccf_ledger::files::PrefixName;
use parking_lot::Mutex;
use std::{collections::VecDeque, future::Future, io, os::unix::fs::MetadataExt, sync::Arc, thread};
use tokio::sync::oneshot;

/// Digests kept: a few files, a few algorithms.
const KEPT: usize = 32;

/// Digests that may be wanted at one moment.
const WANTED_MAX: usize = 32;

/// Who may wait for one digest.
const WAITERS_MAX: usize = 256;

/// Longer parts are sent piece by piece, and their digests are not taken on a worker. The ranges in which nodes ask for files
/// are not longer.
pub(super) const SHORT_BYTES_MAX: u64 = 4 << 20;

/// Files are hashed in pieces of this size.
const HASHED_BYTES: usize = 1 << 20;

/// A part of a file as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Of {
    content: Same,
    range: ByteRange,
    algorithm: HashAlgorithm,
}

/// What tells that a content is the same as before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    File {
        device: u64,
        inode: u64,
        bytes: u64,
        /// Seconds and nanoseconds: of the last change of content or name.
        changed: (i64, i64),
    },
    /// What is committed does not change.
    Prefix(PrefixName),
}

/// Takes digests. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Digests(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Those that were taken last, newest first.
    kept: VecDeque<(Of, HashValue)>,
    /// Those that are wanted. While the thread runs it takes the first one.
    wanted: VecDeque<Wanted>,
    is_running: bool,
}

struct Wanted {
    of: Of,
    part: Part,
    waiters: Vec<oneshot::Sender<Result<HashValue, String>>>,
}

impl Digests {
    /// Of a part, if it is known or short.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn known(&self, part: &Part, algorithm: HashAlgorithm) -> io::Result<Option<HashValue>> {
        if part.bytes() <= SHORT_BYTES_MAX {
            return digest_of(part, algorithm, || true);
        }
        Ok(self.0.lock().known(&Of::new(part, algorithm)?))
    }

    /// Of a part, once the thread has taken it; none if too many are wanted.
    ///
    /// # Errors
    /// If the file cannot be read, or the system gives no thread.
    pub(super) fn take(
        &self,
        part: Part,
        algorithm: HashAlgorithm,
    ) -> io::Result<Option<impl Future<Output = io::Result<HashValue>> + Send + use<>>> {
        let of = Of::new(&part, algorithm)?;
        let (waiter, taken) = oneshot::channel();
        let mut state = self.0.lock();
        if let Some(digest) = state.known(&of) {
            // Nobody has dropped the other end.
            let _ = waiter.send(Ok(digest));
        } else if let Some(wanted) = state.wanted.iter_mut().find(|wanted| wanted.of == of) {
            if wanted.waiters.len() >= WAITERS_MAX {
                return Ok(None);
            }
            wanted.waiters.push(waiter);
        } else if state.wanted.len() >= WANTED_MAX {
            return Ok(None);
        } else {
            state.wanted.push_back(Wanted { of, part, waiters: vec![waiter] });
            if !state.is_running {
                let own = self.clone();
                let thread = thread::Builder::new().name("file-digests".into());
                if let Err(error) = thread.spawn(move || while own.take_next() {}) {
                    state.wanted.clear();
                    return Err(error);
                }
                state.is_running = true;
            }
        }
        Ok(Some(async move {
            let taken = taken.await.unwrap_or_else(|_| Err("it was given up".to_owned()));
            taken.map_err(io::Error::other)
        }))
    }

    /// Takes the digest that was wanted first. False if none is wanted: then the thread ends.
    fn take_next(&self) -> bool {
        let (of, part) = {
            let mut state = self.0.lock();
            let Some(wanted) = state.wanted.front() else {
                state.is_running = false;
                return false;
            };
            (wanted.of, wanted.part.clone())
        };
        let taken = digest_of(&part, of.algorithm, || self.0.lock().is_first_wanted());
        let mut state = self.0.lock();
        if matches!(taken, Ok(None)) && state.is_first_wanted() {
            // Somebody came at the last moment.
            return true;
        }
        let waiters = state.wanted.pop_front().map(|wanted| wanted.waiters).unwrap_or_default();
        let answer = match taken {
            Ok(Some(digest)) => {
                state.kept.truncate(KEPT - 1);
                state.kept.push_front((of, digest.clone()));
                Ok(digest)
            }
            Ok(None) => return true,
            Err(error) => Err(error.to_string()),
        };
        for waiter in waiters {
            // Whoever asked may be gone.
            let _ = waiter.send(answer.clone());
        }
        true
    }
}

impl State {
    fn known(&self, of: &Of) -> Option<HashValue> {
        self.kept.iter().find(|(known, _)| known == of).map(|(_, digest)| digest.clone())
    }

    /// Whether anybody still waits for the digest that is being taken.
    fn is_first_wanted(&self) -> bool {
        self.wanted.front().is_some_and(|wanted| wanted.waiters.iter().any(|waiter| !waiter.is_closed()))
    }
}

impl Of {
    fn new(part: &Part, algorithm: HashAlgorithm) -> io::Result<Of> {
        let content = match &part.content {
            Content::Prefix(_, name) => Same::Prefix(*name),
            Content::File(file, _) => {
                let metadata = file.metadata()?;
                Same::File {
                    device: metadata.dev(),
                    inode: metadata.ino(),
                    bytes: metadata.len(),
                    changed: (metadata.ctime(), metadata.ctime_nsec()),
                }
            }
        };
        Ok(Of { content, range: part.range, algorithm })
    }
}

/// The digest of a part; none if it is not `wanted` any more.
fn digest_of(
    part: &Part,
    algorithm: HashAlgorithm,
    wanted: impl Fn() -> bool,
) -> io::Result<Option<HashValue>> {
    let mut hasher = algorithm.begin();
    let mut at = 0;
    while at < part.bytes() {
        if !wanted() {
            return Ok(None);
        }
        let left = usize::try_from(part.bytes() - at).unwrap_or(usize::MAX);
        let piece = part.read(at, left.min(HASHED_BYTES))?;
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    Ok(Some(hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    const BYTES: usize = 6 << 20;

    fn long_file(path: &Path, byte: u8) {
        fs::write(path, vec![byte; BYTES]).unwrap();
    }

    fn part(path: &Path, start: u64) -> Part {
        let range = ByteRange { start, end: BYTES as u64 - 1 };
        Part { content: Content::open(path).unwrap().unwrap(), range }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_long_file_is_hashed_by_another_thread_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        long_file(&path, 7);
        let digests = Digests::default();
        let sha = HashAlgorithm::Sha384;
        assert!(digests.known(&part(&path, 0), sha).unwrap().is_none());
        let both = [0, 0].map(|start| digests.take(part(&path, start), sha).unwrap().unwrap());
        assert!(digests.0.lock().wanted.len() <= 1, "asked twice, wanted once");
        let expected = sha.digest(&vec![7; BYTES]);
        for digest in both {
            assert_eq!(run(digest).unwrap().as_ref(), expected.as_ref());
        }
        assert_eq!(digests.known(&part(&path, 0), sha).unwrap().unwrap().as_ref(), expected.as_ref());
        assert!(digests.known(&part(&path, 1), sha).unwrap().is_none());
        // Another file in its place is another file.
        let other = directory.path().join("other");
        long_file(&other, 8);
        fs::rename(&other, &path).unwrap();
        assert!(digests.known(&part(&path, 0), sha).unwrap().is_none());
        // Short ones are not waited for.
        assert!(digests.known(&part(&path, BYTES as u64 - 5), sha).unwrap().is_some());
    }

    #[test]
    fn what_is_wanted_and_what_is_kept_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        long_file(&path, 7);
        let digests = Digests::default();
        // As if the thread had not begun.
        digests.0.lock().is_running = true;
        let sha = HashAlgorithm::Sha256;
        let mut taken = Vec::new();
        for start in 0..WANTED_MAX as u64 {
            taken.push(digests.take(part(&path, start), sha).unwrap().unwrap());
        }
        assert!(digests.take(part(&path, 1 << 20), sha).unwrap().is_none());
        for _ in 1..WAITERS_MAX {
            taken.push(digests.take(part(&path, 0), sha).unwrap().unwrap());
        }
        assert!(digests.take(part(&path, 0), sha).unwrap().is_none());
        // Nobody waits for the last one any more: it is not read.
        drop(taken.drain(1..));
        while digests.take_next() {}
        assert_eq!(digests.0.lock().kept.len(), 1);
        assert!(digests.known(&part(&path, 0), sha).unwrap().is_some());
        for start in 0..2 * KEPT as u64 {
            drop(run(digests.take(part(&path, start), sha).unwrap().unwrap()));
        }
        assert_eq!(digests.0.lock().kept.len(), KEPT);
    }

    #[test]
    fn a_file_that_breaks_off_is_told_to_all_who_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        long_file(&path, 7);
        let digests = Digests::default();
        let part = part(&path, 0);
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        let taken = digests.take(part, HashAlgorithm::Sha256).unwrap().unwrap();
        assert!(run(taken).is_err());
    }
}
