//! Deleting committed files that are not needed here any more (ledger specification, section 13.8).
//!
//! A snapshot goes once there are enough newer ones that this node has verified; what merely has the name of one counts for
//! nothing, and is left alone.

use crate::{config::Config, node_view::RunningNode, snapshots::ValidSnapshots};
use ccf_crypto::cert::Certificate;
use ccf_governance::tables;
use ccf_ledger::files::{FileError, delete_copied_chunks, delete_older_snapshots, list_snapshots};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

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
pub(crate) struct FilesCleanup {
    stop: Arc<AtomicBool>,
    /// Dropped, the thread wakes.
    awake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The state of the thread.
struct Cleaner {
    plan: Plan,
    node: Arc<RunningNode>,
    valid: ValidSnapshots,
    stop: Arc<AtomicBool>,
}

impl FilesCleanup {
    /// Starts the thread; none if the configuration wants nothing deleted.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(config: &Config, node: &Arc<RunningNode>) -> io::Result<Option<FilesCleanup>> {
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
        let stop = Arc::new(AtomicBool::new(false));
        let (awake, wake) = channel();
        let mut cleaner = Cleaner {
            plan,
            node: Arc::clone(node),
            valid: ValidSnapshots::default(),
            stop: Arc::clone(&stop),
        };
        let run = move || {
            while wake.recv_timeout(cleaner.plan.interval) == Err(RecvTimeoutError::Timeout) {
                cleaner.clean();
            }
        };
        let thread = std::thread::Builder::new().name("files-cleanup".into()).spawn(run)?;
        Ok(Some(FilesCleanup { stop, awake: Some(awake), thread: Some(thread) }))
    }
}

impl Drop for FilesCleanup {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(self.awake.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

impl Cleaner {
    fn clean(&mut self) {
        match self.delete() {
            Ok(deleted) => {
                for path in deleted {
                    tracing::info!("Deleted {}", path.display());
                }
            }
            Err(error) => tracing::warn!("Old files cannot be deleted: {error}"),
        }
    }

    fn delete(&mut self) -> Result<Vec<PathBuf>, FileError> {
        let Some(service) = self.service() else { return Ok(Vec::new()) };
        let plan = &self.plan;
        // At least the newest one, which deleting chunks relies on too.
        let keep = plan.max_snapshots.map_or(1, |keep| keep.max(1));
        if plan.max_chunks.is_none() && list_snapshots(&plan.snapshots)?.len() <= keep {
            return Ok(Vec::new());
        }
        let committed = self.node.status.committed_seqno();
        let newest = self.valid.newest(&plan.snapshots, committed, &service, keep, &self.stop)?;
        let mut deleted = Vec::new();
        if let Some(oldest_kept) = newest.get(keep - 1).filter(|_| plan.max_snapshots.is_some()) {
            deleted.extend(delete_older_snapshots(&plan.snapshots, oldest_kept.name)?);
        }
        if let Some((keep, newest)) = plan.max_chunks.zip(newest.first()) {
            let before = newest.name.seqno;
            deleted.extend(delete_copied_chunks(&plan.ledger, &plan.read_only, keep, before)?);
        }
        Ok(deleted)
    }

    /// The certificate of the service this node is in.
    fn service(&self) -> Option<Certificate> {
        let tx = self.node.store.begin();
        let service = tx.ro(&tables::SERVICE_INFO).get().ok().flatten()?;
        Certificate::from_pem(&service.cert).ok()
    }
}
