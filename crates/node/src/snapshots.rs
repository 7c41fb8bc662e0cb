//! Snapshots: when they are taken, how they come to disk, which one a node starts from (ledger specification,
//! section 14).
//!
//! A snapshot is the state at a signature. The thread that orders entries asks [`Snapshots::wants`] before it takes a
//! position for a signature, ends the chunk with it and keeps the state, and hands that over with
//! [`Snapshots::taken`]. Everything after that happens on the thread of this module, driven by global hooks: when the
//! signature is committed the state is written to a file, its digest is recorded in an ordinary transaction, and when
//! that is under a committed signature the file gets its receipt and its name.

pub(crate) mod backup_fetch;
mod earlier;
mod fetch;
mod hooks;
mod host;
mod producer;
mod schedule;
mod startup;
mod valid;

pub use earlier::key_of_earlier_service;
pub use fetch::{FetchError, FetchSettings, SnapshotFetcher, fetch_snapshot};
pub use schedule::{Scheduled, SnapshotLimits, SnapshotSchedule};
pub use startup::{Installed, OtherSigner, StartupError, StartupSnapshot, choose_startup_snapshot};
pub use valid::ValidSnapshots;

use crate::config;
use ccf_kv::{State, Store, Tx};
use ccf_ledger::{
    files::{FileError, delete_unfinished_snapshots},
    secrets::LedgerSecret,
};
use ccf_types::{Digest, SeqNo, TxId, View};
use hooks::{Event, Interest, Planned};
use parking_lot::Mutex;
use producer::Producer;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, SystemTime},
};

/// Where snapshots are, and when they are taken.
#[derive(Clone, Debug)]
pub struct SnapshotSettings {
    /// The main directory.
    pub directory: PathBuf,
    /// When.
    pub limits: SnapshotLimits,
}

impl SnapshotSettings {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &config::Snapshots) -> Self {
        let interval = config.time_interval.duration();
        let limits = SnapshotLimits {
            tx_count: config.tx_count,
            min_tx_count: config.min_tx_count,
            time_interval: (!interval.is_zero()).then_some(interval),
        };
        Self { directory: config.directory.clone(), limits }
    }
}

/// What is to become a snapshot: the state at a signature this node has just written as primary.
pub struct SnapshotPoint {
    /// As of the signature, which it includes ([`Store::fill`] of a position reserved with its state kept).
    pub state: State,
    /// Leaf of the signature entry.
    pub leaf: Digest,
    /// First seqno of view 1, 2, ... up to the view of the signature; an empty view repeats the start of the next.
    pub view_history: Vec<SeqNo>,
    /// The secret that applies at the signature.
    pub secret: Arc<LedgerSecret>,
}

/// What became of the transaction with the evidence.
pub struct Submitted {
    /// Its position.
    pub tx_id: TxId,
    /// SHA-256 of its entry.
    pub write_set_digest: Digest,
    /// Its commit evidence.
    pub commit_evidence: String,
}

/// What snapshots need of the node.
pub trait SnapshotHost: Send + Sync + 'static {
    /// Commits a transaction with these claims and queues its entry; `None` if this node is not primary (any more).
    fn submit(&self, tx: Tx, claims: Digest) -> Option<Submitted>;
}

/// The node's snapshots. Any thread may call.
pub struct Snapshots {
    schedule: Arc<Mutex<SnapshotSchedule>>,
    events: Sender<Event>,
    interest: Arc<Interest>,
    enabled: AtomicBool,
    /// Told to the thread.
    stopping: Arc<AtomicBool>,
    /// Closed by the thread when it ends; none without a thread.
    ended: Mutex<Option<Receiver<()>>>,
}

/// How long the end of the thread is waited for: it gives up what it writes at the next piece, but sorts the keys of a map, and
/// waits for the disk, in one go.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Snapshots decided and not yet finished; more are skipped (section 14.3).
const PENDING_MAX: usize = 5;

impl Snapshots {
    /// Starts the thread and installs hooks in `store` (before its first transaction). `last` is the seqno of the
    /// snapshot the node started from, or 0.
    ///
    /// # Errors
    /// If the directory cannot be read, or the system gives no thread.
    pub fn start(
        settings: SnapshotSettings,
        last: SeqNo,
        store: &Store,
        host: Arc<dyn SnapshotHost>,
    ) -> Result<Arc<Snapshots>, FileError> {
        delete_unfinished_snapshots(&settings.directory)?;
        let schedule = SnapshotSchedule::new(settings.limits, last, SystemTime::now());
        let schedule = Arc::new(Mutex::new(schedule));
        let (events, received) = channel();
        let interest = Arc::new(Interest::default());
        hooks::install(store, &schedule, &events, &interest);
        let stopping = Arc::new(AtomicBool::new(false));
        let (wait, stop) = (Arc::clone(&interest), Arc::clone(&stopping));
        let producer = Producer::new(settings.directory.clone(), store.clone(), host, wait, stop);
        let (end, ended) = channel::<()>();
        let run = move || {
            producer.run(&received);
            drop(end);
        };
        let thread = std::thread::Builder::new().name("snapshots".into()).spawn(run);
        thread.map_err(|source| FileError::Io { path: settings.directory, source })?;
        let (enabled, ended) = (AtomicBool::new(true), Mutex::new(Some(ended)));
        Ok(Arc::new(Snapshots { schedule, events, interest, enabled, stopping, ended }))
    }

    /// None are ever taken; no thread, no files. For simulations.
    #[doc(hidden)]
    #[must_use]
    pub fn never() -> Arc<Snapshots> {
        let limits = SnapshotLimits { tx_count: u64::MAX, min_tx_count: u64::MAX, time_interval: None };
        let schedule = SnapshotSchedule::new(limits, SeqNo::NONE, SystemTime::UNIX_EPOCH);
        let (schedule, interest) = (Arc::new(Mutex::new(schedule)), Arc::new(Interest::default()));
        let (enabled, stopping, ended) = (AtomicBool::new(false), Arc::default(), Mutex::new(None));
        Arc::new(Snapshots { schedule, events: channel().0, interest, enabled, stopping, ended })
    }

    /// Whether the signature about to be reserved at `seqno` is to be a snapshot. If so: reserve it with its state
    /// kept, set `CHUNK_AFTER` in its flags, and call [`taken`](Self::taken) once it is filled.
    #[must_use]
    pub fn wants(&self, seqno: SeqNo) -> bool {
        self.schedule.lock().wants(seqno, SystemTime::now())
    }

    /// The signature that [`wants`](Self::wants) said yes to was written. Cheap: the state goes to the thread.
    pub fn taken(&self, point: SnapshotPoint) {
        let now = SystemTime::now();
        let seqno = point.state.tx_id().seqno;
        self.schedule.lock().decided(seqno, now);
        if !self.enabled.load(Ordering::Acquire) {
            return;
        }
        let pending = Interest::add(&self.interest);
        if pending.number() > PENDING_MAX {
            tracing::info!("Skipping the snapshot at {seqno}: {PENDING_MAX} are pending");
            return;
        }
        // A thread that is gone has said why.
        let _ = self.events.send(Event::Point(Box::new(Planned { point, scheduled: now, pending })));
    }

    /// When an idle primary whose ledger ends with `version` is to sign because a snapshot falls due.
    #[must_use]
    pub fn signature_due_at(&self, version: SeqNo) -> Option<SystemTime> {
        self.schedule.lock().due_at(version)
    }

    /// The transaction at `seqno` wants a snapshot at the next signature (`trigger_snapshot`, the service opens, the
    /// end of a recovery). Writes to `public:ccf.internal.snapshot_create` do this by themselves.
    pub fn request(&self, seqno: SeqNo) {
        self.schedule.lock().request(seqno);
    }

    /// Everything after `seqno` was rolled back. Call after the store's rollback.
    pub fn rollback(&self, seqno: SeqNo) {
        self.schedule.lock().rollback(seqno);
        let _ = self.events.send(Event::Rollback(seqno));
    }

    /// Off from the end of a public recovery until the private one is complete: signatures still end chunks where
    /// snapshots are due, and no file is made.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Release);
    }

    /// Ends the thread, within a second or so however large the state is: a file that is being written is deleted, by the
    /// next start if not by this.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.events.send(Event::Stop);
        if let Some(ended) = self.ended.lock().take()
            && ended.recv_timeout(STOP_PATIENCE) == Err(RecvTimeoutError::Timeout)
        {
            tracing::info!("A snapshot that is being written is left unfinished");
        }
    }
}

/// The first seqno of view 1, 2, ... up to the view of `last`, as a snapshot at `last` has it: an empty view repeats the
/// start of the next. `starts` is the first transaction of each view that has any, oldest first.
#[must_use]
pub fn view_history(starts: &[TxId], last: TxId) -> Vec<SeqNo> {
    let starts = starts.iter().filter(|start| start.seqno <= last.seqno);
    let mut history = Vec::new();
    for start in starts {
        while (history.len() as u64) < start.view.0 {
            history.push(start.seqno);
        }
    }
    history
}

/// The first transaction of each view that has any: the reverse of [`view_history`].
#[must_use]
pub fn view_starts(history: &[SeqNo]) -> Vec<TxId> {
    let mut starts: Vec<TxId> = Vec::new();
    for (view, seqno) in (1..).zip(history) {
        match starts.last_mut() {
            Some(start) if start.seqno == *seqno => start.view = View(view),
            _ => starts.push(TxId { view: View(view), seqno: *seqno }),
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_views_repeat_the_start_of_the_next() {
        let starts = [TxId::new(2, 1), TxId::new(4, 29), TxId::new(5, 70)];
        let history = |last| view_history(&starts, last).into_iter().map(|seqno| seqno.0).collect::<Vec<_>>();
        assert_eq!(history(TxId::new(4, 61)), [1, 1, 29, 29]); // V13
        assert_eq!(history(TxId::new(2, 28)), [1, 1]);
        assert_eq!(history(TxId::new(5, 70)), [1, 1, 29, 29, 70]);
        assert_eq!(view_starts(&view_history(&starts, TxId::new(5, 70))), starts);
    }
}
