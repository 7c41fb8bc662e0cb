//! Deleting committed files that are not needed here any more (ledger specification, section 13.8).

use crate::config::Config;
use ccf_ledger::files::{FileError, delete_copied_chunks, delete_old_snapshots, newest_snapshot};
use ccf_types::SeqNo;
use parking_lot::{Condvar, Mutex};
use std::{io, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

/// What is to be kept, and where.
#[derive(Clone, Debug)]
struct Plan {
    interval: Duration,
    snapshots: PathBuf,
    max_snapshots: Option<usize>,
    ledger: PathBuf,
    read_only: Vec<PathBuf>,
    max_chunks: Option<usize>,
}

/// The thread that looks at the directories at intervals. Ends when dropped.
#[derive(Debug)]
pub struct FilesCleanup {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl FilesCleanup {
    /// Starts the thread; none if the configuration wants nothing deleted.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(config: &Config) -> io::Result<Option<FilesCleanup>> {
        let cleanup = &config.files_cleanup;
        let count = |limit: Option<u64>| limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let plan = Plan {
            interval: cleanup.interval.duration(),
            snapshots: config.snapshots.directory.clone(),
            max_snapshots: count(cleanup.max_snapshots),
            ledger: config.ledger.directory.clone(),
            read_only: config.ledger.read_only_directories.clone(),
            max_chunks: count(cleanup.max_committed_ledger_chunks),
        };
        if plan.interval.is_zero() || plan.max_snapshots.is_none() && plan.max_chunks.is_none() {
            return Ok(None);
        }
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let (flag, changed) = &*stopped;
            let mut flag = flag.lock();
            while !*flag {
                if changed.wait_for(&mut flag, plan.interval).timed_out() {
                    plan.clean();
                }
            }
        };
        let thread = std::thread::Builder::new().name("files-cleanup".into()).spawn(run)?;
        Ok(Some(FilesCleanup { stop, thread: Some(thread) }))
    }
}

impl Drop for FilesCleanup {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

impl Plan {
    fn clean(&self) {
        match self.delete() {
            Ok(deleted) => {
                for path in deleted {
                    tracing::info!("Deleted {}", path.display());
                }
            }
            Err(error) => tracing::warn!("Old files cannot be deleted: {error}"),
        }
    }

    fn delete(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut deleted = Vec::new();
        if let Some(keep) = self.max_snapshots {
            deleted.extend(delete_old_snapshots(&self.snapshots, keep)?);
        }
        if let Some(keep) = self.max_chunks
            && let Some(newest) = newest_snapshot(&self.snapshots, SeqNo::NONE)?
        {
            let before = newest.name.seqno;
            deleted.extend(delete_copied_chunks(&self.ledger, &self.read_only, keep, before)?);
        }
        Ok(deleted)
    }
}
