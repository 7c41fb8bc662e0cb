//! How the thread of snapshots learns what is committed: hooks of the store.

use super::{Scheduled, SnapshotSchedule};
use ccf_governance::tables;
use ccf_kv::{MapWrites, SmallBytes, Store, UNIT};
use ccf_ledger::tables::{COSE_SIGNATURES, TREE};
use ccf_types::{Digest, SeqNo};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::Sender,
    },
    time::{Duration, SystemTime},
};

use super::SnapshotPoint;

/// What the thread is told.
pub(super) enum Event {
    /// This state is to become a snapshot.
    Point(Box<Planned>),
    /// Something is committed.
    Committed,
    /// The evidence of a snapshot with this digest is committed.
    Evidence(SeqNo, Digest),
    /// A service signature is committed; its value in the table.
    Signature(SeqNo, SmallBytes),
    /// The tree of a committed signature.
    Tree(SeqNo, SmallBytes),
    /// Everything after this is rolled back.
    Rollback(SeqNo),
    /// The node stops: the thread is to look.
    Stop,
}

/// A state that is to become a snapshot.
pub(super) struct Planned {
    pub(super) point: SnapshotPoint,
    /// When that was decided.
    pub(super) scheduled: SystemTime,
    pub(super) pending: Pending,
}

/// Counts a snapshot as pending until dropped.
#[derive(Debug)]
pub(super) struct Pending(Arc<Interest>);

impl Pending {
    /// How many there are.
    pub(super) fn number(&self) -> usize {
        self.0.pending.load(Ordering::SeqCst)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the thread waits for, so that hooks do nothing while there is nothing to do.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Snapshots not finished.
    pending: AtomicUsize,
    /// Signatures after this prove evidence that the thread waits for; 0 if it does not wait.
    pub(super) evidence_after: AtomicU64,
}

impl Interest {
    /// One more snapshot is pending.
    pub(super) fn add(interest: &Arc<Interest>) -> Pending {
        interest.pending.fetch_add(1, Ordering::SeqCst);
        Pending(Arc::clone(interest))
    }

    fn in_commits(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0
    }

    /// The thread wants signatures after `seqno` too.
    pub(super) fn wait_for_signatures_after(&self, seqno: SeqNo) {
        let wanted = seqno.0.max(1);
        let _ = self.evidence_after.fetch_update(Ordering::AcqRel, Ordering::Acquire, |after| {
            Some(if after == 0 { wanted } else { after.min(wanted) })
        });
    }

    fn in_signature(&self, seqno: SeqNo) -> bool {
        let after = self.evidence_after.load(Ordering::Acquire);
        after > 0 && seqno.0 > after
    }
}

pub(super) fn install(
    store: &Store,
    schedule: &Arc<Mutex<SnapshotSchedule>>,
    events: &Sender<Event>,
    interest: &Arc<Interest>,
) {
    let requested = Arc::clone(schedule);
    store.on_local(
        tables::SNAPSHOT_CREATE.name(),
        Arc::new(move |context, _| requested.lock().request(context.tx_id().seqno)),
    );
    let counted = Arc::clone(schedule);
    store.on_global(
        tables::SNAPSHOT_STATUS.name(),
        Arc::new(move |_, writes| {
            if let Some(status) = value(writes).and_then(|bytes| tables::SNAPSHOT_STATUS.decode(bytes).ok()) {
                let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(status.timestamp));
                let at = at.unwrap_or_else(SystemTime::now);
                counted.lock().committed(Scheduled { seqno: status.version, at });
            }
        }),
    );
    // Sending fails only once the thread has ended, and then nobody wants to know.
    let (sender, wanted) = (events.clone(), Arc::clone(interest));
    store.on_global(
        tables::SNAPSHOT_EVIDENCE.name(),
        Arc::new(move |seqno, writes| {
            let evidence = value(writes).and_then(|bytes| tables::SNAPSHOT_EVIDENCE.decode(bytes).ok());
            if let Some(evidence) = evidence.filter(|_| wanted.in_commits()) {
                let _ = sender.send(Event::Evidence(seqno, evidence.hash));
            }
        }),
    );
    let (sender, wanted) = (events.clone(), Arc::clone(interest));
    store.on_global(
        &COSE_SIGNATURES,
        Arc::new(move |seqno, writes| {
            if let Some(signature) = value(writes).filter(|_| wanted.in_signature(seqno)) {
                let _ = sender.send(Event::Signature(seqno, signature.clone()));
            }
        }),
    );
    // The last of these maps by name: when it is told of a signature, everything before it has been.
    let (sender, wanted) = (events.clone(), Arc::clone(interest));
    store.on_global(
        &TREE,
        Arc::new(move |seqno, writes| {
            if let Some(tree) = value(writes).filter(|_| wanted.in_signature(seqno)) {
                let _ = sender.send(Event::Tree(seqno, tree.clone()));
            }
            if wanted.in_commits() {
                let _ = sender.send(Event::Committed);
            }
        }),
    );
}

fn value(writes: &MapWrites) -> Option<&SmallBytes> {
    writes.get(&UNIT).flatten()
}
