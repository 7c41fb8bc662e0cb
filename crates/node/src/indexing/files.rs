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
                let content = fs::read(path(&directory, &name)).ok();
                let content = content.and_then(|sealed| key.open_blob(name.as_bytes(), &sealed).ok());
                reads.done(name, content.map(|content| Arc::new(content.to_vec())));
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
