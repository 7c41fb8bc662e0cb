//! The thread that makes snapshot files.

use super::{
    SnapshotHost, SnapshotPoint, Submitted,
    hooks::{Event, Interest, Pending, Planned},
};
use ccf_governance::tables::{
    self,
    service::{SnapshotEvidence, SnapshotStatus},
};
use ccf_kv::{KvError, SmallBytes, Store};
use ccf_ledger::{
    files::{FileError, SnapshotWriter, UnnamedSnapshot},
    merkle::TreeBlob,
    receipt::{LeafComponents, cose_receipt},
    signature::ServiceSignature,
    snapshot::SnapshotHead,
};
use ccf_types::{Digest, SeqNo};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    time::{Instant, UNIX_EPOCH},
};

pub(super) struct Producer {
    directory: PathBuf,
    store: Store,
    host: Arc<dyn SnapshotHost>,
    interest: Arc<Interest>,
    /// The node stops: nothing is begun any more, and what is under way is given up.
    stop: Arc<AtomicBool>,
    /// States whose signatures are not committed yet, ascending.
    #[expect(clippy::vec_box, reason = "points are moved between queues; they hold whole states")]
    points: Vec<Box<Planned>>,
    /// Written, waiting for their receipts.
    waiting: Vec<Waiting>,
}

/// A snapshot whose evidence is in the ledger.
struct Waiting {
    snapshot: UnnamedSnapshot,
    evidence: Submitted,
    /// Whether the evidence is committed, and not another transaction in its place.
    confirmed: bool,
    /// The first service signature after it.
    signature: Option<(SeqNo, SmallBytes)>,
    _pending: Pending,
}

/// Why a snapshot was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] KvError),
    #[error("this node is not primary any more")]
    NotPrimary,
    #[error("its receipt cannot be made: {0}")]
    Receipt(String),
}

impl Producer {
    pub(super) fn new(
        directory: PathBuf,
        store: Store,
        host: Arc<dyn SnapshotHost>,
        interest: Arc<Interest>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { directory, store, host, interest, stop, points: Vec::new(), waiting: Vec::new() }
    }

    /// Works until told to stop; what is unfinished then is deleted.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        while let Ok(event) = events.recv() {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            match event {
                Event::Point(point) => self.points.push(point),
                Event::Committed | Event::Stop => {}
                Event::Evidence(seqno, digest) => self.confirm(seqno, &digest),
                Event::Signature(seqno, value) => self.signed(seqno, &value),
                Event::Tree(seqno, blob) => self.complete(seqno, &blob),
                Event::Rollback(seqno) => self.rollback(seqno),
            }
            self.make_newest();
            self.note_interest();
        }
    }

    /// Writes the newest state whose signature is committed; older ones are lost. One at a time: while one waits for its
    /// receipt this thread must keep up with what is committed.
    fn make_newest(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        let committed = self.store.committed();
        let ready = self.points.partition_point(|planned| planned.point.state.tx_id().seqno <= committed);
        let Some(planned) = self.points.drain(..ready).next_back() else { return };
        let seqno = planned.point.state.tx_id().seqno;
        match self.make(*planned) {
            Ok(waiting) => self.waiting.push(waiting),
            Err(Failure::File(FileError::Abandoned(_))) => {
                tracing::info!("The snapshot at {seqno} is given up: the node stops");
            }
            Err(failure) => tracing::warn!("The snapshot at {seqno} was not made: {failure}"),
        }
    }

    fn make(&self, planned: Planned) -> Result<Waiting, Failure> {
        let began = Instant::now();
        let Planned { point, scheduled, pending } = planned;
        let SnapshotPoint { state, leaf, view_history, secret } = point;
        let version = state.tx_id().seqno;
        let head = SnapshotHead { seqno: version, leaf, view_history };
        let mut writer =
            SnapshotWriter::create(&self.directory, &head, &secret)?.until(Arc::clone(&self.stop));
        state.write_to(&mut writer)?;
        drop(state);
        let snapshot = writer.finish()?;
        let took = began.elapsed().as_millis();
        tracing::debug!("The snapshot at {version} has {} bytes; written in {took} ms", snapshot.bytes());

        let digest = snapshot.digest();
        let since_epoch = scheduled.duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let tx = self.store.begin();
        tx.rw(&tables::SNAPSHOT_EVIDENCE).put(&SnapshotEvidence { hash: digest, version })?;
        tx.rw(&tables::SNAPSHOT_STATUS).put(&SnapshotStatus { timestamp, version })?;
        // The signature that proves the evidence may be committed before its position is known here.
        self.interest.wait_for_signatures_after(self.store.version());
        let evidence = self.host.submit(tx, digest).ok_or(Failure::NotPrimary)?;
        Ok(Waiting { snapshot, evidence, confirmed: false, signature: None, _pending: pending })
    }

    fn confirm(&mut self, seqno: SeqNo, digest: &Digest) {
        for waiting in &mut self.waiting {
            waiting.confirmed |=
                waiting.evidence.tx_id.seqno == seqno && waiting.snapshot.digest() == *digest;
        }
    }

    fn signed(&mut self, seqno: SeqNo, value: &SmallBytes) {
        for waiting in &mut self.waiting {
            if waiting.evidence.tx_id.seqno < seqno && waiting.signature.is_none() {
                waiting.signature = Some((seqno, value.clone()));
            }
        }
    }

    /// The tree of a committed signature: snapshots whose evidence is under it get their receipts.
    fn complete(&mut self, seqno: SeqNo, blob: &[u8]) {
        let (covered, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| waiting.evidence.tx_id.seqno < seqno);
        self.waiting = waiting;
        for waiting in covered {
            let at = waiting.snapshot.seqno();
            if !waiting.confirmed {
                tracing::info!("The snapshot at {at} is dropped: its evidence was rolled back");
                continue;
            }
            match waiting.name(seqno, blob) {
                Ok(path) => tracing::info!("New snapshot file committed: {}", path.display()),
                Err(failure) => tracing::warn!("The snapshot at {at} was not completed: {failure}"),
            }
        }
    }

    fn rollback(&mut self, seqno: SeqNo) {
        self.points.retain(|planned| planned.point.state.tx_id().seqno <= seqno);
        self.waiting.retain(|waiting| waiting.confirmed || waiting.evidence.tx_id.seqno <= seqno);
    }

    fn note_interest(&self) {
        let first = self.waiting.iter().map(|waiting| waiting.evidence.tx_id.seqno.0).min();
        self.interest.evidence_after.store(first.unwrap_or(0), Ordering::Release);
    }
}

impl Waiting {
    /// Makes the receipt with the tree of the signature at `seqno` and names the file.
    fn name(self, seqno: SeqNo, blob: &[u8]) -> Result<PathBuf, Failure> {
        let failed = |reason: &dyn std::fmt::Display| Failure::Receipt(reason.to_string());
        let Some((_, value)) = self.signature.filter(|(at, _)| *at == seqno) else {
            return Err(failed(&"the signature after the evidence is not one of the service"));
        };
        let signature = ServiceSignature::from_json(&value).map_err(|e| failed(&e))?;
        let tree = TreeBlob::parse(blob).map_err(|e| failed(&e))?.to_tree();
        let Submitted { tx_id, write_set_digest, commit_evidence } = self.evidence;
        let proof = tree.proof(tx_id.seqno.0).map_err(|e| failed(&e))?;
        let claims_digest = Some(self.snapshot.digest());
        let components = LeafComponents { claims_digest, commit_evidence, write_set_digest };
        if tree.leaf(tx_id.seqno.0) != Some(components.leaf(None)) {
            return Err(failed(&"the tree holds another leaf for the evidence"));
        }
        let receipt = cose_receipt(&signature.cose, &components, &proof).map_err(|e| failed(&e))?;
        Ok(self.snapshot.commit(tx_id.seqno, &receipt)?)
    }
}
