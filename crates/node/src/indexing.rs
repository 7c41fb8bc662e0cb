//! Shows committed transactions to indexes (applications specification, section 9): a thread of its own reads them
//! from the ledger files, behind the commit and away from the way of requests.

mod files;

use crate::historical::Fetcher;
use ccf_endpoints::indexing::{Indexing, LargeFiles, Strategy};
use ccf_types::SeqNo;
use files::IndexFiles;
use parking_lot::{Condvar, Mutex};
use std::{io, path::Path, sync::Arc, time::Duration};

/// Entries fetched at once: enough that starting the threads of a fetch costs nothing.
const BATCH: u64 = 5000;

/// How often the thread looks whether the commit has advanced.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long it waits after entries could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Indexes of a node; more than a few are a mistake.
const STRATEGIES_MAX: usize = 1000;

/// The indexes of this node.
pub(crate) struct Indexes {
    state: Mutex<State>,
    changed: Condvar,
    files: Arc<IndexFiles>,
}

#[derive(Default)]
struct State {
    strategies: Vec<Arc<dyn Strategy>>,
    stopped: bool,
}

impl Indexes {
    /// No indexes yet; their files go into `directory`.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(crate) fn new(directory: &Path) -> Result<Arc<Indexes>, ccf_crypto::random::RandomError> {
        let files = Arc::new(IndexFiles::new(directory)?);
        Ok(Arc::new(Indexes { state: Mutex::default(), changed: Condvar::new(), files }))
    }

    /// Starts the thread; it ends with the process or when stopped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(self: &Arc<Self>, fetcher: Arc<Fetcher>) -> io::Result<()> {
        let indexes = Arc::clone(self);
        std::thread::Builder::new().name("indexing".into()).spawn(move || indexes.run(&fetcher))?;
        self.files.start()
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
        self.files.stop();
    }

    fn run(&self, fetcher: &Fetcher) {
        let mut waits_at = None;
        loop {
            let strategies = {
                let mut state = self.state.lock();
                if !state.stopped {
                    match state.strategies.is_empty() {
                        true => self.changed.wait(&mut state),
                        false => {
                            self.changed.wait_for(&mut state, LOOK_EVERY);
                        }
                    }
                }
                if state.stopped {
                    return;
                }
                state.strategies.clone()
            };
            while self.advance(fetcher, &strategies, &mut waits_at) && !self.state.lock().stopped {}
        }
    }

    /// Shows the next batch to those that want it; whether there may be more. That it cannot go on at `waits_at` has been
    /// said.
    fn advance(
        &self,
        fetcher: &Fetcher,
        strategies: &[Arc<dyn Strategy>],
        waits_at: &mut Option<SeqNo>,
    ) -> bool {
        let wanted = strategies.iter().filter_map(|strategy| strategy.next_requested()).min();
        let committed = fetcher.committed();
        let Some(from) = wanted.filter(|from| *from <= committed && *from > SeqNo::NONE) else {
            return false;
        };
        let to = SeqNo(from.0.saturating_add(BATCH - 1)).min(committed);
        let fetched = fetcher.fetch(from, to, &mut |(state, _)| {
            for strategy in strategies {
                if strategy.next_requested() == Some(state.tx_id().seqno) {
                    strategy.handle_committed(&state);
                }
            }
        });
        match fetched {
            Ok(()) => true,
            Err(error) => {
                // On a node without the beginning of the ledger it may wait for ever.
                if waits_at.replace(from) != Some(from) {
                    tracing::warn!("Indexing waits at transaction {from}: {error}");
                }
                self.changed.wait_for(&mut self.state.lock(), RETRY_AFTER);
                false
            }
        }
    }
}

impl Indexing for Indexes {
    fn install(&self, strategy: Arc<dyn Strategy>) -> bool {
        let mut state = self.state.lock();
        let name = strategy.name();
        if state.strategies.len() >= STRATEGIES_MAX
            || state.strategies.iter().any(|known| known.name() == name)
        {
            return false;
        }
        state.strategies.push(strategy);
        self.changed.notify_all();
        true
    }

    fn uninstall(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let before = state.strategies.len();
        state.strategies.retain(|strategy| strategy.name() != name);
        state.strategies.len() < before
    }

    fn installed(&self) -> Vec<Arc<dyn Strategy>> {
        self.state.lock().strategies.clone()
    }

    fn files(&self) -> Arc<dyn LargeFiles> {
        Arc::clone(&self.files) as _
    }
}
