//! Past transactions for endpoints (applications specification, section 8): a cache of verified states that a thread of
//! its own fills from the ledger files, and receipts of recent transactions without any file.
//!
//! ```text
//! worker ── wanted, by handle ──> cache ── missing ranges ──> historical thread ── files ──> proved states
//! worker <── receipt ── recent entries <── digests ── replicator
//! ```
//! No call of a worker waits, reads a file, or touches the live store.

mod cache;
mod fetch;
mod lineage;
mod recent;

pub use fetch::{FetchError, FetchParts, Fetched, Fetcher};
pub use lineage::LineageError;
pub use recent::RecentEntries;
pub(crate) use recent::RecentLeaf;

use cache::Cache;
use ccf_crypto::cose::ServiceKeys;
use ccf_endpoints::historical::{HistoricalError, HistoricalQueries, HistoricalStates, SeqNos, StateHandle};
use ccf_ledger::receipt::TransactionReceipt;
use ccf_types::{SeqNo, TxId};
use parking_lot::RwLock;
use std::{io, sync::Arc, time::Duration};

/// The past, as this node serves it.
pub(crate) struct Historical {
    cache: Arc<Cache>,
    fetcher: Arc<Fetcher>,
    recent: Arc<RecentEntries>,
    /// Told by the historical thread.
    keys: Arc<RwLock<Option<Arc<ServiceKeys>>>>,
}

impl Historical {
    /// Starts the thread. It ends with the process or when stopped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        fetcher: Arc<Fetcher>,
        recent: Arc<RecentEntries>,
        soft_limit: u64,
    ) -> io::Result<Historical> {
        let cache = Arc::new(Cache::new(soft_limit));
        let keys = Arc::new(RwLock::new(None));
        let run = {
            let (cache, fetcher, keys) = (Arc::clone(&cache), Arc::clone(&fetcher), Arc::clone(&keys));
            move || {
                cache.serve(&fetcher, &|| {
                    if let Ok(lineage) = fetcher.lineage(SeqNo(1)) {
                        *keys.write() = lineage.keys();
                    }
                });
            }
        };
        std::thread::Builder::new().name("historical".into()).spawn(run)?;
        Ok(Historical { cache, fetcher, recent, keys })
    }

    /// Bytes that cached entries have in the ledger.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Ends the thread after the entries it is at.
    pub(crate) fn stop(&self) {
        self.cache.stop();
    }
}

impl HistoricalQueries for Historical {
    fn states(
        &self,
        handle: StateHandle,
        wanted: &SeqNos,
        expiry: Duration,
    ) -> Result<Option<HistoricalStates>, HistoricalError> {
        if wanted.last() > self.fetcher.committed() {
            return Ok(None);
        }
        self.cache.states(handle, wanted, expiry)
    }

    fn drop_states(&self, handle: StateHandle) -> bool {
        self.cache.drop_states(handle)
    }

    fn receipt(&self, tx_id: TxId) -> Option<TransactionReceipt> {
        let committed = self.fetcher.committed();
        if tx_id.seqno > committed || self.fetcher.view_of(tx_id.seqno) != Some(tx_id.view) {
            return None;
        }
        let secret = self.fetcher.secret_at(tx_id.seqno);
        let recent = self.recent.receipt(tx_id, committed, secret.as_deref());
        recent.or_else(|| self.cache.receipt(tx_id))
    }

    fn service_keys(&self) -> Option<Arc<ServiceKeys>> {
        let known = self.keys.read().clone();
        if known.is_none() {
            self.cache.refresh();
        }
        known
    }
}
