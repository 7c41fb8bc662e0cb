//! Large files of indexes: encrypted under a key that lives as long as the process, each bound to its name.

use ccf_crypto::{aead::AeadKey, random};
use ccf_endpoints::{
    indexing::{LargeFile, LargeFiles},
    sha256,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files read ahead of the call that takes them up; those longest there are dropped.
const READY_MAX: usize = 256;

/// Reads that may wait. More are not begun: their callers ask again.
const WAITING_MAX: usize = 1024;

/// The files below one directory.
pub(super) struct IndexFiles {
    directory: PathBuf,
    key: Arc<AeadKey>,
    reads: Arc<Reads>,
}

#[derive(Default)]
struct Reads {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    known: HashSet<String>,
    ready: HashMap<String, Option<Arc<Vec<u8>>>>,
    order: VecDeque<String>,
    stopped: bool,
}

impl IndexFiles {
    pub(super) fn new(directory: &Path) -> Result<IndexFiles, random::RandomError> {
        let key = Arc::new(AeadKey::new(&random::bytes::<32>()?));
        Ok(IndexFiles { directory: directory.to_owned(), key, reads: Arc::default() })
    }

    /// Starts the thread that reads.
    pub(super) fn start(&self) -> io::Result<()> {
        let (reads, directory, key) =
            (Arc::clone(&self.reads), self.directory.clone(), Arc::clone(&self.key));
        let run = move || {
            while let Some(name) = reads.next() {
                let path = path(&directory, &name);
                let content = fs::read(&path).map_err(|error| error.to_string()).and_then(|sealed| {
                    let opened = key.open_blob(name.as_bytes(), &sealed);
                    opened.map_err(|_| "it is not what this node wrote there".to_owned())
                });
                if let Err(reason) = &content {
                    let path = path.display();
                    tracing::warn!(
                        "{path}, a file of the index {name}, is lost and will be made anew: {reason}"
                    );
                }
                reads.done(name, content.ok().map(|content| Arc::new(content.to_vec())));
            }
        };
        std::thread::Builder::new().name("index-files".into()).spawn(run).map(|_| ())
    }

    pub(super) fn stop(&self) {
        self.reads.state.lock().stopped = true;
        self.reads.work.notify_all();
    }
}

impl LargeFiles for IndexFiles {
    fn store(&self, name: &str, content: &[u8]) {
        let sealed = self.key.seal_blob(name.as_bytes(), content).map_err(|error| error.to_string());
        let written = sealed.and_then(|sealed| {
            fs::write(path(&self.directory, name), sealed).map_err(|error| error.to_string())
        });
        if let Err(reason) = written {
            // A query will find it lost, and the index begin anew.
            tracing::error!("A file of an index cannot be written: {reason}");
        }
    }

    fn fetch(&self, name: &str) -> LargeFile {
        let mut state = self.reads.state.lock();
        if let Some(found) = state.ready.remove(name) {
            state.order.retain(|known| known != name);
            return found.map_or(LargeFile::Lost, LargeFile::Ready);
        }
        if state.waiting.len() < WAITING_MAX && state.known.insert(name.to_owned()) {
            state.waiting.push_back(name.to_owned());
            self.reads.work.notify_one();
        }
        LargeFile::Loading
    }
}

impl Reads {
    fn next(&self) -> Option<String> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            match state.waiting.pop_front() {
                Some(name) => return Some(name),
                None => self.work.wait(&mut state),
            }
        }
    }

    fn done(&self, name: String, content: Option<Arc<Vec<u8>>>) {
        let mut state = self.state.lock();
        state.known.remove(&name);
        state.ready.insert(name.clone(), content);
        state.order.push_back(name);
        if state.order.len() > READY_MAX
            && let Some(old) = state.order.pop_front()
        {
            state.ready.remove(&old);
        }
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(sha256(name.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn started(directory: &Path) -> IndexFiles {
        let files = IndexFiles::new(directory).expect("random bytes");
        files.start().expect("a thread");
        files
    }

    /// What is read in the end; none if it is lost.
    fn read(files: &IndexFiles, name: &str) -> Option<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match files.fetch(name) {
                LargeFile::Ready(content) => return Some(content.to_vec()),
                LargeFile::Lost => return None,
                LargeFile::Loading => assert!(Instant::now() < deadline, "{name} is never read"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn files_are_secret_and_come_back() {
        let directory = tempfile::tempdir().expect("a folder");
        let files = started(directory.path());
        let content = b"bucket of seqnos, over and over; bucket of seqnos".repeat(1000);
        files.store("index 1:5", &content);
        assert_eq!(read(&files, "index 1:5"), Some(content.clone()));
        let written = fs::read(path(directory.path(), "index 1:5")).expect("a file");
        assert!(!written.windows(6).any(|bytes| bytes == b"seqnos"), "in the clear");
        assert_eq!(read(&files, "index 1:6"), None, "never written");
        // The key ends with the process: what another one left there is of no use.
        files.stop();
        assert_eq!(read(&started(directory.path()), "index 1:5"), None);
    }

    #[test]
    fn files_that_are_not_what_was_written_are_lost() {
        let directory = tempfile::tempdir().expect("a folder");
        let files = started(directory.path());
        let (one, two) = (b"of one".repeat(9), b"of two".repeat(9));
        files.store("one", &one);
        files.store("two", &two);
        let file = path(directory.path(), "one");
        let good = fs::read(&file).expect("a file");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            fs::write(&file, bad).expect("written");
            assert_eq!(read(&files, "one"), None, "byte {at}");
        }
        for len in 0..good.len() {
            fs::write(&file, &good[..len]).expect("written");
            assert_eq!(read(&files, "one"), None, "{len} bytes");
        }
        fs::copy(path(directory.path(), "two"), &file).expect("copied");
        assert_eq!(read(&files, "one"), None, "another one in its place");
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("a folder");
        assert_eq!(read(&files, "one"), None, "a folder in its place");
        assert_eq!(read(&files, "two"), Some(two));
        // Written anew it is there again.
        fs::remove_dir(&file).expect("removed");
        files.store("one", &one);
        assert_eq!(read(&files, "one"), Some(one));
    }

    #[test]
    fn a_directory_that_takes_no_files_loses_them_only() {
        let directory = tempfile::tempdir().expect("a folder");
        let no_folder = directory.path().join("file");
        fs::write(&no_folder, "no folder").expect("written");
        let files = started(&no_folder);
        files.store("one", b"of one");
        assert_eq!(read(&files, "one"), None);
    }
}
