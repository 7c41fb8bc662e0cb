//! Clients that send faster than the service commits: they wait a moment before they are refused (node specification,
//! section 14.6).
//!
//! A session whose request has to wait reads nothing more from its client, who is slowed down in turn. When nothing was
//! committed for a whole [`PATIENCE`] the service is stuck rather than busy, and requests are refused at once until it moves.

use crate::replication::status::ReplicationStatus;
use ccf_endpoints::{Frontend, Role};
use ccf_kv::Store;
use ccf_types::{SeqNo, TxId, View};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long a request waits for others to be committed: clients that give up after some seconds still get an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Requests wait when so many less than may be uncommitted are: several threads look for room at once and each takes some.
const THREADS_MAX: u64 = 64;

/// ...but not when less than this share is missing.
const THREADS_SHARE: u64 = 16;

/// The bound on uncommitted transactions.
pub(crate) struct Backpressure {
    /// 0 is no bound.
    max: u64,
    /// From so many uncommitted transactions on, requests wait.
    wait_from: u64,
    store: Store,
    status: Arc<ReplicationStatus>,
    patience: Duration,
    /// The commit at which somebody waited in vain.
    stalled_at: AtomicU64,
}

impl Backpressure {
    /// At most `max` transactions are uncommitted; 0 is no bound.
    pub(crate) fn new(max: u64, store: Store, status: Arc<ReplicationStatus>) -> Backpressure {
        let wait_from = max - (max / THREADS_SHARE).min(THREADS_MAX);
        Backpressure {
            max,
            wait_from,
            store,
            status,
            patience: PATIENCE,
            stalled_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether new transactions are to be refused.
    pub(crate) fn too_many_pending(&self) -> bool {
        self.max > 0 && self.uncommitted() >= self.max
    }

    fn uncommitted(&self) -> u64 {
        self.store.version().0.saturating_sub(self.status.committed_seqno().0)
    }

    /// If there is little or no room for a request for `path`: a future that ends when there is room again, or waiting is in
    /// vain.
    pub(crate) fn wait_for_room(self: &Arc<Self>, path: &[u8]) -> Option<impl Future<Output = ()> + use<>> {
        let frontend = Frontend::of_path(path).0;
        let mut awaited = Some(self.awaited(frontend)?);
        let this = Arc::clone(self);
        let deadline = tokio::time::Instant::now() + self.patience;
        Some(async move {
            // Others who waited may have taken the room.
            while let Some((tx_id, committed)) = awaited {
                let (tell, told) = oneshot::channel();
                let waiter = move |_| {
                    // The client may have gone.
                    let _ = tell.send(());
                };
                this.status.when_decided(tx_id, Box::new(waiter));
                if tokio::time::timeout_at(deadline, told).await.is_err() {
                    return this.waited_in_vain(committed);
                }
                awaited = this.awaited(frontend);
            }
        })
    }

    /// Whether a request need not wait.
    pub(crate) fn has_room(&self, frontend: Frontend) -> bool {
        self.awaited(frontend).is_none()
    }

    /// As [`wait_for_room`](Self::wait_for_room), on a thread that may wait; before that it does what cannot wait as long.
    pub(crate) fn sleep_until_room(&self, path: &[u8], before: impl FnOnce()) {
        let frontend = Frontend::of_path(path).0;
        let Some(mut awaited) = self.awaited(frontend) else { return };
        before();
        let deadline = Instant::now() + self.patience;
        loop {
            let (tx_id, committed) = awaited;
            let (tell, told) = sync_channel(1);
            let waiter = move |_| {
                // The sleeper may have given up.
                let _ = tell.send(());
            };
            self.status.when_decided(tx_id, Box::new(waiter));
            if told.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                return self.waited_in_vain(committed);
            }
            match self.awaited(frontend) {
                Some(next) => awaited = next,
                None => return,
            }
        }
    }

    /// The transaction with whose commit there is room for a request, and the commit now; none if there is room, or no use in
    /// waiting.
    fn awaited(&self, frontend: Frontend) -> Option<(TxId, SeqNo)> {
        if self.max == 0 || frontend == Frontend::Node || self.uncommitted() < self.wait_from {
            return None;
        }
        let committed = self.status.committed_seqno();
        if self.status.term().role != Role::Primary || self.stalled_at.load(Ordering::Relaxed) == committed.0
        {
            return None;
        }
        let seqno = SeqNo((self.store.version().0 + 1).saturating_sub(self.wait_from));
        let view = self.status.view_of(seqno).unwrap_or(View::UNKNOWN);
        Some((TxId { view, seqno }, committed))
    }

    fn waited_in_vain(&self, committed: SeqNo) {
        if self.status.committed_seqno() == committed {
            self.stalled_at.store(committed.0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::status::Term;
    use ccf_types::MapName;
    use std::thread;

    const APP: &[u8] = b"/app/log";

    fn write(store: &Store) {
        let tx = store.begin();
        tx.raw(&MapName::from_static("public:test")).put(b"key".to_vec(), b"value".to_vec());
        tx.commit().unwrap();
    }

    /// A primary with ten transactions that are not committed.
    fn busy(max: u64, patience: Duration) -> Arc<Backpressure> {
        let store = Store::new();
        store.set_primary(View(2));
        (0..10).for_each(|_| write(&store));
        let term = Term::new(View(2), Role::Primary, None, &[SeqNo(1), SeqNo(1)]);
        let status = Arc::new(ReplicationStatus::new(term));
        Arc::new(Backpressure { patience, ..Backpressure::new(max, store, status) })
    }

    #[test]
    fn requests_wait_until_enough_is_committed() {
        let busy = busy(8, Duration::from_secs(60));
        assert!(busy.too_many_pending());
        assert!(busy.wait_for_room(b"/node/commit").is_none(), "what tells how the node is never waits");
        let waiting = thread::spawn({
            let busy = Arc::clone(&busy);
            move || busy.sleep_until_room(APP, || {})
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let room = busy.wait_for_room(APP).unwrap();
        busy.status.commit(SeqNo(2));
        assert!(busy.too_many_pending(), "eight are left");
        assert!(busy.wait_for_room(APP).is_some());
        busy.status.commit(SeqNo(3));
        assert!(!busy.too_many_pending());
        runtime.block_on(room);
        waiting.join().unwrap();
        assert!(busy.wait_for_room(APP).is_none());
    }

    #[test]
    fn a_stuck_service_is_waited_for_once() {
        let stuck = busy(10, Duration::from_millis(20));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let began = Instant::now();
        let room = stuck.wait_for_room(APP).unwrap();
        runtime.block_on(room);
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert!(stuck.wait_for_room(APP).is_none());
        stuck.sleep_until_room(APP, || panic!("it does not sleep"));
        assert!(stuck.too_many_pending());

        // It moves, and is busy again.
        stuck.status.commit(SeqNo(1));
        assert!(!stuck.too_many_pending());
        write(&stuck.store);
        assert!(stuck.wait_for_room(APP).is_some());
    }

    /// Several threads find that there is room before any of them takes it: the bound must not be reached by that.
    #[test]
    fn requests_wait_a_little_before_the_bound() {
        let busy = busy(16, Duration::from_secs(60));
        (10..14).for_each(|_| write(&busy.store));
        assert!(busy.wait_for_room(APP).is_none());
        write(&busy.store);
        assert!(busy.wait_for_room(APP).is_some());
        assert!(!busy.too_many_pending());
    }

    /// All who wait are told of the same commit, and the first take the room.
    #[test]
    fn who_finds_the_room_taken_waits_again() {
        let busy = busy(8, Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let room = busy.wait_for_room(APP).unwrap();
            busy.status.commit(SeqNo(3));
            write(&busy.store);
            assert!(busy.too_many_pending());
            let mut room = std::pin::pin!(room);
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut room).await.is_err());
            busy.status.commit(SeqNo(4));
            room.await;
            assert!(!busy.too_many_pending());
        });
    }

    #[test]
    fn without_a_bound_nothing_waits() {
        let unbounded = busy(0, PATIENCE);
        assert!(!unbounded.too_many_pending());
        assert!(unbounded.wait_for_room(APP).is_none());
    }
}
